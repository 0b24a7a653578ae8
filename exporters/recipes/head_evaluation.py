"""Evaluates read-outs of an expression network on the same photographs, people left out."""

from typing import Any, Final

import numpy as np
import torch.nn.functional as nnf
from numpy.typing import NDArray

from benchmarks.evaluation.groups import group_figures
from benchmarks.evaluation.metrics import differences, figures, interval, main_figures
from edge.vision.expression.readout import Readout
from edge.vision.inference.fitted_head import FittedHead
from edge.vision.inference.manifest import Recalibration
from edge.vocabulary import EXPRESSIONS
from exporters.recipes.fitted_heads import HeadInputs
from exporters.recipes.nirfaces import NirFaces

_COUNT: Final = len(EXPRESSIONS)
_AXES: Final = ("valence", "arousal")


def decoded(
    inputs: HeadInputs, recalibration: Recalibration, heads: tuple[FittedHead, ...], *, mesh: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the daemon's readout predicts: (crops, n, 8), and (crops, n, 2).

    A photograph without a mesh is predicted without, as the daemon does.
    """
    readout = Readout(np.arange(_COUNT), False, recalibration, heads=heads)
    shares, affect = [], []
    has_mesh = inputs.has_mesh
    for crop, logs in enumerate(inputs.logs):
        scores = nnf.softmax(logs, 1).float().numpy()
        features = None if inputs.features is None else inputs.features[crop].float().numpy()
        unused = np.zeros((len(scores), 2), np.float32)
        read = readout.inputs(scores, features)
        found, values = readout.decode(scores, unused, read)
        if mesh:
            assert read is not None  # there is a head
            known = np.nan_to_num(inputs.coefficients[crop].float().numpy())
            better, others = readout.decode_with_mesh(read, known, values)
            found, values = (
                np.where(has_mesh[:, None], one, other)
                for one, other in ((better, found), (others, values))
            )
        shares.append(found.astype(np.float64))
        affect.append(values.astype(np.float64))
    return np.array(shares), np.array(affect)


def compared(
    predicted: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], nir: NirFaces
) -> dict[str, Any]:
    """Return the figures of several readouts on the same photographs, people left out; by group.

    Args:
        predicted: by name, from ``decoded``; the gain of each over the first one is paired.
        nir: the photographs.
    """
    truth, target = np.asarray(nir.labels), np.asarray(nir.affect.double())
    result: dict[str, Any] = {}
    base = next(iter(predicted.values()))
    for name, (shares, affect) in predicted.items():
        arrays = (shares[0], affect[0], truth, target, nir.subjects)
        row = {**figures(*arrays), **group_figures(*arrays, glasses=nir.glasses)}
        jittered = [
            main_figures(one, other, truth, target)
            for one, other in zip(shares[1:], affect[1:], strict=True)
        ]
        row["jittered"] = {
            key: float(np.mean([each[key] for each in jittered])) for key in jittered[0]
        }
        row["neutral"] = _neutral_faces(affect[0], nir)
        row["mostly_neutral"] = _mostly_neutral(shares[0], affect[0], nir)
        if shares is not base[0]:
            first = (base[0][0], base[1][0])
            row["gain"] = differences(first, (shares[0], affect[0]), truth, target, nir.subjects)
        result[name] = row
    return result


def _neutral_faces(affect: NDArray[np.float64], nir: NirFaces) -> dict[str, Any]:
    """Return what photographs annotated as neutral are predicted as: mean, and 5 to 95 %."""
    neutral = np.flatnonzero(np.asarray(nir.labels) == EXPRESSIONS.index("neutral"))
    annotated = np.asarray(nir.affect.double())
    people = [nir.subjects[place] for place in neutral.tolist()]
    if len(set(people)) < 2:
        return {}
    result: dict[str, Any] = {"n": len(neutral)}
    for axis, name in enumerate(_AXES):
        values = affect[neutral, axis]

        def mean(which: NDArray[np.intp], values: NDArray[np.float64] = values) -> float:
            return float(values[which].mean())

        result[name] = {
            "annotated": float(annotated[neutral, axis].mean()),
            "predicted": float(values.mean()),
            "interval95": list(interval(mean, people)),
            "range90": np.percentile(values, [5, 95]).tolist(),
        }
    return result


_MOSTLY: Final = 0.7
"""Share of neutral faces, as in a chamber, to which photographs are reweighted."""


def _mostly_neutral(
    shares: NDArray[np.float64], affect: NDArray[np.float64], nir: NirFaces
) -> dict[str, float]:
    """Return accuracy and errors where so many faces are neutral, without and with that prior.

    Priors change the probabilities only: the errors of valence and arousal are those of both.
    """
    truth, target = np.asarray(nir.labels), np.asarray(nir.affect.double())
    place = EXPRESSIONS.index("neutral")
    is_neutral = truth == place
    if is_neutral.all() or not is_neutral.any():
        return {}
    priors = np.full(_COUNT, (1 - _MOSTLY) / (_COUNT - 1))
    priors[place] = _MOSTLY
    weights = np.where(is_neutral, _MOSTLY / is_neutral.sum(), (1 - _MOSTLY) / (~is_neutral).sum())

    def accuracy(values: NDArray[np.float64]) -> float:
        return float(weights @ (values.argmax(axis=1) == truth))

    errors = np.sqrt(weights @ (affect - target) ** 2).tolist()
    return {
        "top1": accuracy(shares),
        "top1_with_prior": accuracy(shares * priors),
        "valence_rmse": errors[0],
        "arousal_rmse": errors[1],
    }
