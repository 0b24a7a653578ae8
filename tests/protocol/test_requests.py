"""Participant codes that stay text in every table, and names of consumers."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from edge.errors import RefusalCode, RequestRefused
from edge.protocol.messages import Face
from edge.protocol.requests import READING, Request, decode_request, refusal_of
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
    with pytest.raises(RequestRefused, match=r"^participant: expected a letter, .* such as P07"):
        decode_request(assign(code))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *[(code, "date") for code in ("MAR1", "Sept-2", "dec31", "jan-1-24", "Okt3", "MAY2026")],
        *[(code, "keep it as text") for code in ("TRUE", "false", "NA", "NaN", "null", "inf", "T")],
    ],
)
def test_a_word_that_a_table_does_not_keep_as_text_is_refused(code, reason):
    with pytest.raises(RequestRefused, match=rf"{reason}.* such as P07 \(received '{code}'\)"):
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
    with pytest.raises(RequestRefused, match=rf"^{field}: expected {expected} \(received "):
        decode_request(json.dumps(request).encode())


def test_a_consumer_may_have_the_name_of_a_file():
    request = decode_request(b'{"request":"fetch","name":"7.log_a-1","instance":"0a-f"}')
    assert (request.name, request.instance) == ("7.log_a-1", "0a-f")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"request": "teleport"}, "unknown_request"),
        ({"request": "participant", "action": "teleport"}, "unknown_request"),
        ({"request": "fetch", "sequence": 3}, "bad_request"),
        ({"request": "baseline", "action": "pause", "participant": "P07"}, "bad_request"),
        ({}, "bad_request"),
    ],
)
def test_an_unknown_request_is_told_from_a_malformed_one(request_, code):
    with pytest.raises(RequestRefused) as caught:
        decode_request(json.dumps(request_).encode())
    assert caught.value.code == code


def test_every_code_comes_back_from_a_reply_and_is_documented():
    rows = [line.split("`") for line in Path("docs/messages.md").read_text().splitlines()]
    documented = {row[1] for row in rows if len(row) > 1 and row[0] == "| "}
    for code in get_args(RefusalCode):
        refusal = refusal_of({"ok": False, "code": code, "error": "no"})
        assert refusal.code == code
        assert refusal.exit_code == (1 if code in ("busy", "failed") else 78)
        assert code in documented
    assert refusal_of({"ok": False, "code": "of_a_newer_daemon", "error": "no"}).code is None
    assert refusal_of({"ok": False, "error": "the cursor is ahead"}).code is None


def test_every_request_is_in_the_table_of_requests():
    """The requests of the preview were not."""
    page = Path("docs/logging.md").read_text()
    for model in Request.__subclasses__():
        fields = model.model_fields
        actions = get_args(fields["action"].annotation) if "action" in fields else [""]
        for action in actions:
            words = f'"request": "{fields["request"].default}"'
            assert words + (f', "action": "{action}"' if action else "") in page


def test_the_page_on_keys_names_the_requests_that_need_an_operator():
    """It did not name those of the preview."""
    page = Path("docs/security.md").read_text()
    listed = page.partition("names the keys that may change")[2].partition("All others")[0]
    changing = [each for each in Request.__subclasses__() if not issubclass(each, READING)]
    names = {each.model_fields["request"].default for each in changing}
    assert set(re.findall(r"`([a-z]+)", listed)) == names
