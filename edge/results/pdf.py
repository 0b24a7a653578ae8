"""A report as PDF: by WeasyPrint, or by a Chromium that is there."""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError, LogFileError

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LIMIT_S: Final = 120
_LOGGERS: Final = ("weasyprint", "fontTools")


def pdf_writer() -> Callable[[str], bytes]:
    """Return a function that turns a page into a PDF.

    Raises:
        ConfigError: neither WeasyPrint nor a Chromium is there.
    """
    reason = "is not installed"
    try:
        with _quiet(*_LOGGERS):
            import weasyprint  # noqa: PLC0415

        return lambda page: _by_weasyprint(weasyprint, page)
    except ImportError:
        pass
    except OSError as error:  # it is installed, but Pango is not
        reason = f"does not load ({str(error).splitlines()[0]})"
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is not None:
        return lambda page: _by_browser(found, page)
    raise ConfigError(
        f"a report as PDF needs WeasyPrint, which {reason}, or Chromium, which is not there: pip"
        " install 'affect-edge[pdf]', or write a .html and print it"
    )


def _by_weasyprint(weasyprint: Any, page: str) -> bytes:
    fetcher = weasyprint.URLFetcher(allowed_protocols=("data",))  # a report refers to nothing else
    identity = hashlib.sha256(page.encode()).digest()[:16]
    with _quiet(*_LOGGERS) as errors:
        document = weasyprint.HTML(string=page, url_fetcher=fetcher)
        content: bytes = document.write_pdf(pdf_identifier=identity, pdf_variant="pdf/ua-1")
    if errors:
        raise LogFileError(f"WeasyPrint: {errors[0]}; write a .html and print it")
    return content


@contextmanager
def _quiet(*names: str) -> Iterator[list[str]]:
    """Keep the logs of libraries off standard error; return their errors.

    They report each property of a drawing that they apply elsewhere.
    """
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.propagate, logger.level) for logger in loggers]
    try:
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(logging.ERROR)
        yield errors
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)


def _by_browser(browser: str, page: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="affect-edge-report-") as name:
        folder = Path(name)
        source, to = folder / "report.html", folder / "report.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            *(browser, "--headless", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
            # its sandbox does not start as root; the page holds no script and no address
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *("--no-pdf-header-footer", f"--print-to-pdf={to}", source.as_uri()),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=_LIMIT_S, check=False, cwd=folder
            )
        except subprocess.TimeoutExpired as error:
            raise _no_pdf(browser, f"not within {_LIMIT_S} s") from error
        except OSError as error:
            raise _no_pdf(browser, f"it cannot be started: {error.strerror}") from error
        try:
            content = to.read_bytes()
        except OSError as error:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise _no_pdf(browser, " ".join(last) or f"it ended with {done.returncode}") from error
    # the time of printing is no part of the report
    return re.sub(rb"(/(?:Creation|Mod)Date \(D:)\d{14}", rb"\g<1>20000101000000", content)


def _no_pdf(browser: str, why: str) -> LogFileError:
    return LogFileError(f"{browser}: made no PDF: {why}; write a .html and print it")
