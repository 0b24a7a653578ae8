"""``affect-edge check`` and ``affect-edge models``: is everything here what it should be?

A line of ``check`` begins with ``ok``, ``WARN`` (works, but look at it) or ``WRONG`` (the daemon
would refuse to start, or could not work); only ``WRONG`` changes the exit code.
"""

import sys

import numpy as np

from edge.board import Board
from edge.clock import elapsed_ms, monotonic_ns
from edge.config import (
    Config,
    DemoSource,
    PicameraSource,
    SourceConfig,
    StreamSource,
    redact,
)
from edge.errors import EXIT_CONFIG, EXIT_DONE, ModelError
from edge.machine_check import machine_lines
from edge.vision.detect import open_detector
from edge.vision.expression import open_expression
from edge.vision.golden import detection_findings, expression_findings, translation_findings
from edge.vision.inference import (
    Finding,
    bundled_models,
    find_model,
    known_choice,
    model_rows,
    verify,
)
from edge.vision.translate import open_translator


def run_check(config: Config, board: Board | None = None) -> int:
    """Print a line per finding on configuration, machine, models and golden face; 0 or 78."""
    wrong = 0

    def book(subject: str, findings: list[Finding]) -> None:
        nonlocal wrong
        wrong += len(findings)
        for finding in findings:
            sys.stdout.write(f"WRONG  {finding}\n")
        if not findings:
            sys.stdout.write(f"ok     {subject}\n")

    device = config.device
    book(
        f"configuration: device {device.name}, purpose {device.purpose or 'demo'},"
        f" source {_described(config.source)}",
        [],
    )
    for number, (level, text) in enumerate(machine_lines(config, board or Board())):
        sys.stdout.write(f"{level:<6} {text}\n")
        if level == "WRONG":
            wrong += 1
            if number == 0:
                return EXIT_CONFIG  # loading a runtime would crash this process
    sys.stdout.flush()
    for role, asked, golden_face in (
        ("detector", config.detector, _detector_findings),
        ("translator", config.translator, _translator_findings),
        ("expression", config.expression, _expression_findings),
    ):
        name = asked.model
        if not name:
            continue  # no translator: faces go straight to the expression network
        try:
            book(f"{role} {name}: manifest, hashes, parity", verify(find_model(name)))
            book(f"{role} {name}: golden face", golden_face(config))
            if asked.artifact == "auto" and (told := _choice(name, asked.threads, config)):
                book(f"{role} {name}: {told}", [])
        except ModelError as error:
            book(name, [Finding(role, str(error))])
    return EXIT_CONFIG if wrong else EXIT_DONE


def _described(source: SourceConfig) -> str:
    """Return kind and place of a source, without what a camera's address may hold in secret."""
    match source:
        case PicameraSource():
            return f"picamera {source.camera}"
        case StreamSource():
            return f"stream {redact(source.url)}"
        case DemoSource():
            return "demo"
        case _:
            return f"{source.kind} {source.path}"


def _choice(name: str, threads: int, config: Config) -> str:
    """Return what ``auto`` chose, and by what; empty where there was nothing to measure."""
    choice = known_choice(find_model(name), threads=threads, state_dir=config.journal.state_dir)
    if choice is None:
        return ""
    times = ", ".join(f"{file} {took_ms:.2f} ms" for file, took_ms in choice.run_ms.items())
    when = f"measured {choice.measured}" if choice.measured else "measured earlier"
    return f"auto chose {choice.artifact} ({times}; {when})"


def _detector_findings(config: Config) -> list[Finding]:
    return detection_findings(open_detector(config.detector, config.journal.state_dir))


def _translator_findings(config: Config) -> list[Finding]:
    """Return what is wrong with the translator; one that outlasts the worker's limit is, too.

    A generator of full size takes seconds a face on a small board, and the hub replaces a worker
    that is at one picture for ``limits.inference_s``: it would do so at every face.
    """
    translator = open_translator(config.translator, config.journal.state_dir)
    findings = [] if translator is None else translation_findings(translator)
    if translator is None or findings:
        return findings
    face = np.zeros((translator.info.height, translator.info.width), np.uint8)
    begun_ns = monotonic_ns()
    translator.translate(face)
    took_s, limit_s = elapsed_ms(begun_ns) / 1e3, config.limits.inference_s
    if took_s <= limit_s:
        return []
    problem = f"{took_s:.3g} s a face on this board; limits.inference_s is {limit_s:g}"
    return [Finding("translator", f"{problem}: raise it, or export a smaller --size")]


def _expression_findings(config: Config) -> list[Finding]:
    return expression_findings(open_expression(config.expression, config.journal.state_dir))


def print_models() -> None:
    """Print a line for every bundled artifact, and one for its agreement with the original."""
    for folder in bundled_models():
        choice = known_choice(folder)
        for row in model_rows(folder):
            here = ", chosen here by auto" if choice and choice.artifact == row.artifact else ""
            sys.stdout.write(
                f"{row.model}/{row.artifact}  {row.task}, {row.precision}, {row.runtime},"
                f" {row.size_bytes / 1e6:.2f} MB, sha256 {row.sha256[:16]}...{here}\n"
                f"    parity: {row.parity}\n"
            )


def verify_models() -> int:
    """Print one line per bundled model and per finding; 0 or 78.

    Raises:
        ModelError: there is no bundled model at all.
    """
    code = EXIT_DONE
    folders = bundled_models()
    if not folders:
        raise ModelError("no bundled models found; install affect-edge again")
    for folder in folders:
        findings = verify(folder)
        for finding in findings:
            sys.stdout.write(f"WRONG  {finding}\n")
            code = EXIT_CONFIG
        if not findings:
            sys.stdout.write(f"ok     {folder.name}\n")
    return code
