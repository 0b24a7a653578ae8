"""The command ``erase``: a session, from a daemon's journal or from a log, with proof."""

import select
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from edge.client.ask import ask
from edge.client.logs.erasing import erase_session
from edge.config import redact
from edge.descriptors import report_line
from edge.errors import EXIT_DONE, EXIT_FAILURE, ConfigError
from edge.protocol.requests import EraseRequest, error_line
from edge.tools.output import print_line

POLL_S: Final = 0.5


def erase_log(log: str, session: str) -> int:
    """Erase a session from a log; return 0 if nothing of it is left, else 1.

    Raises:
        ConfigError: no such log, or no such session in it.
        LogFileError: the log cannot be changed now.
    """
    report_line(f"erasing session {session} from {redact(log)}")
    erased = erase_session(log, session, report_line)
    _report(session, erased.messages, erased.outside, erased.codes)
    return _prove(erased.hits, erased.looked_for, erased.where)


def erase(service: str, session: str) -> int:
    """Erase an ended session from a daemon's journal; return 0 if nothing of it is left, else 1.

    Raises:
        ConfigError: ``session`` is no name or id.
        RequestRefused, ServiceUnavailable: as ``edge.client.ask.ask``.
    """
    try:
        request = EraseRequest(session=session)
    except ValidationError as error:
        raise ConfigError(error_line(error)) from error
    is_reported = False
    while (reply := ask(service, request))["state"] == "erasing":
        if not is_reported:
            is_reported = True
            report_line(f"erasing session {session}; the daemon reads the whole journal twice")
        select.select([], [], [], POLL_S)
    codes = reply["participants"]
    _report(session, reply["messages"], reply["outside"], codes)
    return _prove(reply["hits"], reply["looked_for"], "the bytes of journal and its tail")


def _report(session: str, messages: int, outside: int, codes: Sequence[str]) -> None:
    of_codes = f" and the codes {', '.join(codes)}" if codes else ""
    of_outside = f", {outside} of them outside of the session" if outside else ""
    print_line(f"erased session {session}{of_codes}: {messages} messages{of_outside}")


def _prove(hits: int, looked_for: int, where: str) -> int:
    print_line(
        f"{hits} hits of {looked_for} texts (its name, note, codes, and parts of its messages) in"
        f" {where}"
    )
    return EXIT_DONE if hits == 0 else EXIT_FAILURE
