"""``affect-edge check`` and ``affect-edge models``: is everything here what it should be?"""

import sys

from edge.config import Config
from edge.detect import open_detector
from edge.errors import EXIT_CONFIG, EXIT_DONE, ModelError
from edge.expression import open_expression
from edge.golden import detection_findings, expression_findings
from edge.models import Finding, bundled_models, find_model, model_rows, verify


def run_check(config: Config) -> int:
    """Print one line per finding on the configured models and the golden face; 0 or 78."""
    wrong = 0

    def book(subject: str, findings: list[Finding]) -> None:
        nonlocal wrong
        wrong += len(findings)
        for finding in findings:
            sys.stdout.write(f"WRONG  {finding}\n")
        if not findings:
            sys.stdout.write(f"ok     {subject}\n")

    book("configuration", [])
    for role, name in (
        ("detector", config.detector.model),
        ("expression", config.expression.model),
    ):
        try:
            book(f"{role} {name}: manifest, hashes, parity", verify(find_model(name)))
            if role == "detector":
                findings = detection_findings(open_detector(config.detector))
            else:
                findings = expression_findings(open_expression(config.expression))
            book(f"{role} {name}: golden face", findings)
        except ModelError as error:
            book(name, [Finding(role, str(error))])
    return EXIT_CONFIG if wrong else EXIT_DONE


def print_models() -> None:
    """Print a line for every bundled artifact, and one for its agreement with the original."""
    for folder in bundled_models():
        for row in model_rows(folder):
            sys.stdout.write(
                f"{row.model}/{row.artifact}  {row.task}, {row.precision}, {row.runtime},"
                f" {row.size_bytes / 1e6:.2f} MB, sha256 {row.sha256[:16]}...\n"
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
