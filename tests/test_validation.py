"""Messages about invalid input: one line with place, reason and expectation."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.arguments import Parser
from edge.errors import ConfigError, InferenceError, ModelError
from edge.validation import file_errors, first_error, mistaken_content, prefixed, refuse_empty


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    points: list[int] = Field(default=[], max_length=2)

    @model_validator(mode="after")
    def _is_sorted(self) -> "Part":
        if self.points != sorted(self.points):
            raise ValueError("expected\n sorted points")
        return self


def test_a_program_of_its_own_refuses_empty_arguments_too() -> None:
    with pytest.raises(ConfigError, match=r"^--json: expected a value"):
        Parser().parse_args(["--json", ""])


def test_only_named_options_may_be_empty() -> None:
    refuse_empty(["log", "--service", "", "--service=", "--set", "a.b="], allowed=["--service"])
    with pytest.raises(ConfigError, match=r"^--service: "):
        refuse_empty(["log", "--service", ""])


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        ({"points": [1, "x"]}, "int_parsing", "points.1: Input should be a valid integer"),
        ({"colour": 1, "points": []}, "extra_forbidden", "colour: Extra inputs"),
        ({"points": [2, 1]}, "value_error", "expected sorted points"),
        ([], "model_type", "Input should be a valid dictionary"),
    ],
)
def test_the_first_error_is_one_line(data: object, kind: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Part.model_validate(data)
    found = first_error(caught.value)
    assert found.kind == kind
    assert str(found).startswith(text)
    assert "\n" not in str(found)


def test_a_file_error_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    with (
        pytest.raises(ConfigError, match=f"^--labels {path}: No such file or directory; expected"),
        file_errors("--labels", path, expected="a CSV file", kind=ConfigError),
    ):
        path.read_bytes()
    with (
        pytest.raises(ModelError, match=f"^--weights {path}: No such file or directory$"),
        file_errors("--weights", path),
    ):
        path.read_bytes()


@pytest.mark.parametrize("kind", [ModelError, InferenceError])
def test_a_model_error_gets_a_prefix(kind: type[Exception]) -> None:
    with pytest.raises(ModelError, match=r"^--weights a\.onnx: bad$"), prefixed("--weights a.onnx"):
        raise kind("bad")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n", "git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"<html><body>404", "a web page"),
        (b"PK\x03\x04" + bytes(60), "a zip archive or a checkpoint of PyTorch"),
        (b"\x1f\x8b\x08" + bytes(60), "a gzip archive"),
        (b"weights.onnx" + bytes(245) + b"ustar  \0", "a tar archive"),
        (b"", "an empty file"),
    ],
)
def test_content_that_is_no_model_is_named(content: bytes, expected: str) -> None:
    assert expected in mistaken_content(content)


def test_nothing_is_said_of_other_content() -> None:
    assert mistaken_content(b"\x08\x07\x12\x07pytorch") == ""
