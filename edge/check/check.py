"""``affect-edge check``: verifies configuration, machine, source and networks before a start.

A line of ``check`` begins with ``ok``, ``WARN`` (works, but look at it) or ``WRONG`` (the daemon
would refuse to start, or could not work); only ``WRONG`` changes the exit code.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.board import Board
from edge.check.endpoint import clock_line, endpoint_lines
from edge.check.machine import Line, machine_lines
from edge.check.security import security_lines
from edge.check.source import source_line
from edge.check.zones import zones_lines
from edge.clock import elapsed_ms, monotonic_ns
from edge.config import Config, DemoSource, redact
from edge.descriptors import printable
from edge.errors import EXIT_CONFIG, EXIT_DONE, ModelError
from edge.vision.detect import open_detector
from edge.vision.expression import open_expression
from edge.vision.golden import (
    detection_findings,
    expression_findings,
    mesh_findings,
    translation_findings,
)
from edge.vision.inference import (
    Choice,
    Finding,
    find_model,
    saved_choice,
    saved_threads,
    verify,
)
from edge.vision.inference.opening import NetworkConfig
from edge.vision.inference.threads import MostThreads
from edge.vision.mesh import open_mesh
from edge.vision.picture_rules import rules_line
from edge.vision.regions import region_detector, require_square_input
from edge.vision.translate import open_translator


def run_check(config: Config, board: Board | None = None, *, file: Path | None = None) -> int:
    """Check configuration, machine, addresses, source and models; print a line each.

    Args:
        config: what ``run`` would use.
        board: the machine; this one when None.
        file: the configuration file, if there is one.

    Returns:
        0, or 78 if the daemon would not start or could not work.
    """
    wrong = 0

    def write_line(level: str, text: str) -> None:
        # an address that was given as a model or folder stays without its password, too, and a name
        # with a line feed in it makes no second line
        sys.stdout.write(f"{level:<6} {printable(redact(text))}\n")

    def report(subject: str, findings: list[Finding]) -> None:
        nonlocal wrong
        wrong += len(findings)
        for finding in findings:
            write_line("WRONG", str(finding))
        if not findings:
            write_line("ok", subject)

    device = config.device
    report(
        f"configuration: device {device.name}, purpose {device.purpose or 'demo'},"
        f" source {config.source.describe()}",
        [],
    )
    if file is not None and isinstance(config.source, DemoSource):
        write_line(
            "WARN",
            f"configuration {file}: the source is the bundled clip, as in the example file;"
            " choose a [source] of your own",
        )
    for number, (level, text) in enumerate(_setting_lines(config, board or Board())):
        write_line(level, text)
        if level == "WRONG":
            wrong += 1
            if number == 0:
                return EXIT_CONFIG  # loading a runtime would crash this process
    report(rules_line(config.source.kind, config.limits.stall_s), [])
    sys.stdout.flush()
    for role, section, golden_findings in (
        ("detector", config.detector, _detector_findings),
        ("region_detector", config.detector.region, _region_findings),
        ("translator", config.translator, _translator_findings),
        ("expression", config.expression, _expression_findings),
        ("mesh", config.mesh, _mesh_findings),
    ):
        name = section.model
        if not name or (role == "mesh" and not config.mesh.enabled):
            continue  # without a translator the expression network gets the crops themselves
        try:
            if role == "region_detector" and not _has_regions(config):
                other = f"{config.detector.model} has another decoder"
                report(f"{role} {name}: not used, {other}: it searches every frame in full", [])
                continue
            report(f"{role} {name}: manifest, hashes, parity", verify(find_model(name)))
            report(f"{role} {name}: golden face", golden_findings(config))
            for choice in _choices(section, config):
                report(f"{role} {name}: {choice}", [])
        except ModelError as error:
            report(name, [Finding(role, str(error))])
    return EXIT_CONFIG if wrong else EXIT_DONE


def _setting_lines(config: Config, board: Board) -> Iterator[Line]:
    yield from machine_lines(config, board)
    yield from endpoint_lines(config)
    yield from security_lines(config)
    yield clock_line()
    yield from zones_lines(config)
    if (line := source_line(config)) is not None:
        yield line


def _choices(network: NetworkConfig, config: Config) -> Iterator[str]:
    """Describe what ``auto`` chose for a network, and its measurements."""
    folder, state_dir = find_model(network.model), config.journal.state_dir
    if network.artifact == "auto":
        choice = saved_choice(folder, threads=network.threads, state_dir=state_dir)
        if choice is not None:
            yield f"auto chose {choice.chosen} ({_times(choice)} of processor time; {_day(choice)})"
    if network.threads == "auto":
        choice = saved_threads(
            folder, MostThreads.here(), artifact=network.artifact, state_dir=state_dir
        )
        if choice is not None:
            yield f"auto chose threads = {choice.chosen} ({_times(choice)}; {_day(choice)})"


def _times(choice: Choice) -> str:
    return ", ".join(f"{name} {took_ms:.2f} ms" for name, took_ms in choice.run_ms.items())


def _day(choice: Choice) -> str:
    return f"measured {choice.measured}" if choice.measured else "measured earlier"


def _detector_findings(config: Config) -> list[Finding]:
    network = open_detector(config.detector, config.journal.state_dir, MostThreads.here())
    return detection_findings(network)


def _mesh_findings(config: Config) -> list[Finding]:
    network = open_mesh(config.mesh, config.journal.state_dir, MostThreads.here())
    return [] if network is None else mesh_findings(network)


def _has_regions(config: Config) -> bool:
    """Return whether the two models search together; true if one cannot be read, as is reported."""
    try:
        return bool(region_detector(config.detector).model)
    except ModelError:
        return True


def _region_findings(config: Config) -> list[Finding]:
    region = open_detector(config.detector.region, config.journal.state_dir, MostThreads.here())
    require_square_input(region)
    return detection_findings(region, "region_detector")


def _translator_findings(config: Config) -> list[Finding]:
    """Return what is wrong with the translator; a run time over the worker's limit is, too.

    A full-size generator takes seconds per face on a small board. The hub replaces a worker that
    spends ``limits.inference_s`` on one picture, so it would replace the worker at every face.
    """
    translator = open_translator(config.translator, config.journal.state_dir, MostThreads.here())
    findings = [] if translator is None else translation_findings(translator)
    if translator is None or findings:
        return findings
    face = np.zeros((translator.info.height, translator.info.width), np.uint8)
    started_ns = monotonic_ns()
    translator.translate(face)
    took_s, limit_s = elapsed_ms(started_ns) / 1e3, config.limits.inference_s
    if took_s <= limit_s:
        return []
    problem = f"{took_s:.3g} s per face on this board; limits.inference_s is {limit_s:g}"
    return [Finding("translator", f"{problem}: raise it, or export a smaller --size")]


def _expression_findings(config: Config) -> list[Finding]:
    network = open_expression(config.expression, config.journal.state_dir, MostThreads.here())
    return expression_findings(network)
