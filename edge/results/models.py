"""What is known of the models of a record: names and hashes from its events, figures from folders.

A model folder may hold ``accuracy.json`` (schema ``affect.accuracy.v1``): what was measured with
it, on whom, with intervals. It is apart from the manifest, so that a new measurement changes no
hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import ModelError
from edge.results.table import TableEvent
from edge.validation import first_error

Bounds = tuple[float, float]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measure(_Part):
    """One figure: ``jittered`` is that with moved and scaled face boxes, null if not measured."""

    name: Text
    text: Text
    value: float
    interval: Bounds
    jittered: float | None


class ExpressionMeasure(_Part):
    """The F1 of one expression, with its number of photographs."""

    name: Text
    photographs: int
    f1: float
    interval: Bounds


class Measured(_Part):
    """How and when the figures were measured."""

    command: Text
    hardware: Text
    date: Text


class Accuracy(_Part):
    """``accuracy.json`` of a model folder."""

    schema_: Literal["affect.accuracy.v1"] = Field(alias="schema")
    model: Text
    photographs: int
    people: int
    data: Text
    protocol: Text
    interval: Text
    jittered: Text
    measured: Measured
    measures: list[Measure]
    expressions: list[ExpressionMeasure]
    not_known: Text

    def measure(self, name: str) -> Measure | None:
        """Return a figure by its name; None: it was not measured."""
        return next((each for each in self.measures if each.name == name), None)


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model that a record names.

    Attributes:
        role: such as ``detector`` or ``expression``.
        name: of the model.
        artifact: file that ran.
        sha256: of the artifact.
        runtime: that ran it.
        precision: of the artifact.
        manifest_sha256: of its manifest, recalibration included; empty: not recorded.
        citation: of its authors; empty: no such model is installed here.
        accuracy: what was measured; None: nothing, or no such model is installed here.
        is_same: whether the installed manifest is the one of the record.
    """

    role: str
    name: str
    artifact: str
    sha256: str
    runtime: str
    precision: str
    manifest_sha256: str
    citation: str = field(default="", kw_only=True)
    accuracy: Accuracy | None = field(default=None, kw_only=True)
    is_same: bool = field(default=False, kw_only=True)


_FIELDS: Final = ("name", "artifact", "sha256", "runtime", "precision", "manifest_sha256")


def models_of(events: Sequence[TableEvent]) -> list[UsedModel]:
    """Return the models of all events ``worker_started``, each once.

    Raises:
        ModelError: the manifest or the ``accuracy.json`` of an installed model is wrong.
    """
    found: dict[tuple[str, ...], UsedModel] = {}
    for event in events:
        if event.event != "worker_started":
            continue
        models = event.detail.get("models", {})
        for role, each in models.items() if isinstance(models, dict) else ():
            values = {name: str(each.get(name) or "") for name in _FIELDS}
            key = (role, *values.values())
            if key not in found:
                found[key] = _known(_used(role, values))
    return list(found.values())


def read_accuracy(folder: Path) -> Accuracy | None:
    """Return the figures of a model folder; None: it has none.

    Raises:
        ModelError: ``accuracy.json`` is wrong.
    """
    path = folder / "accuracy.json"
    try:
        return Accuracy.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ModelError(f"{path}: {first_error(error)}") from error


def _used(role: str, values: dict[str, str]) -> UsedModel:
    return UsedModel(
        role=role,
        name=values["name"],
        artifact=values["artifact"],
        sha256=values["sha256"],
        runtime=values["runtime"],
        precision=values["precision"],
        manifest_sha256=values["manifest_sha256"],
    )


def _known(model: UsedModel) -> UsedModel:
    """Add what the installed model of that name says."""
    from edge.vision.inference.folders import find_model, load_hashed_manifest  # noqa: PLC0415

    try:
        folder = find_model(model.name)
    except ModelError:
        return model
    manifest, sha256 = load_hashed_manifest(folder)
    return replace(
        model,
        citation=manifest.source.citation,
        accuracy=read_accuracy(folder),
        is_same=sha256 == model.manifest_sha256,
    )
