"""``benchmarks fps --compare REV``: this checkout against another one, interleaved in one run.

Each side is a process of its own with its own modules and models, and the same Python packages.
Both get the same frames, which lie in memory once, in turns of a few frames; which side begins
alternates. The ratio of the medians has an interval from resampled turns.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.board import RunWatch
from benchmarks.figures import WARM_UP, Spent, percentiles
from benchmarks.progress import ProgressLines
from edge.errors import ConfigError
from edge.vision.values import Frame

TURN: Final = 10
"""Frames that one side processes before the other one does."""

FRAMES: Final = 300
"""Measured frames of each side, unless the user names a number."""

FRAMES_MAX_BYTES: Final = 256 << 20
"""Of the distinct frames in memory: a longer recording is cut."""

NETWORK_STAGES: Final = ("detect", "translate", "classify")

_SIDE: Final = Path(__file__).with_name("compare_side.py")
_ROOT: Final = Path(__file__).resolve().parents[1]
_RESAMPLES: Final = 2000


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Give a folder with another revision of this repository; it is removed afterwards.

    Args:
        revision: anything that git resolves to a commit, or the folder of a checkout, which is used
            as it is.

    Raises:
        ConfigError: there is no such revision, or this is no git checkout.
    """
    folder = Path(revision)
    if (folder / "edge" / "__init__.py").is_file():
        yield folder.resolve()
        return
    commit = resolved(revision)
    with tempfile.TemporaryDirectory(prefix="affect-edge-compare-") as name:
        # not "git worktree": a killed run would leave its entry in the repository
        archive = Path(name) / "archive.tar"
        _git("archive", "--format=tar", f"--output={archive}", commit)
        root = Path(name) / "checkout"
        root.mkdir()
        with tarfile.open(archive) as packed:
            if hasattr(tarfile, "data_filter"):  # not in Python 3.11.2, that of Debian 12
                packed.extraction_filter = tarfile.data_filter
            packed.extractall(root)
        archive.unlink()
        yield root


def resolved(revision: str) -> str:
    """Return the commit of a revision, as 40 digits.

    Raises:
        ConfigError: there is none.
    """
    if not (_ROOT / ".git").exists():
        raise ConfigError(
            f"--compare {revision}: this is no git checkout; expected the folder of another one"
        )
    if revision.startswith("-"):
        raise ConfigError(f"--compare {revision}: expected a revision or the folder of a checkout")
    return _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", about=revision)


def _git(*arguments: str, about: str = "") -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"--compare {about}: git: {error.strerror}") from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or "no such revision, and no folder of a checkout"
        raise ConfigError(f"--compare {about}: {reason}")
    return done.stdout.strip()


class SideProcess:
    """The process of one side; close it with ``close``."""

    def __init__(self, root: Path, name: str, cache: Path, memory: int) -> None:
        """Start it.

        Args:
            root: the checkout.
            name: of the side, for messages.
            cache: an existing folder for its choices of artifacts and what it prints.
            memory: a descriptor that it inherits.
        """
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "XDG_CACHE_HOME": str(cache),
            "ORT_DISABLE_TELEMETRY": "1",  # old revisions do not
        }
        environment.pop("STATE_DIRECTORY", None)  # choices of artifacts are not the daemon's
        self._name = name
        self._output = cache / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SIDE)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                env=environment, text=True, pass_fds=(memory,),
            )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the answer.

        Raises:
            ConfigError: the side cannot do it, or ended.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process.wait()
            text = self._output.read_text("utf-8", "replace")
            lines = text.strip().splitlines() or ["it ended"]
            raise ConfigError(f"{self._name}: {lines[-1]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            hint = ""
            if re.match("ModuleNotFoundError|ImportError", answer["error"]):
                hint = (
                    "; expected a revision that has benchmarks/fps.py and needs no other packages"
                )
            raise ConfigError(f"{self._name}: {answer['error']}{hint}")
        return answer

    def close(self) -> None:
        """End the process, and wait for it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class SideTimes:
    """The times of one side, by turns."""

    def __init__(self) -> None:
        self.turns: list[list[Spent]] = []
        self._outside: list[list[float]] = []
        self._stages: dict[str, list[float]] = {}
        self._counts = dict.fromkeys(("faces", "predicted", "full_looks"), 0)

    def add(self, answer: dict[str, Any]) -> None:
        """Add the answer to a ``run`` request."""
        spent = [Spent(*each) for each in zip(answer["wall_ms"], answer["cpu_ms"], strict=True)]
        self.turns.append(spent)
        outside = []
        for frame, stages in zip(spent, answer["stage_cpu_ms"], strict=True):
            for name, value in stages.items():
                self._stages.setdefault(name, []).append(value)
            outside.append(frame.cpu_ms - sum(stages.get(name, 0.0) for name in NETWORK_STAGES))
        self._outside.append(outside)
        for name in self._counts:
            self._counts[name] += answer[name]

    def turns_of(self, what: str) -> list[NDArray[np.float64]]:
        """Return ``wall_ms``, ``cpu_ms`` or ``outside_cpu_ms`` of each frame, by turns."""
        if what == "outside_cpu_ms":
            return [np.array(turn) for turn in self._outside]
        return [np.array([getattr(each, what) for each in turn]) for turn in self.turns]

    def figures(self) -> dict[str, Any]:
        """Return percentiles, stages, and counts of one frame."""
        frames = sum(map(len, self.turns))
        spent = percentiles([each for turn in self.turns for each in turn])
        return {
            **(spent or {}),
            "outside_cpu_ms": float(np.median(np.concatenate(self.turns_of("outside_cpu_ms")))),
            "stage_cpu_ms": {name: float(np.median(each)) for name, each in self._stages.items()},
            "faces_per_frame": self._counts["faces"] / frames,
            "predicted_per_frame": self._counts["predicted"] / frames,
            "full_looks_per_1000": 1000 * self._counts["full_looks"] / frames,
        }


def ratio(
    other: Sequence[NDArray[np.float64]],
    ours: Sequence[NDArray[np.float64]],
    figure: Callable[..., Any] = np.median,
) -> dict[str, float]:
    """Return how many times as long the other side takes, with an interval.

    The interval (95 %) comes from turns resampled with replacement, those of both sides together:
    frames of a turn are not independent, and what disturbs the machine disturbs both.

    Args:
        other: times of the other side, an array for each turn.
        ours: times of this side, of the same frames.
        figure: the median, or the mean.
    """
    random = np.random.default_rng(1)
    pairs = list(zip(other, ours, strict=True))
    resampled = []
    for _ in range(_RESAMPLES if len(pairs) > 1 else 0):
        chosen = [pairs[place] for place in random.integers(0, len(pairs), len(pairs))]
        resampled.append(_quotient(chosen, figure))
    value = _quotient(pairs, figure)
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist() if resampled else (value, value)
    return {"value": value, "low": low, "high": high}


def _quotient(
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], figure: Callable[..., Any]
) -> float:
    theirs, ours = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return float(figure(theirs) / figure(ours))


def compare(
    revision: str,
    pictures: Sequence[Frame],
    *,
    frames: int | None,
    settings: Sequence[str],
    other_settings: Sequence[str],
    config: Path | None,
    artifacts: Sequence[str],
    watch: RunWatch,
) -> dict[str, Any]:
    """Measure this checkout and another one in turns; return the figures of both, and ratios.

    Args:
        revision: of the other side; see ``checkout``.
        pictures: distinct frames of one size, repeated as needed.
        frames: to measure; None: ``FRAMES``. Rounded up to whole turns.
        settings: ``--set`` of both sides.
        other_settings: further ones of the other side.
        config: a configuration file of both sides.
        artifacts: settings that name this side's artifacts, for a side that has them too.
        watch: looks at the machine meanwhile.

    Raises:
        ConfigError: there is no such revision, or a side cannot run.
    """
    with ExitStack() as opened:
        root = opened.enter_context(checkout(revision))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="affect-edge-")))
        turns = -(-(frames or FRAMES) // TURN)
        kept = pictures[: max(1, FRAMES_MAX_BYTES // pictures[0].luma.nbytes)][: turns * TURN]
        memory = opened.enter_context(_in_memory(kept))
        sides: dict[str, tuple[SideProcess, Sequence[str]]] = {}
        for name, place, title, own in (
            ("this", _ROOT, "this checkout", settings),
            ("other", root, f"--compare {revision}", [*settings, *other_settings]),
        ):
            (folder / name).mkdir()
            process = SideProcess(place, title, folder / name, memory)
            opened.callback(process.close)
            sides[name] = (process, own)
        opens = {
            name: process.ask({"open": {
                "settings": list(own), "artifacts": list(artifacts),
                "config": config and str(config.resolve()), "frames": f"/proc/self/fd/{memory}",
                "rate_hz": _rate_hz(kept),
            }})
            for name, (process, own) in sides.items()
        }  # fmt: skip
        times, lines = {name: SideTimes() for name in sides}, ProgressLines("fps")
        for process, _ in sides.values():
            process.ask({"run": WARM_UP})
        for turn in range(turns):
            watch.sample()
            lines.show(f"{turn} of {turns} turns measured")
            for name in ("this", "other") if turn % 2 == 0 else ("other", "this"):
                times[name].add(sides[name][0].ask({"run": TURN}))

    def of(what: str, figure: Callable[..., Any] = np.median) -> dict[str, float]:
        return ratio(times["other"].turns_of(what), times["this"].turns_of(what), figure)

    return {
        "mode": "compare",
        "revision": revision,
        "frames": turns * TURN,
        "distinct_frames": len(kept),
        "size": [pictures[0].width, pictures[0].height],
        "ratio_of_medians": {
            "wall": of("wall_ms"),
            "cpu": of("cpu_ms"),
            "outside_cpu": of("outside_cpu_ms"),
        },
        "ratio_of_means": {"wall": of("wall_ms", np.mean), "cpu": of("cpu_ms", np.mean)},
        **{name: {**opens[name], **times[name].figures()} for name in sides},
    }


def _rate_hz(pictures: Sequence[Frame]) -> float:
    span_ns = pictures[-1].sensor_ns - pictures[0].sensor_ns
    return 1e9 * (len(pictures) - 1) / span_ns if span_ns > 0 else 25.0


@contextmanager
def _in_memory(pictures: Sequence[Frame]) -> Iterator[int]:
    """Give a file that exists in memory only, with the pictures as a NumPy array.

    A recording shows people: its frames must not become a file, not even a temporary one.
    """
    descriptor = os.memfd_create("frames")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            np.save(file, np.stack([frame.luma for frame in pictures]))
        yield descriptor
    finally:
        os.close(descriptor)
