"""The entry point: ``python -m exporters``."""

import sys

from edge.descriptors import open_standard_streams
from edge.stop_signals import end_at_once, exit_on_signal, on_stop_signals


def _main() -> None:
    open_standard_streams()
    on_stop_signals(end_at_once)
    from exporters.cli import main  # noqa: PLC0415 (after the handlers)

    on_stop_signals(exit_on_signal)
    sys.exit(main())


if __name__ == "__main__":
    _main()
