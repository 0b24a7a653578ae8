"""Accuracy by person, with and without glasses, against guessing, and of changes.

Whoever looks at one figure over all pictures does not see that a network may fail on one person, or
be no better than naming the most frequent expression.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.metrics import Labels, Values, ccc, interval, macro_f1, rmse, top_k
from benchmarks.evaluation.neutral import changes_from_neutral
from edge.vocabulary import EXPRESSIONS

_COUNT = len(EXPRESSIONS)


def group_figures(
    probabilities: Values,
    affect: Values,
    truth: Labels,
    target: Values,
    subjects: Sequence[str],
    *,
    glasses: Sequence[bool | None],
) -> dict[str, Any]:
    """Return the figures of ``chance``, ``majority``, ``people``, ``glasses`` and ``change``.

    Every ``interval95`` is bootstrapped by person. ``over_chance`` and ``over_majority`` are the
    top-1 accuracy minus that of guessing evenly, and of always naming the most frequent expression
    of these pictures. ``change`` is the CCC of predicted and annotated changes from each person's
    first neutral picture, predicted as the daemon's ``relative``; null for one person or none. Of
    people and glasses, ``annotated`` and ``predicted`` are the shares of the expressions, because a
    group may be read as one of them too often.

    Args:
        probabilities: (n, 8).
        affect: (n, 2), predicted valence and arousal.
        truth: (n,), annotated expressions.
        target: (n, 2), annotated valence and arousal.
        subjects: the person on each picture.
        glasses: whether that person wears glasses there; None: not labelled.
    """
    names = np.asarray(subjects)
    worn = np.array([-1 if each is None else int(each) for each in glasses])

    def group(at: NDArray[np.intp]) -> dict[str, Any]:
        return _figures(probabilities[at], affect[at], truth[at], target[at])

    def compared(guess: Callable[[NDArray[np.intp]], float]) -> dict[str, Any]:
        def gain(at: NDArray[np.intp]) -> float:
            return top_k(probabilities[at], truth[at], 1) - guess(at)

        return {
            "value": gain(np.arange(len(truth))),
            "interval95": list(interval(gain, subjects)),
        }

    counts = np.bincount(truth, minlength=_COUNT)
    most = int(counts.argmax())
    by_glasses: dict[str, Any] = {"not_labelled": int((worn < 0).sum())}
    for name, value in (("with", 1), ("without", 0)):
        at = np.flatnonzero(worn == value)
        if len(at):
            people = names[at].tolist()
            by_glasses[name] = group(at) | {
                "people": len(set(people)),
                "top1_interval95": list(
                    interval(
                        lambda which, at=at: top_k(  # type: ignore[misc]
                            probabilities[at][which], truth[at][which], 1
                        ),
                        people,
                    )
                ),
            }
    return {
        "chance": 1 / _COUNT,
        "over_chance": compared(lambda at: 1 / _COUNT),
        "majority": {"expression": EXPRESSIONS[most], "share": float(counts[most] / len(truth))},
        "over_majority": compared(lambda at: float((truth[at] == most).mean())),
        "people": {name: group(np.flatnonzero(names == name)) for name in sorted(set(subjects))},
        "glasses": by_glasses,
        "change": _change(affect, truth, target, subjects),
    }


def _figures(
    probabilities: Values, affect: Values, truth: Labels, target: Values
) -> dict[str, Any]:
    predicted = probabilities.argmax(axis=1)
    most = int(np.bincount(predicted, minlength=_COUNT).argmax())

    def shares(labels: Labels) -> dict[str, float]:
        counts = np.bincount(labels, minlength=_COUNT) / len(labels)
        return dict(zip(EXPRESSIONS, counts.tolist(), strict=True))

    return {
        "n": len(truth),
        "top1": top_k(probabilities, truth, 1),
        "macro_f1": macro_f1(predicted, truth, _COUNT),
        "valence_rmse": rmse(affect[:, 0], target[:, 0]),
        "arousal_rmse": rmse(affect[:, 1], target[:, 1]),
        "most_predicted": {
            "expression": EXPRESSIONS[most],
            "share": float((predicted == most).mean()),
        },
        "annotated": shares(truth),
        "predicted": shares(predicted),
    }


def _change(
    affect: Values, truth: Labels, target: Values, subjects: Sequence[str]
) -> dict[str, Any] | None:
    at, predicted, annotated = changes_from_neutral(affect, target, truth.tolist(), subjects)
    people = [subjects[each] for each in at.tolist()]
    if len(set(people)) < 2:
        return None
    result: dict[str, Any] = {"n": len(at), "people": len(set(people))}
    for axis, name in enumerate(("valence", "arousal")):

        def agreement(which: NDArray[np.intp], axis: int = axis) -> float:
            return ccc(predicted[which, axis], annotated[which, axis])

        result[name] = {
            "value": agreement(np.arange(len(at))),
            "interval95": list(interval(agreement, people)),
        }
    return result
