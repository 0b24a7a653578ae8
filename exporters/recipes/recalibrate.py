"""Recalibrates a model folder to annotated photographs: evaluates, fits, and writes the result."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import face_crops, float_network, split_pictures
from edge.config import DetectorConfig
from edge.errors import ConfigError
from edge.recordings.progress import ProgressBar
from edge.vision.detect import open_detector
from edge.vision.golden import network_findings
from edge.vision.inference import Manifest, Network, find_model
from edge.vision.inference.fitted_head import FittedHead
from edge.vision.inference.folders import read_artifact
from edge.vision.inference.manifest import Parity, Recalibration
from exporters.artifacts.parity import LIMITS, check_against_limits
from exporters.artifacts.write import compare_and_write, open_built
from exporters.golden import golden_of
from exporters.recipes import adapt
from exporters.recipes.fitted_heads import (
    DEFAULT_OPTIONS,
    HeadData,
    HeadInputs,
    Step,
    fit_head,
    fits_of,
)
from exporters.recipes.head_evaluation import compared, decoded
from exporters.recipes.nirfaces import NirFaces, load_nir_faces

_SPLIT_MIN: Final = 32
"""Photographs of which a part suffices to compare int8 with float."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What was fitted to all photographs; ``heads`` without a mesh first."""

    recalibration: Recalibration
    heads: tuple[FittedHead, ...]


def recalibrate(
    model: str, images: Path, labels: Path, options: adapt.AdaptOptions
) -> tuple[dict[str, Any], Fitted, HeadData]:
    """Fit recalibration and heads of a model folder; evaluate them with people left out.

    Returns:
        The figures of the recalibration, with those of the heads under ``heads``; the fit; and the
        photographs.

    Raises:
        ConfigError: photographs or labels cannot be used, or the network's input is not square.
        ModelError: the model cannot be trusted.
    """
    network, options = square_network(model, options)
    nir = load_nir_faces(images, labels, options.margin, network.info.width, mesh=True)
    data = HeadData(
        nir,
        adapt.predict_all(adapt.predictor_from_artifact(network), nir, options),
        head_inputs(network, nir),
    )
    result, _, _ = adapt.cross_validate(data.predictions, nir, options)
    kinds = [False, True] if data.inputs.features is not None else [True]
    people = sorted(set(nir.subjects))
    total = len(kinds) * (len(people) * fits_of(len(people) - 1) + fits_of(len(people)))
    with ProgressBar("heads, people left out", total) as bar:
        step = _counter(bar.show)
        predicted, chosen = _cross_validated(data, kinds, options, step)
        recalibration = adapt.fit(data.predictions, nir, nir.indices_of({*people}), options)
        heads = tuple(
            fit_head(
                data,
                {*people},
                recalibration,
                (DEFAULT_OPTIONS, options),
                mesh=mesh,
                done=step,
            )
            for mesh in kinds
        )
    result["heads"] = compared(predicted, nir)
    for name, rows in chosen.items():
        result["heads"][name]["chosen"] = rows
    return result, Fitted(recalibration, heads), data


def square_network(model: str, options: adapt.AdaptOptions) -> tuple[Network, adapt.AdaptOptions]:
    """Return the expression network of a model folder, and options with the margin of its crops.

    Raises:
        ConfigError: its input is not square.
        ModelError: the model cannot be trusted.
    """
    network = float_network(model, "facial-expression")
    crop = network.manifest.input.crop
    assert crop is not None  # the manifest's validation guarantees it
    if network.info.width != network.info.height:
        raise ConfigError(f"--model {model}: its input is not square")
    return network, dataclasses.replace(options, margin=crop.margin)


def head_inputs(network: Network, nir: NirFaces) -> HeadInputs:
    """Return what heads read of the photographs."""
    alone = adapt.network_alone(network)
    logs, features = [], []
    for crops in (nir.crops, *nir.jittered):
        scores, affect, found = adapt.run_heads(network, crops)
        logs.append(adapt.log_probabilities(torch.from_numpy(alone.decode(scores, affect)[0])))
        if found is not None:
            features.append(torch.from_numpy(found))
    assert nir.coefficients is not None  # loaded with the mesh
    return HeadInputs(
        torch.stack(logs), torch.stack(features) if features else None, nir.coefficients
    )


def _counter(show: Callable[[float], None]) -> Step:
    """Return a function that shows how often it was called."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        show(count)

    return step


def _cross_validated(
    data: HeadData, kinds: list[bool], options: adapt.AdaptOptions, done: Step
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return each readout's predictions with people left out, and what each fit chose."""
    nir = data.nir
    people = set(nir.subjects)
    shape = data.inputs.logs.shape
    names = {False: "features", True: "mesh"}
    predicted: dict[str, Any] = {
        name: (np.zeros(shape), np.zeros((*shape[:2], 2)))
        for name in ("recalibration", *(names[mesh] for mesh in kinds))
    }
    chosen: dict[str, list[dict[str, Any]]] = {names[mesh]: [] for mesh in kinds}
    for person in sorted(people):
        others = people - {person}
        held = nir.indices_of({person}).numpy()
        recalibration = adapt.fit(data.predictions, nir, nir.indices_of(others), options)
        heads: tuple[FittedHead, ...] = ()
        readouts: list[tuple[str, tuple[FittedHead, ...], bool]] = [("recalibration", (), False)]
        for mesh in kinds:
            head = fit_head(
                data, others, recalibration, (DEFAULT_OPTIONS, options), mesh=mesh, done=done
            )
            heads = (*heads, head)
            readouts.append((names[mesh], heads, mesh))
            chosen[names[mesh]].append(
                {
                    "person": person,
                    "penalty": head.penalty,
                    "recalibrated": head.recalibrated,
                    "valence": head.valence is not None,
                    "arousal": head.arousal is not None,
                }
            )
        for name, used, mesh in readouts:
            shares, affect = decoded(data.inputs, recalibration, used, mesh=mesh)
            predicted[name][0][:, held], predicted[name][1][:, held] = (
                shares[:, held],
                affect[:, held],
            )
    return predicted, chosen


def write_folder(model: str, images: Path, out: Path, fitted: Fitted, data: HeadData) -> Manifest:
    """Write the model folder ``out``: the artifacts of ``model`` with what was fitted.

    Golden answers and the agreement of int8 are computed anew, the latter on those photographs that
    an export does not use for calibration; on all of them if they are few.

    Returns:
        The manifest. An artifact that does not agree with float any more has not ``passed``: the
        daemon never chooses it.

    Raises:
        ModelError: the model cannot be trusted, or the folder cannot be written.
    """
    folder = find_model(model)
    manifest = float_network(model, "facial-expression").manifest
    draft = manifest.model_copy(
        update={
            "name": out.name,
            "recalibration": fitted.recalibration,
            "heads": fitted.heads,
            "artifacts": tuple(
                each for each in manifest.artifacts if manifest.parity[each.file].passed
            ),
        }
    )
    contents = {each.file: read_artifact(folder, each) for each in draft.artifacts}
    first = next(each for each in draft.artifacts if each.precision == "fp32")
    reference = open_built(draft, first, contents)
    draft = draft.model_copy(update={"golden": golden_of(reference)})
    draft = Manifest.model_validate_json(draft.model_dump_json())  # copies are not validated
    reference = open_built(draft, first, contents)
    crops = [(each * 255).round().to(torch.uint8).numpy() for each in data.nir.crops[:, 0]]
    if len(crops) >= _SPLIT_MIN:
        detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
        size, crop = (manifest.input.width, manifest.input.height), manifest.input.crop
        assert crop is not None  # the manifest's validation guarantees it
        pictures = split_pictures(images).evaluate
        crops = list(face_crops(pictures, detector, size, crop.margin))

    def parity(network: Network) -> Parity:
        agreement = expression_agreement(reference, network, crops)
        if network.info.precision == "int8":
            return check_against_limits(agreement, LIMITS["facial-expression"], len(crops))
        before = manifest.parity[network.info.artifact]
        return before.model_copy(update={"metrics": {**before.metrics, **agreement}})

    return compare_and_write(
        out,
        draft,
        contents,
        parity=parity,
        findings=network_findings,
        allow_parity_loss=True,  # float serves as well, and auto does not choose the others
    )
