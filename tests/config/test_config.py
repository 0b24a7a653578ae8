"""Configuration: order of the layers, and a message of one line for every mistake."""

from pathlib import Path
from typing import Any, get_args

import pytest

from edge.config import (
    Config,
    ImagesSource,
    SourceConfig,
    VideoSource,
    is_file,
    load_config,
    mistakes,
    source_settings,
)
from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS, ExpressionName

KINDS = ", ".join(
    f'"{get_args(model.model_fields["kind"].annotation)[0]}"'
    for union in get_args(get_args(SourceConfig)[0])
    for model in (get_args(union) or (union,))
)


def load(text: str = "", tmp: Path | None = None, **more: Any) -> Config:
    path = None
    if tmp is not None:
        path = tmp / "edge.toml"
        path.write_text(text)
    return load_config(path, environment=more.pop("environment", {}), **more)


def test_later_layers_win(tmp_path: Path) -> None:
    text = "[detector]\nthreshold = 0.1\nnms_iou = 0.1\nthreads = 1\n[tracking]\nvanish_s = 9.0\n"
    config = load(
        text,
        tmp_path,
        environment={
            "AFFECT_EDGE__DETECTOR__THRESHOLD": "0.2",
            "AFFECT_EDGE__DETECTOR__NMS_IOU": "0.2",
            "UNRELATED": "x",
        },
        settings=["detector.threshold=0.3"],
        overrides={"device": {"name": "from-outside"}},
    )
    assert config.detector.threshold == 0.3
    assert config.detector.nms_iou == 0.2
    assert config.detector.threads == 1
    assert config.tracking.vanish_s == 9.0
    assert config.affect == Config().affect
    assert config.device.name == "from-outside"


def test_a_source_of_another_kind_replaces_the_section_of_the_file(tmp_path: Path) -> None:
    text = '[device]\npurpose = "medical"\n[source]\nkind = "v4l2"\nrate_hz = 10.0\n'
    config = load(text, tmp_path, overrides={"source": {"kind": "video", "path": "x.mp4"}})
    assert config.source.kind == "video"
    same = load(text, tmp_path, overrides={"source": {"kind": "v4l2", "path": "/dev/video2"}})
    assert (same.source.rate_hz, same.source.path) == (10.0, "/dev/video2")  # type: ignore[union-attr]


def test_it_is_frozen_and_equal_after_json() -> None:
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.device.name = "other"  # type: ignore[misc]
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_values_of_set_are_toml_or_plain_text() -> None:
    assert load(settings=["device.name=plain"]).device.name == "plain"
    assert load(settings=['device.name="quoted"']).device.name == "quoted"
    assert load(settings=["source.paced=false"]).source.paced is False  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[detector\n", "not TOML"),
        ("a = 1\na = 2\n", "not TOML"),
        ("nonsense = 1\n", "nonsense"),
        ("[zoo]\nx = 1\n", "zoo"),
        ("detector = 3\n", "detector"),
        ("[detector]\nthreshhold = 0.5\n", "detector.threshhold"),
        ('[detector]\nthreshold = "high"\n', "detector.threshold"),
        ("[detector]\nthreshold = nan\n", "detector.threshold"),
        ("[detector]\nthreshold = inf\n", "detector.threshold"),
        ("[detector]\nthreshold = 1.5\n", "detector.threshold"),
        ("[detector]\nthreshold = -0.1\n", "detector.threshold"),
        ("[detector]\nthreshold = true\n", "detector.threshold"),
        ("[detector]\nthreshold = [0.5]\n", "detector.threshold"),
        ("[detector]\nthreads = 0\n", "detector.threads"),
        ("[detector]\nthreads = 1.5\n", "detector.threads"),
        ('[detector]\nmodel = ""\n', "detector.model"),
        ("[expression]\npriors = 0.7\n", "priors: expected shares by expression, such as {"),
        ("[expression]\npriors = { bored = 0.5 }\n", "expression.priors.bored: expected one of"),
        ("[expression]\npriors = { neutral = 0.0 }\n", "expression.priors.neutral"),
        ("[expression]\npriors = { neutral = 1.0 }\n", "expression.priors.neutral"),
        (
            "[expression]\npriors = { neutral = 0.7, sad = 0.3 }\n",
            "priors: the sum is 1; expected",
        ),
        (
            "[expression]\npriors = { neutral = 0.7, happy = 0.1, sad = 0.1, surprise = 0.1,"
            " fear = 0.1, disgust = 0.1, anger = 0.1, contempt = 0.1 }\n",
            "priors: the sum is 1.4; expected 1",
        ),
        ("[tracking]\nvanish_s = 0\n", "tracking.vanish_s"),
        ("[affect]\nsmoothing_s = -1\n", "affect.smoothing_s"),
        ('[device]\nname = "Two Words"\n', "device.name"),
        ('[device]\nname = ""\n', "device.name"),
        ('[device]\npurpose = "marketing"\n', "device.purpose"),
        ('[source]\nkind = "zoo"\n', "source"),
        ('[source]\nkind = "video"\n', "source.path"),
        ('[source]\nkind = "stream"\nurl = "ftp://x"\n', "source.url"),
        ('[source]\nkind = "demo"\npath = "x"\n', "source.path"),
        ('[source]\nkind = "v4l2"\n', "device.purpose"),
        ('[publish]\nendpoint = "tcp://0.0.0.0:5555"\n', "publish.endpoint"),
        ('[publish]\nendpoint = "tcp://*:5555"\n', "publish.endpoint"),
        ('[publish]\nendpoint = "tcp://[::]:5555"\n', "publish.endpoint: 'tcp://[::]:5555' can be"),
        ('[publish]\nendpoint = "tcp://192.0.2.1:5555"\n', "can be reached by other machines"),
        ('[publish]\nendpoint = "tcp://eth0:5555"\n', "which needs security.secret_key and"),
        ('[publish]\nendpoint = "tcp://[::1:5555"\n', "publish.endpoint: expected ipc://PATH or"),
        ('[security]\nsecret_key = "a.key_secret"\n', "security.allowed_keys: not set"),
        ('[security]\nallowed_keys = "allowed"\n', "security.secret_key: not set"),
        ('[metrics]\ntls_certificate = "a.pem"\n', "metrics.tls_key: not set"),
        ('[metrics]\ntls_key = "a.key"\n', "metrics.tls_certificate: not set"),
        ('[metrics]\ntls_client_ca = "ca.pem"\n', "metrics.tls_client_ca: set without"),
        ('[metrics]\naddress = "[::]:9108"\ntoken_file = "t"\n', "metrics.address: '[::]:9108'"),
        (
            '[metrics]\naddress = "0.0.0.0:9108"\ntls_certificate = "a"\ntls_key = "b"\n',
            "metrics.address: '0.0.0.0:9108' can be reached by other machines",
        ),
        ('[metrics]\naddress = "*:9108"\n', "metrics.address: expected 127.0.0.1:PORT"),
        ('[publish]\nendpoint = "tcp://127.0.0.1:99999"\n', "publish.endpoint"),
        ('[publish]\nendpoint = "tcp://127.0.0.256:5555"\n', "publish.endpoint"),
        ('[publish]\nendpoint = "tcp://127.0.0.01:5555"\n', "publish.endpoint"),
        ('[metrics]\naddress = "127.0.0.1:5556"\n', "metrics.address"),
        ('[publish]\nendpoint = "tcp://chamber.lan:5555"\n', "publish.endpoint"),
        ('[publish]\nendpoint = "ipc://"\n', "publish.endpoint"),
        ('[publish]\nservice_endpoint = "tcp://10.0.0.1:5556"\n', "publish.service_endpoint"),
        ('[metrics]\naddress = "0.0.0.0:9108"\n', "metrics.address"),
        ('[metrics]\naddress = "127.0.0.1:0"\n', "metrics.address"),
        ('[source]\nkind = "picamera"\nread_timeout_s = 20.0\n', "source.read_timeout_s"),
        ('[source]\nkind = "picamera"\nrate_hz = 0.4\n', "source.rate_hz"),
        ('[source]\nkind = "picamera"\nsensor = "1640"\n', "source.sensor"),
        ('[source]\nkind = "picamera"\ntransform = "rotate90"\n', "source.transform"),
        ('[source]\nkind = "picamera"\nfocus = "manual"\n', "source.focus"),
        ('[source]\nkind = "picamera"\nfocus = -1\n', "source.focus"),
        ('[source]\nkind = "picamera"\nfocus = true\n', "source.focus"),
        ('[source]\nkind = "picamera"\ntuning = ""\n', "source.tuning"),
        ('[metrics]\naddress = "9108"\n', "metrics.address"),
        ("[quality]\nbrightness_min = 0.9\nbrightness_max = 0.1\n", "quality"),
        ("[limits]\nworker_rss_mb = 1\n", "limits.worker_rss_mb"),
    ],
)
def test_a_mistake_gives_one_line_that_names_the_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(text, tmp_path)
    message = str(error.value)
    assert named in message
    assert "\n" not in message
    assert str(tmp_path / "edge.toml") in message


PURPOSE = "reading emotions needs a declared lawful purpose (see README, Limits and law)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[source]\nkind = "demo"\n\n[source]\nkind = "picamera"\n',
            "a second [source] section at line 4, column 8; only one [source] section may be"
            " active: put # before the lines of the others",
        ),
        (
            '[source]\nkind = "demo"\nkind = "picamera"\n',
            "not TOML: Cannot overwrite a value (at line 3, column 18): a key is set twice in its"
            " section; keep one (only one [source] section may be active: put # before the lines of"
            " the others)",
        ),
        (
            "[affect]\n[affect]\n",
            "a second [affect] section at line 2, column 8; expected all its keys in one",
        ),
        (
            '[source]\nkind = "picamera"\nsensor = "full"\n',
            'source.sensor: expected "auto" or WIDTHxHEIGHT such as "1640x1232"'
            " (received 'full')",
        ),
        (
            '[device]\nname = "Two Words"\n',
            'device.name: expected a-z, 0-9 and "-", at most 32 characters, beginning with a letter'
            " or digit (received 'Two Words')",
        ),
        (
            '[source]\nkind = "webcam"\n',
            f"source.kind: expected one of {KINDS} (received 'webcam')",
        ),
        (
            '[source]\nkind = "stream"\nurl = "ftp://me:secret@host"\n',
            "source.url: expected rtsp://, rtsps://, http:// or https:// and a host"
            " (received 'ftp://...@host')",
        ),
        (
            '[source]\nkind = "picamera"\nrate_hz = 0.4\n',
            "source.rate_hz: expected 0.5 or more (received 0.4)",
        ),
        (
            '[source]\nkind = "picamera"\ntransform = "left"\n',
            'source.transform: expected one of "none", "rotate180", "hflip", "vflip"'
            " (received 'left')",
        ),
        ("[affect]\nsmoothing_s = 0\n", "affect.smoothing_s: expected more than 0 (received 0)"),
        (
            "[publish]\nhigh_water = 2000000\n",
            "publish.high_water: expected 1000000 or less (received 2000000)",
        ),
        (
            "[detector]\nthreads = 1.5\n",
            "detector.threads: expected a whole number (received 1.5)",
        ),
        (
            "[expression]\npriors = { neutral = 1.0 }\n",
            "expression.priors.neutral: expected less than 1 (received 1.0)",
        ),
        ("detector = 3\n", "detector: expected a section with keys (received 3)"),
        ("source = 3\n", "source: expected a section with keys (received 3)"),
        ('[source]\nkind = "video"\n', "source.path: required, and not set"),
        (
            '[device]\npurpose = "hobby"\n',
            'device.purpose: expected one of "research-consent", "medical", "safety":'
            f" {PURPOSE} (received 'hobby')",
        ),
        (
            '[source]\nkind = "v4l2"\n',
            'device.purpose: not set; expected "research-consent", "medical" or "safety":'
            f" {PURPOSE}",
        ),
        (
            "[detector]\ntreshold = 0.5\n[zoo]\nx = 1\n[affect]\nsmoothing = 1.0\n",
            "detector.treshold: unknown key (did you mean detector.threshold?); see"
            " deploy/edge.example.toml for every key; 2 further mistakes",
        ),
        (
            "[detectr]\nthreshold = 0.5\n",
            "detectr: unknown key (did you mean [detector]?); see deploy/edge.example.toml for"
            " every key",
        ),
        (
            'purpose = "safety"\n',
            "purpose: unknown key outside of the sections (it belongs below [device]); see"
            " deploy/edge.example.toml for every key",
        ),
        (
            '[source]\nkind = "picamera"\nbuffers = 4\n',
            "source.buffers: unknown key (did you mean source.buffer_count?); see"
            " deploy/edge.example.toml for every key",
        ),
        (
            '[source]\nkind = "demo"\ntuning = "x"\n',
            "source.tuning: unknown key of this kind of source (it belongs to picamera); see"
            " deploy/edge.example.toml for every key",
        ),
        (
            "[quality]\nzzz = 1\n[limits]\nstall_s = 0.0\n",
            "quality.zzz: unknown key; see deploy/edge.example.toml for every key;"
            " 1 further mistake",
        ),
    ],
)
def test_a_mistake_gives_this_message(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(text, tmp_path)
    assert str(error.value) == f"configuration {tmp_path / 'edge.toml'}: {message}"


def test_no_message_is_pydantics_own() -> None:
    """Every type of error that a section can raise has a message of the project."""
    messages = set()
    for section, field in Config.model_fields.items():
        models = mistakes.SOURCES if section == "source" else {"": field.annotation}
        for kind, model in models.items():
            for key in model.model_fields:  # type: ignore[union-attr]
                for value in ("", "?", -1, -1.5, 1e9, 10**9, True, None, [], {}, {"a": 1}):
                    values = {**({"kind": kind} if kind else {}), key: value}
                    try:
                        load(overrides={"device": {"purpose": "safety"}, section: values})
                    except ConfigError as error:
                        messages.add(str(error))
    assert len(messages) > 300
    words = ("Input", "should", "Field", "match", "valid")
    assert [line for line in messages if any(word in line for word in words)] == []


@pytest.mark.parametrize("setting", ["", "=", "x", "x=1", "a.b.c=1", ".b=1", "a.=1", "device=1"])
def test_a_malformed_setting_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"--set") as error:
        load(settings=[setting])
    assert "\n" not in str(error.value)


def test_all_expressions_can_have_a_prior() -> None:
    assert get_args(ExpressionName) == EXPRESSIONS
    even = ", ".join(f"{name} = 0.125" for name in EXPRESSIONS)
    assert len(load(settings=[f"expression.priors={{{even}}}"]).expression.priors) == 8


@pytest.mark.parametrize(
    ("written", "value"),
    [("2", 2.0), ("0.5", 0.5), ('"auto"', "auto"), ("continuous", "continuous")],
)
def test_the_focus_is_a_distance_or_a_mode(written: str, value: object) -> None:
    config = load(
        settings=["source.kind=picamera", f"source.focus={written}", "device.purpose=safety"]
    )
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert config.source.focus == value  # type: ignore[union-attr]


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="AFFECT_EDGE__DETECTOR"):
        load(environment={"AFFECT_EDGE__DETECTOR": "x"})


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "huge").write_bytes(b"#" * (2 << 20))
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary", tmp_path / "huge"):
        with pytest.raises(ConfigError, match="configuration") as error:
            load_config(path, environment={})
        assert "\n" not in str(error.value)


def test_a_setting_for_the_source_of_the_command_line_is_used_or_refused() -> None:
    purpose = 'device.purpose="safety"'
    folder = {"source": {"kind": "images", "path": "x"}}
    config = load_config(
        settings=["source.rate_hz=10.0", purpose], overrides=folder, environment={}
    )
    assert config.source == ImagesSource(kind="images", path="x", rate_hz=10.0)
    with pytest.raises(ConfigError, match=r"source\.bits: unknown key"):
        load_config(
            settings=["source.bits=12"], overrides={"source": {"kind": "demo"}}, environment={}
        )


def test_values_of_the_source_option(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    for value, kind, file in (
        ("demo", "demo", True),
        ("picamera", "picamera", False),
        ("/dev/video3", "v4l2", False),
        ("rtsp://camera/1", "stream", False),
        ("https://camera/1", "stream", False),
        (str(tmp_path), "images", True),
        (str(tmp_path / "clip.mp4"), "video", True),
    ):
        settings = source_settings(value)
        assert settings["kind"] == kind
        config = load(overrides={"source": settings, "device": {"purpose": "safety"}})
        assert config.source.kind == kind
        assert is_file(config.source) is file
    for value in ("nowhere", str(tmp_path / "no"), "ftp://camera"):
        with pytest.raises(ConfigError, match=r"--source"):
            source_settings(value)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["with a mark", "without"])
def test_utf_8_may_begin_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes(mark + b'[device]\r\nname = "one"\r\n')
    assert load_config(path, environment={}).device.name == "one"


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ("utf-16", "UTF-16 text; save it again as UTF-8"),
        ("utf-16-le", "not UTF-8; save it again as UTF-8"),
        ("latin-1", "not UTF-8: byte 0xe4 in line 2; save it again as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, codec: str, expected: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes('[device]\n# Kammer der Pärchen\nname = "one"\n'.encode(codec))
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={})
    assert str(caught.value) == f"configuration {path}: {expected}"


@pytest.mark.parametrize(
    "name",
    [
        "AFFECT_EDGE_DEVICE_NAME",
        "AFFECT_EDGE_DEVICE__NAME",
        "affect_edge__device__name",
        "AFFECT_EDGE___DEVICE__NAME",
        "Affect_Edge__Device__Name",
    ],
)
def test_variables_that_are_nearly_ours_are_refused(name: str) -> None:
    """They were left out without a word, so that a misspelt one had no effect."""
    with pytest.raises(ConfigError) as caught:
        load(environment={name: "secret"})
    text = f"environment variable {name}: not read; expected AFFECT_EDGE__DEVICE__NAME"
    assert str(caught.value) == text


def test_priors_are_one_value_in_every_layer() -> None:
    """A variable that does not exist either was proposed."""
    text = "expected all priors as one value, such as expression.priors={ neutral = 0.7 }"
    variable = "AFFECT_EDGE__EXPRESSION__PRIORS"
    with pytest.raises(ConfigError) as caught:
        load(environment={f"{variable}__NEUTRAL": "0.7"})
    assert str(caught.value) == f"{variable}__NEUTRAL: {text}"
    with pytest.raises(ConfigError) as caught:
        load(settings=["expression.priors.neutral=0.7"])
    assert str(caught.value) == f"--set expression.priors.neutral: {text}"
    given = load(environment={variable: "{ neutral = 0.7 }"})
    assert given == load(settings=["expression.priors={ neutral = 0.7 }"])
    assert given != Config()


def test_an_address_is_no_folder_for_the_journal() -> None:
    with pytest.raises(ConfigError, match=r"journal\.path: expected a path; an address is"):
        load(settings=["journal.path=rtsp://me:S3cret@camera/1"])


def test_other_variables_with_our_name_are_left_alone() -> None:
    assert load(environment={"AFFECT_EDGE_NIR_FACES": "/faces", "AFFECT_EDGE": "1"}) == Config()


@pytest.mark.parametrize("text", ["4", "1e5", "true", "2024-11-27", "0x10", "007"])
def test_a_number_is_text_where_text_is_expected(text: str) -> None:
    settings = ["device.purpose=medical", "source.kind=video", f"source.path={text}"]
    assert load(settings=settings).source == VideoSource(kind="video", path=text)
    assert load(environment={"AFFECT_EDGE__DETECTOR__MODEL": text}).detector.model == text


def test_in_a_file_text_needs_quotation_marks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected text in quotation marks \(received 4\)"):
        load("[device]\nname = 4\n", tmp_path, settings=["detector.model=5"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("3", "zones.seats: expected areas by name"),
        ("{ left = 3 }", "zones.seats.left: expected a section with keys"),
        ("{ 7 = { polygon = [[0, 0], [1, 0], [1, 1]] } }", "zones.seats.7: expected a letter"),
        ("{ left = { polgon = 1 } }", "zones.seats.left.polygon: required, and not set"),
        ("{ video = { polygon = 1 } }", "zones.seats.video.polygon: expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [1, 1.1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [nan, 1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 0], [true, 1]] } }", "expected corners as shares"),
        ("{ a = { polygon = [[0, 0], [1, 1], [1, 0], [0, 1]] } }", "expected corners in order"),
        ("{ a = { polygon = [[0, 0], [1, 0], [1, 1]], size = 1 } }", "unknown key"),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = '7' } }",
            "zones.seats.a.participant: expected a letter",
        ),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]] },"
            " b = { polygon = [[0.5, 0], [1, 0], [1, 1]] } }",
            "seats a and b overlap at [",
        ),
        (
            "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = 'P1' },"
            " b = { polygon = [[0, 0], [0, 1], [1, 1]], participant = 'P1' } }",
            "seats a and b have the participant P1; expected one seat each",
        ),
    ],
)
def test_wrong_seats_are_refused_in_one_line(value, text):
    with pytest.raises(ConfigError) as refusal:
        load_config(settings=[f"zones.seats={value}"], environment={})
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_seats_may_touch_and_travel_to_the_worker():
    seats = (
        "{ a = { polygon = [[0, 0], [1, 0], [1, 1]], participant = 'P1' },"
        " b = { polygon = [[0, 0], [0, 1], [1, 1]] } }"
    )
    config = load_config(settings=[f"zones.seats={seats}"], environment={})
    assert config.zones.seats["b"].participant is None
    assert Config.model_validate_json(config.model_dump_json()) == config
