"""Participant codes that stay text in every table, and names of consumers."""

import json

import pytest

from edge.protocol.messages import Face
from edge.protocol.requests import decode_request
from tests.support.wire import face


def assign(code):
    return (
        b'{"request":"participant","action":"assign","track":1,"participant":"%b"}' % code.encode()
    )


@pytest.mark.parametrize("code", ["P07", "a", "Mar", "maria1", "e5", "x-1", "Nan1", "may_3", "T1"])
def test_a_code_that_begins_with_a_letter_is_accepted(code):
    assert decode_request(assign(code)).participant == code


@pytest.mark.parametrize("code", ["007", "1-2", "1E5", "12", "-5", "_a", "", "a b", "P" * 33])
def test_a_code_that_a_table_may_take_for_a_number_or_date_is_refused(code):
    with pytest.raises(ValueError, match=r"^participant: expected a letter, then .* such as P07"):
        decode_request(assign(code))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *[(code, "date") for code in ("MAR1", "Sept-2", "dec31", "jan-1-24", "Okt3", "MAY2026")],
        *[(code, "keep it as text") for code in ("TRUE", "false", "NA", "NaN", "null", "inf", "T")],
    ],
)
def test_a_word_that_a_table_does_not_keep_as_text_is_refused(code, reason):
    with pytest.raises(ValueError, match=rf"{reason}.* such as P07 \(received '{code}'\)"):
        decode_request(assign(code))


def test_earlier_codes_in_recorded_messages_stay_readable():
    assert Face.model_validate(face() | {"participant": "007"}).participant == "007"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("name", "1 to 64 letters, digits, _, . and -, the first a letter or digit, such as log-1"),
        ("instance", "1 to 36 hexadecimal digits and -, such as a UUID"),
    ],
)
@pytest.mark.parametrize("value", ["", "a b", "é", "x" * 65, "a\n"])
def test_the_form_of_a_consumer_is_named(field, expected, value):
    request = {"request": "fetch", field: value}
    with pytest.raises(ValueError, match=rf"^{field}: expected {expected} \(received "):
        decode_request(json.dumps(request).encode())


def test_a_consumer_may_have_the_name_of_a_file():
    request = decode_request(b'{"request":"fetch","name":"7.log_a-1","instance":"0a-f"}')
    assert (request.name, request.instance) == ("7.log_a-1", "0a-f")
