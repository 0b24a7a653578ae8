"""Parts of the LSL relay without liblsl: interface, configuration, channels, places, markers."""

import configparser
import json
import math

import pytest

from edge.errors import ConfigError
from edge.lsl.channels import CHANNELS, sample
from edge.lsl.interface import Interface, find_interface, list_interfaces
from edge.lsl.library import configuration
from edge.lsl.markers import marker_of
from edge.lsl.places import Places
from edge.lsl.relay import check_services
from edge.protocol.messages import Face
from edge.vocabulary import EXPRESSIONS
from tests.support.wire import MESH, event, face

SECOND = 1_000_000_000
ETH0 = Interface("eth0", "192.168.7.10")
LABELS = [channel.label for channel in CHANNELS]


def known(track, participant=None, seat=None, **others):
    return Face.model_validate(face(track, **others) | {"participant": participant, "seat": seat})


def values(of):
    return dict(zip(LABELS, of, strict=True))


# -- interface and configuration -------------------------------------------------------------------


def test_the_loopback_interface_is_found_by_name_and_address():
    assert Interface("lo", "127.0.0.1") in list_interfaces()
    assert find_interface("lo") == find_interface("127.0.0.1") == Interface("lo", "127.0.0.1")


@pytest.mark.parametrize("text", ["0.0.0.0", "eth99", "", "::1", "192.0.2.7"])
def test_an_interface_that_is_not_there_is_refused_with_those_that_are(text):
    with pytest.raises(ConfigError, match=r"expected the IPv4 address .*: lo \(127\.0\.0\.1\)"):
        find_interface(text)


def test_the_users_configuration_is_kept_but_for_the_interface(tmp_path):
    user = tmp_path / "lsl_api.cfg"
    user.write_text(
        "; a comment\n[lab]\nSessionID = lab-7\nKnownPeers = {10.0.0.5}\n[multicast]\n"
        "ListenAddress = 10.0.0.9\nInterfaces = {10.0.0.9}\n[ports]\nIPv6 = force\n"
    )
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(configuration(ETH0, user))
    assert dict(parser["lab"]) == {"SessionID": "lab-7", "KnownPeers": "{10.0.0.5}"}
    assert dict(parser["multicast"]) == {"Interfaces": "{192.168.7.10}"}
    assert parser["ports"]["IPv6"] == "disable"


@pytest.mark.parametrize("content", [b"SessionID = 7\n", b"\xff\xfe", None])
def test_a_configuration_of_the_user_that_cannot_be_read_is_one_line(tmp_path, content):
    user = tmp_path / "lsl_api.cfg"
    if content is not None:
        user.write_bytes(content)
    with pytest.raises(
        ConfigError, match=r"lsl_api\.cfg: .*expected liblsl's configuration"
    ) as hit:
        configuration(ETH0, user)
    assert "\n" not in str(hit.value)


def test_daemons_on_other_machines_need_services():
    check_services(["ipc://a", "tcp://localhost:5555", "tcp://[::1]:5555"], [])
    for lookalike in ("tcp://127-0-0-1.example:5555", "tcp://127.attacker.example:5555"):
        with pytest.raises(ConfigError, match=r"another machine; expected --service"):
            check_services([lookalike], [])
    check_services(["tcp://10.0.0.5:5555"], ["tcp://10.0.0.5:5556"])
    with pytest.raises(ConfigError, match=r"tcp://10\.0\.0\.5:5555.*expected --service"):
        check_services(["ipc://a", "tcp://10.0.0.5:5555"], ["ipc://b"])


# -- samples ---------------------------------------------------------------------------------------


def test_a_face_is_a_sample_in_the_order_of_the_channels():
    found = values(sample(known(4), 7))
    assert [found[name] for name in EXPRESSIONS] == [0.1, 0.6, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]
    others = {name: value for name, value in found.items() if name not in EXPRESSIONS}
    of_mesh = [each.label for each in CHANNELS if each.type == "Mesh"]
    for name in ("valence_relative", "arousal_relative", *of_mesh):
        assert math.isnan(others.pop(name))
    assert others == {
        "valence": 0.61, "arousal": -0.12, "valence_smoothed": 0.5, "arousal_smoothed": -0.1,
        "usable": 1.0, "age": 12.4, "track": 4.0, "seq": 7.0,
    }  # fmt: skip


def test_the_mesh_is_in_a_sample_where_it_was_measured():
    measured = Face.model_validate(face(4) | {"mesh": MESH})
    found = values(sample(measured, 7))
    assert {each.label: found[each.label] for each in CHANNELS if each.type == "Mesh"} == {
        "head_yaw": -7.5, "head_pitch": 3.0, "head_roll": 0.5, "left_eye": 0.9, "right_eye": 0.85,
        "mouth": 0.25, "perclos": 0.125,
    }  # fmt: skip
    lids = {**MESH["lids"], "perclos": None, "perclos_reason": "too_short"}
    early = Face.model_validate(face(4) | {"mesh": {**MESH, "lids": lids}})
    assert math.isnan(values(sample(early, 7))["perclos"])


def test_what_was_not_read_is_nan():
    found = values(sample(known(4, reasons=("too_dark",), classified=False), 7))
    assert {name for name, value in found.items() if not math.isnan(value)} == {
        "usable", "age", "track", "seq",
    }  # fmt: skip
    assert found["usable"] == 0.0
    nobody = values(sample(None, 8))
    assert {name for name, value in nobody.items() if not math.isnan(value)} == {"seq"}


# -- places ----------------------------------------------------------------------------------------


def tracks(placed):
    return [each and each.track for each in placed]


def test_a_seat_has_its_place():
    places = Places(("left", "right"), 4)
    assert places.names == ("left", "right")
    placed, changes = places.place([known(4, None, "right"), known(5, None, "window")], 0)
    assert tracks(placed) == [None, 4]
    assert places.left_out == 1
    assert [(each.place, each.track) for each in changes] == [("right", 4)]
    assert places.place([known(4, None, "right")], SECOND)[1] == []


def test_faces_take_the_first_free_place_and_leave_it_after_a_while():
    places = Places((), 2)
    assert places.names == ("face 1", "face 2")
    assert places.occupations() == []
    assert tracks(places.place([known(4), known(5), known(6)], 0)[0]) == [4, 5]
    assert [(each.place, each.track) for each in places.occupations()] == [
        ("face 1", 4),
        ("face 2", 5),
    ]
    assert places.left_out == 1
    assert tracks(places.place([known(5), known(6)], SECOND)[0]) == [None, 5]
    assert tracks(places.place([known(5), known(6)], 2 * SECOND)[0]) == [6, 5]


def test_a_participant_keeps_a_place_for_good():
    places = Places((), 2)
    places.place([known(4), known(5)], 0)
    placed, changes = places.place([known(4), known(5, "P07")], SECOND)
    assert tracks(placed) == [4, 5]
    assert [(each.place, each.participant) for each in changes] == [("face 2", "P07")]
    assert tracks(places.place([known(8)], 100 * SECOND)[0]) == [8, None]
    assert tracks(places.place([known(8), known(9, "P07")], 101 * SECOND)[0]) == [8, 9]
    places.release("P07")
    assert tracks(places.place([known(8), known(10)], 200 * SECOND)[0]) == [8, 10]


def test_a_participant_takes_the_place_of_a_face_without_code():
    places = Places((), 1)
    places.place([known(4)], 0)
    assert tracks(places.place([known(4), known(5, "P07")], 1)[0]) == [5]
    assert places.left_out == 1


def test_a_new_run_has_new_tracks():
    places = Places((), 2)
    places.place([known(1), known(2, "P07")], 0)
    places.begin()
    assert tracks(places.place([known(1, "P07"), known(2)], 1)[0]) == [1, 2], "its place"


# -- markers ---------------------------------------------------------------------------------------


def test_a_mark_is_its_text_and_another_event_is_json():
    assert marker_of(event(1, "mark", {"text": "pressure 2,8 bar"})) == "pressure 2,8 bar"
    assert json.loads(marker_of(event(1, "mark", {"text": "{x"}))) == {
        "event": "mark", "text": "{x", "seq": 1,
    }  # fmt: skip
    detail = {"session": "1f", "name": "dive", "config": {"a": 1}}
    assert json.loads(marker_of(event(2, "session_began", detail))) == {
        "event": "session_began", "session": "1f", "name": "dive", "seq": 2,
    }  # fmt: skip
