"""Every error that affect-edge raises on purpose, and its consequence.

::

    AffectEdgeError
      ConfigError            -> exit 78: the configuration or an input named by it is wrong
      ModelError             -> exit 78: a model folder, manifest, hash or artifact is wrong
      SourceError
        SourceUnavailable    -> live: reported as absent, tried again
        SourceStalled        -> live: reopened; no new picture within the time limit
        FrameRefused         -> counted and reported; the next picture is read
        FrameNotReady        -> read again: a slow camera's next picture is not due yet
      EndOfStream            -> exit 0: a finite source has been read to its end
      InferenceError         -> the frame is counted and skipped; many in a row -> a new worker
      LogFileError           -> exit 1: the log cannot be written any further
        LogUnavailable       -> tried again: the disk is full, or the database does not answer
      BrokerUnavailable      -> tried again: the MQTT broker cannot be reached, or is full
      StreamUnavailable      -> exit 1: liblsl makes no stream
      ServiceUnavailable     -> exit 1: no daemon answers a request
      RequestRefused         -> exit 78: the daemon refuses a request; the text says why

Foreign exceptions are translated once, in the package where they enter, with
``raise X(...) from exc``. The text of each gives the value received, what was expected, and the
remedy, in one line. Anything that is not an ``AffectEdgeError`` is a bug: traceback, exit 1.
"""

from typing import Final, Literal

EXIT_DONE: Final = 0
"""Done, or asked to stop."""

EXIT_FAILURE: Final = 1
"""A failure at run time: the service manager may try again."""

EXIT_REBOOT: Final = 75
"""A driver holds a process that cannot be killed: only a reboot helps."""

EXIT_CONFIG: Final = 78
"""A configuration, model, key or argument is wrong: trying again cannot help."""

RefusalCode = Literal[
    "unknown_request",
    "bad_request",
    "read_only",
    "busy",
    "cursor_ahead",
    "name_taken",
    "preview_off",
    "preview_open",
    "preview_closed",
    "no_picture",
    "not_possible",
    "failed",
]
"""Why a daemon refuses a request, for programs; docs/messages.md says what to do."""


class AffectEdgeError(Exception):
    """The base class; only the command line and the worker's main function catch it.

    ``exit_code`` is the exit code of a process that ends with this error.
    """

    exit_code: int = EXIT_FAILURE


class ConfigError(AffectEdgeError):
    """The configuration, or an input that it names, is invalid."""

    exit_code = EXIT_CONFIG


class ModelError(AffectEdgeError):
    """A model folder is damaged, or does not fit the role it is configured for."""

    exit_code = EXIT_CONFIG


class SourceError(AffectEdgeError):
    """A source of frames failed."""


class SourceUnavailable(SourceError):
    """A live source cannot be opened now; it may come back.

    ``new_process`` is True if this process may not find the source even when it is back, because a
    library caches the devices that it found first.
    """

    def __init__(self, text: str, *, new_process: bool = False) -> None:
        super().__init__(text)
        self.new_process = new_process


class SourceStalled(SourceError):
    """A live source was open and stopped delivering new pictures."""


class FrameRefused(SourceError):
    """One picture of a source, or ``count`` of them, cannot be read; later ones may be."""

    def __init__(self, text: str, *, count: int = 1) -> None:
        super().__init__(text)
        self.count = count


class FrameNotReady(SourceError):
    """A live source has no new picture yet, and is not stalled: read again."""


class EndOfStream(AffectEdgeError):
    """A finite source has delivered its last frame."""


class InferenceError(AffectEdgeError):
    """A network failed on one input, or gave values that are not finite."""


class LogFileError(AffectEdgeError):
    """A log cannot be written: the disk is full or fails."""


class LogUnavailable(LogFileError):
    """A log cannot be written now, but may be later; no message is lost by waiting."""


class BrokerUnavailable(AffectEdgeError):
    """An MQTT broker takes no messages now; none is lost by waiting."""


class StreamUnavailable(AffectEdgeError):
    """The library of the Lab Streaming Layer makes no stream."""


class ServiceUnavailable(AffectEdgeError):
    """No daemon answers requests at the address, or not in time."""


class RequestRefused(AffectEdgeError):
    """The daemon refuses a request.

    ``code`` is the reason for programs, which do not read the text; None if a daemon gave none or
    one that this version does not know.
    """

    def __init__(self, text: str, *, code: RefusalCode | None = "not_possible") -> None:
        super().__init__(text)
        self.code = code
        # the same request may succeed later; all others have to be changed
        self.exit_code = EXIT_FAILURE if code in ("busy", "failed") else EXIT_CONFIG
