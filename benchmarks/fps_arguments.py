"""The command line of ``benchmarks fps``."""

import argparse
import re
from typing import Any

from benchmarks.arguments import PURPOSE, add_configuration, add_result_file
from benchmarks.fps import Task, run_fps
from benchmarks.scene import MOTIONS
from edge.config import Config, load_config, source_settings
from edge.errors import ConfigError


def add_fps(fps: argparse.ArgumentParser) -> None:
    """Add the options of ``fps``."""
    fps.add_argument("--source", help="a video, a folder of pictures, or demo (the default)")
    fps.add_argument("--faces", type=int, metavar="N", help="instead: N faces, moved along paths")
    fps.add_argument("--motion", choices=MOTIONS, help="how they move: pan")
    fps.add_argument(
        "--size", metavar="WxH", help="of their frames (1280x720), or of those in memory"
    )
    fps.add_argument("--frames", type=int, metavar="N", help="frames to measure; all by default")
    fps.add_argument("--in-memory", action="store_true", help="decode before measuring")
    fps.add_argument("--mode", choices=("pipeline", "daemon"), default="pipeline")
    fps.add_argument("--paced", action="store_true", help="the daemon at the recording's rate")
    fps.add_argument("--baseline", action="store_true", help="also measure the earlier approach")
    fps.add_argument(
        "--baseline-threads", type=int, metavar="N", help="its threads; one for every core"
    )
    fps.add_argument(
        "--compare", metavar="REV", help="against another revision, or the folder of a checkout"
    )
    fps.add_argument(
        "--compare-set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="a setting of the other side only",
    )  # fmt: skip
    add_result_file(fps)
    add_configuration(fps)


def fps_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run ``fps`` with parsed arguments.

    Raises:
        ConfigError: an argument is wrong.
        ModelError: a configured network cannot be trusted.
    """
    has_scene = arguments.faces is not None or arguments.motion is not None
    if has_scene and (arguments.source or arguments.in_memory):
        raise ConfigError(
            "--faces, --motion: make the frames, in memory; expected neither --source nor"
            " --in-memory with them"
        )
    config, daemon = _configuration(arguments, has_scene=has_scene)
    return run_fps(
        config,
        Task(
            frames=arguments.frames,
            in_memory=arguments.in_memory,
            mode=arguments.mode,
            paced=arguments.paced,
            baseline=arguments.baseline,
            baseline_threads=arguments.baseline_threads,
            faces=arguments.faces,
            motion=arguments.motion,
            size=_size(arguments.size),
            daemon_arguments=daemon,
            revision=arguments.compare,
            settings=(PURPOSE, *arguments.set),
            other_settings=tuple(arguments.compare_set),
            config_file=arguments.config,
        ),
    )


def _configuration(
    arguments: argparse.Namespace, *, has_scene: bool
) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration, and the same as arguments of ``affect-edge run``."""
    settings = [PURPOSE, *arguments.set]
    named = arguments.source or (None if arguments.config and not has_scene else "demo")
    config = load_config(
        arguments.config,
        settings=settings,
        overrides={"source": source_settings(named)} if named else {},
    )
    daemon = ["--source", named] if named and not has_scene else []
    if arguments.config:
        daemon += ["-c", str(arguments.config)]
    for setting in settings:
        daemon += ["--set", setting]
    return config, tuple(daemon)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise ConfigError(f"--size {text}: expected WIDTHxHEIGHT, such as 1280x720")
    return int(found[1]), int(found[2])
