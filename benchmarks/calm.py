"""``python -m benchmarks calm``: labels of a face that holds still, and the delay of a change.

Each photograph is shown for ten seconds under noise, drift, small turns and changes of size
(``evaluation.drift``): one label is right, every further one is the network's doubt. Then two
photographs of one person follow each other: how long does a real change take to be shown?
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import measurement_conditions
from benchmarks.evaluation.annotated import annotated_faces, read_labels
from benchmarks.evaluation.drift import RATE_HZ, Drift
from benchmarks.evaluation.metrics import interval
from benchmarks.show_fps import show_conditions
from edge.clock import Stopwatch
from edge.config import Config, DemoSource
from edge.errors import ConfigError
from edge.vision.detect import open_detector
from edge.vision.pipeline import Pipeline
from edge.vision.sources import open_source
from edge.vision.values import Box, Frame, Luma
from edge.vocabulary import EXPRESSIONS

SECONDS: Final = 10.0
"""For how long a photograph is shown."""

CUT_S: Final = (4.0, 6.0)
"""For how long the first and the second photograph of a pair are shown."""

_SETTLED_S: Final = 1.0  # at the end of the second one: whose label is the one to wait for


@dataclass(frozen=True, slots=True)
class _Shown:
    """A photograph with its largest face; ``expression``: as annotated, None if it is not."""

    name: str
    subject: str
    expression: str | None
    luma: Luma
    box: Box


@dataclass(frozen=True, slots=True)
class _Trace:
    """The labels of one face, picture by picture; None where it was not read."""

    labels: Sequence[str | None]  # of each picture alone
    stable: Sequence[str | None]

    @property
    def is_read(self) -> bool:
        """Whether the face was read in any picture."""
        return any(each is not None for each in self.stable)


def add_calm(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``calm``."""
    command.add_argument("--images", type=Path, metavar="DIR", help="photographs; else the clip")
    command.add_argument("--labels", type=Path, metavar="CSV", help="of the photographs")
    command.add_argument("--seeds", type=int, default=1, metavar="N", help="drifts of each; 1")
    add_result_file(command)
    add_configuration(command)


def calm_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_calm`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_calm``.
    """
    if (arguments.images is None) != (arguments.labels is None):
        raise ConfigError("--images and --labels: expected both, or neither of them")
    if not 1 <= arguments.seeds <= 1000:
        raise ConfigError(f"--seeds {arguments.seeds}: expected 1 to 1000")
    config = configuration_of(arguments)
    with Console(stderr=True).status("calm") as status:
        return run_calm(
            config,
            images=arguments.images,
            labels=arguments.labels,
            seeds=arguments.seeds,
            progress=lambda name: status.update(f"calm: {name}"),
        )


def run_calm(
    config: Config,
    *,
    images: Path | None,
    labels: Path | None,
    seeds: int,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return how many stable labels a still face shows, and how late a change is shown.

    Args:
        config: the networks and the smoothing.
        images: folder of the photographs; None: the first picture of the demo clip.
        labels: CSV file of their annotations, as for ``accuracy``.
        seeds: each photograph is shown so many times, each time with another drift.
        progress: called with a line before each photograph.

    Raises:
        ConfigError: labels or photographs cannot be used, or none shows a face.
        ModelError: a network cannot be trusted.
        InferenceError: a network fails.
    """
    conditions = measurement_conditions(config)
    pipeline = Pipeline.open(config)
    still: list[tuple[_Shown, _Trace]] = []
    lags: list[tuple[str, float]] = []
    before: _Shown | None = None
    for shown in _photographs(config, images, labels):
        progress(shown.name)
        count = round(SECONDS * RATE_HZ)
        for seed in range(seeds):
            pictures = Drift(seed).pictures(shown.luma, shown.box, 0, count)
            still.append((shown, _trace(pipeline.renewed(config), pictures)))
        if before is not None and before.subject == shown.subject:
            lag_s = _lag_s(pipeline.renewed(config), before, shown)
            if lag_s is not None:
                lags.append((shown.subject, lag_s))
        before = shown
    still = [(shown, trace) for shown, trace in still if trace.is_read]
    if not still:
        raise ConfigError(f"--images {images}: no photograph shows a face that can be read")
    counts = np.array([_runs(trace.stable) for _, trace in still])
    subjects = [shown.subject for shown, _ in still]
    figures: dict[str, Any] = {
        "photographs": len({shown.name for shown, _ in still}),
        "people": len(set(subjects)),
        "seeds": seeds,
        "seconds": SECONDS,
        "rate_hz": RATE_HZ,
        "stable_labels": _with_interval(counts, subjects),
        "stable_labels_max": int(counts.max()),
        "unchanged": float(np.mean(counts == 1)),
        "labels_of_each_picture": float(np.mean([_runs(trace.labels) for _, trace in still])),
        "lag_s": None,
    }
    if labels is not None:
        for name, which in (("top1_of_each_picture", "labels"), ("top1_stable", "stable")):
            hits = np.array([_share(getattr(trace, which), shown) for shown, trace in still])
            figures[name] = _with_interval(hits, subjects)
        figures["by_person"] = _by_person(still)
    if lags:
        times, people = np.array([each for _, each in lags]), [subject for subject, _ in lags]
        p50, p90 = np.percentile(times, (50, 90)).tolist()
        low, high = interval(lambda at: float(np.median(times[at])), people)
        figures["lag_s"] = {
            "changes": len(lags), "median": p50, "interval95": [low, high], "p90": p90,
        }  # fmt: skip
    return {**figures, **conditions}


def show_calm(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``calm``."""
    table = Table("figure", "value", "95 %", title=result["command"], title_justify="left")
    for name, title in (
        ("stable_labels", "stable labels in 10 s"),
        ("top1_stable", "top1 of the stable label"),
        ("top1_of_each_picture", "top1 of each picture"),
    ):
        if name in result:
            low, high = result[name]["interval95"]
            table.add_row(title, f"{result[name]['mean']:.3f}", f"{low:.3f} .. {high:.3f}")
    table.add_row("the same label all the time", f"{result['unchanged']:.3f}", "")
    table.add_row(
        "labels of single pictures in 10 s", f"{result['labels_of_each_picture']:.1f}", ""
    )
    if lag := result["lag_s"]:
        low, high = lag["interval95"]
        table.add_row(
            "seconds to a new label, median", f"{lag['median']:.2f}", f"{low:.2f} .. {high:.2f}"
        )
        table.add_row(f"the same, 90 % of {lag['changes']} changes", f"{lag['p90']:.2f}", "")
    console.print(table)
    for row in result.get("by_person", ()):
        shares = sorted(row["shown"].items(), key=lambda each: -each[1])
        shown = ", ".join(f"{name} {share:.0%}" for name, share in shares[:3])
        console.print(
            f"{row['subject']}: {row['photographs']} photographs, {row['stable_labels']:.2f}"
            f" labels, top1 {row['top1']:.2f}; shown: {shown}",
            highlight=False,
        )
    console.print(
        f"{result['photographs']} photographs of {result['people']} people, {result['seeds']}"
        " drifts of each; intervals: bootstrapped by person",
        highlight=False,
    )
    show_conditions(result, console)


def _photographs(config: Config, images: Path | None, labels: Path | None) -> Iterator[_Shown]:
    detector = open_detector(config.detector)
    if images is None or labels is None:
        with open_source(DemoSource(), small_size=detector.input_size) as source:
            frame = source.read()
        assert frame is not None
        found = detector.detect(frame, Stopwatch())
        yield _Shown("demo clip", "demo clip", None, frame.luma, found[0].box)
        return
    for row, luma, face in annotated_faces(images, read_labels(labels), detector):
        if face is not None:
            yield _Shown(row.file, row.subject, row.expression, luma, face.box)


def _trace(pipeline: Pipeline, pictures: Iterator[Luma]) -> _Trace:
    """Return the labels of the largest face of each picture."""
    labels: list[str | None] = []
    stable: list[str | None] = []
    for index, luma in enumerate(pictures):
        frame = Frame(luma, index, index * 1_000_000_000 // RATE_HZ, "media", 0)
        faces = pipeline.step(frame).faces
        face = max(faces, key=lambda each: each.track.detection.box.height, default=None)
        if face is None or face.prediction is None or face.smoothed is None:
            labels.append(None)
            stable.append(None)
        else:
            labels.append(EXPRESSIONS[int(face.prediction.probabilities.argmax())])
            stable.append(face.smoothed.stable_label)
    return _Trace(labels, stable)


def _lag_s(pipeline: Pipeline, before: _Shown, after: _Shown) -> float | None:
    """Return how long after a cut the label of the second photograph is shown; None: no change."""
    first, second = (round(seconds * RATE_HZ) for seconds in CUT_S)
    drift = Drift(0)
    trace = _trace(
        pipeline,
        itertools.chain(
            drift.pictures(before.luma, before.box, 0, first),
            drift.pictures(after.luma, after.box, first, second),
        ),
    )
    old, new = trace.stable[first - 1], trace.stable[-1]
    settled = trace.stable[-round(_SETTLED_S * RATE_HZ) :]
    if old is None or new is None or old == new or set(settled) != {new}:
        return None
    last = max(place for place, label in enumerate(trace.stable) if label != new)
    return (last + 1 - first) / RATE_HZ


def _runs(labels: Sequence[str | None]) -> int:
    """Return how many labels were shown one after the other; the same one may come again."""
    return len(list(itertools.groupby(each for each in labels if each is not None)))


def _share(labels: Sequence[str | None], shown: _Shown) -> float:
    read = [each for each in labels if each is not None]
    return sum(each == shown.expression for each in read) / len(read)


def _with_interval(values: NDArray[Any], subjects: Sequence[str]) -> dict[str, Any]:
    low, high = interval(lambda at: float(values[at].mean()), subjects)
    return {"mean": float(values.mean()), "interval95": [low, high]}


def _by_person(still: Sequence[tuple[_Shown, _Trace]]) -> list[dict[str, Any]]:
    rows = []
    for subject in sorted({shown.subject for shown, _ in still}):
        own = [(shown, trace) for shown, trace in still if shown.subject == subject]
        labels = Counter(label for _, trace in own for label in trace.stable if label)
        rows.append(
            {
                "subject": subject,
                "photographs": len({shown.name for shown, _ in own}),
                "stable_labels": float(np.mean([_runs(trace.stable) for _, trace in own])),
                "top1": float(np.mean([_share(trace.stable, shown) for shown, trace in own])),
                "shown": {name: n / labels.total() for name, n in labels.most_common()},
            }
        )
    return rows
