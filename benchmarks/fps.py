"""``python -m benchmarks fps``: speed, time per stage, and a baseline to compare with."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.board import RunWatch, artifact_settings, measurement_conditions
from benchmarks.compare import compare
from benchmarks.daemon import measure_daemon
from benchmarks.figures import WARM_UP
from benchmarks.pipeline import SCENE_FRAMES, measure_pipeline, open_recording
from benchmarks.scene import SIZES, FoundFaces, Scene, make_scene, write_video
from edge.config import Config
from edge.errors import ConfigError
from edge.validation import file_errors
from edge.vision.inference.threads import ONE_THREAD, MostThreads

SCENE_SIZE: Final = (1280, 720)


@dataclass(frozen=True)
class Task:
    """What ``run_fps`` measures.

    Attributes:
        frames: frames to measure; None: all of the source, or ``SCENE_FRAMES`` of a scene.
        in_memory: decode before measuring.
        mode: ``pipeline`` or ``daemon``.
        paced: the daemon reads at the rate of the recording, as from a camera.
        baseline: also measure the earlier approach.
        baseline_threads: of its networks; None: one for every core.
        faces: number of faces of a scene; None with ``motion`` None: the configured source.
        motion: of these faces.
        size: of a scene, or of frames in memory; None: 1280x720, or as they are.
        daemon_arguments: of ``affect-edge run``.
        revision: measure this checkout and another one in turns; see ``compare``.
        settings: ``--set`` of the command line, with ``config_file`` for both checkouts.
        other_settings: further ones of the other checkout.
        config_file: ``-c`` of the command line.
    """

    frames: int | None = None
    in_memory: bool = False
    mode: str = "pipeline"
    paced: bool = False
    baseline: bool = False
    baseline_threads: int | None = None
    faces: int | None = None
    motion: str | None = None
    size: tuple[int, int] | None = None
    daemon_arguments: tuple[str, ...] = ()
    revision: str | None = None
    settings: tuple[str, ...] = ()
    other_settings: tuple[str, ...] = ()
    config_file: Path | None = None

    def scene(self) -> Scene | None:
        """Return the scene, if the task names one.

        Raises:
            ConfigError: see ``make_scene``.
        """
        if self.faces is None and self.motion is None:
            return None
        return make_scene(
            1 if self.faces is None else self.faces, self.motion or "pan", self.size or SCENE_SIZE
        )

    def check(self) -> None:
        """Raise a one-line error if options contradict one another.

        Raises:
            ConfigError: they do.
        """
        has_scene = self.faces is not None or self.motion is not None
        if self.mode == "daemon" and (self.in_memory or self.baseline):
            raise ConfigError("--mode daemon: goes neither with --in-memory nor with --baseline")
        if self.paced and self.mode != "daemon":
            raise ConfigError("--paced: expected --mode daemon with it")
        if self.size and not all(SIZES[0] <= side <= SIZES[1] for side in self.size):
            width, height = self.size
            raise ConfigError(
                f"--size {width}x{height}: expected sides of {SIZES[0]} to {SIZES[1]}"
            )
        if self.size is not None and not has_scene and not self.in_memory:
            raise ConfigError("--size: expected --in-memory, --faces or --motion with it")
        if self.revision is None and self.other_settings:
            raise ConfigError("--compare-set: expected --compare with it")
        if self.revision is not None and (self.mode == "daemon" or self.baseline):
            raise ConfigError("--compare: goes neither with --mode daemon nor with --baseline")
        if self.revision is not None and not (self.in_memory or has_scene):
            raise ConfigError("--compare: expected --in-memory, --faces or --motion with it")
        if self.baseline_threads is not None and not 1 <= self.baseline_threads <= 64:
            raise ConfigError(f"--baseline-threads {self.baseline_threads}: expected 1 to 64")
        if self.frames is not None and self.frames < 1:
            raise ConfigError(f"--frames {self.frames}: expected 1 or more")


def run_fps(config: Config, task: Task) -> dict[str, Any]:
    """Return the measured figures, the measurement conditions, and what makes them invalid.

    Raises:
        ConfigError: the options contradict one another, or the source is not finite.
        ModelError: a configured network cannot be trusted.
    """
    task.check()
    scene = task.scene()
    # only a daemon whose frames come at their own pace chooses them
    most_threads = MostThreads.here() if task.paced else ONE_THREAD
    conditions = measurement_conditions(config, most_threads)
    watch = RunWatch()
    if task.revision is not None:
        result = _compare(task.revision, config, task, scene, watch)
    elif task.mode == "daemon":
        result = _measure_daemon(task, scene, watch)
    else:
        recording = open_recording(
            config, task.frames, in_memory=task.in_memory, scene=scene, size=task.size
        )
        result = measure_pipeline(
            config,
            recording,
            baseline=task.baseline,
            baseline_threads=task.baseline_threads,
            watch=watch,
        )
    return {"benchmark": "fps", **result, **conditions, **watch.facts()}


def _compare(
    revision: str, config: Config, task: Task, scene: Scene | None, watch: RunWatch
) -> dict[str, Any]:
    if scene is None:
        # as many as a recording has; they are repeated in both checkouts
        recording = open_recording(config, task.frames, in_memory=True, size=task.size)
        pictures = list(recording.frames)[:-WARM_UP]
    else:
        pictures = list(scene.frames)
    return compare(
        revision,
        pictures,
        frames=task.frames,
        settings=task.settings,
        other_settings=task.other_settings,
        config=task.config_file,
        artifacts=artifact_settings(config),
        watch=watch,
    )


def _measure_daemon(task: Task, scene: Scene | None, watch: RunWatch) -> dict[str, Any]:
    arguments = list(task.daemon_arguments)
    if scene is None:
        return measure_daemon(arguments, task.frames, watch, paced=task.paced)
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        path = str(Path(folder) / "scene.avi")
        frames = task.frames or SCENE_FRAMES
        write_video(scene, path, math.ceil((frames + WARM_UP + 1) / len(scene.frames)))
        arguments += ["--source", path]
        return measure_daemon(arguments, frames, watch, paced=task.paced, found=FoundFaces(scene))


def require_writable(path: Path) -> None:
    """Raise ``ConfigError`` if no result can be written to ``path``: before a run of minutes."""
    with file_errors("--json", path, kind=ConfigError), path.open("a", encoding="utf-8"):
        pass


def save(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    with file_errors("--json", path, kind=ConfigError):
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
