"""Configuration: order of the layers, and how values are read."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from edge.config import (
    Config,
    ImagesSource,
    MeshConfig,
    VideoSource,
    is_file,
    load_config,
    source_settings,
)
from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS, ExpressionName
from tests.support.configurations import load


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


def _numbers() -> list[tuple[str, dict[str, float]]]:
    """Return ``SECTION.KEY`` and the JSON Schema of every number of the configuration."""
    found = []
    for section, model in Config.model_json_schema()["$defs"].items():
        for key, schema in model.get("properties", {}).items():
            kinds = [schema, *schema.get("anyOf", ())]
            found += [
                (f"{section}.{key}", each)
                for each in kinds
                if each.get("type") in {"number", "integer"} and "enum" not in each
            ]
    return found


CHECKED_BY_CODE = {"LimitsConfig.worker_rss_mb", "PicameraSource.focus"}


@pytest.mark.parametrize(("key", "schema"), _numbers())
def test_every_number_has_bounds_with_which_the_daemon_can_compute(
    key: str, schema: dict[str, float]
) -> None:
    """``rate_hz = 1e-323`` ended every worker: its reciprocal is infinite."""
    if key in CHECKED_BY_CODE:
        return
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    assert low is not None
    assert "maximum" in schema or "exclusiveMaximum" in schema
    if key.endswith(("_hz", "_s")):
        assert low == schema["minimum"], "0 or a value whose reciprocal is of use"
        assert low == 0 or low >= 0.001


@pytest.mark.parametrize(
    "setting",
    ["source.rate_hz=1e-323", "source.rate_hz=1e-9", "limits.start_s=1e-9", "affect.smoothing_s=0"],
)
def test_a_rate_or_time_that_nobody_means_is_refused(tmp_path: Path, setting: str) -> None:
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: expected 0\.001 or more \(received "):
        load("", tmp_path, settings=[setting])


@pytest.mark.parametrize(
    ("keys", "most"), [({"landmarks": True}, 4), ({"coefficients": "all"}, 24)]
)
def test_meshes_that_do_not_fit_one_message_are_refused(keys: dict[str, Any], most: int) -> None:
    assert MeshConfig(faces_per_frame=most, **keys).faces_per_frame == most
    with pytest.raises(ValidationError, match=f"faces_per_frame: {most + 1} is too many"):
        MeshConfig(faces_per_frame=most + 1, **keys)
