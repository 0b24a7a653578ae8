"""A mistake in the configuration gives a message of one line that names the key."""

from pathlib import Path
from typing import get_args

import pytest

from edge.config import Config, SourceConfig, mistakes
from edge.errors import ConfigError
from tests.support.configurations import load

KINDS = ", ".join(
    f'"{get_args(model.model_fields["kind"].annotation)[0]}"'
    for union in get_args(get_args(SourceConfig)[0])
    for model in (get_args(union) or (union,))
)


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
        ("[affect]\nsmoothing_s = 0\n", "affect.smoothing_s: expected 0.001 or more (received 0)"),
        (
            "[publish]\nhigh_water = 2000000\n",
            "publish.high_water: expected 1000000 or less (received 2000000)",
        ),
        (
            "[detector]\nthreads = 1.5\n",
            'detector.threads: expected "auto", or 1 to 16 (received 1.5)',
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
