"""``python -m tests.faults.logger_power_cuts NAME CUTS NOTED``: loggers whose power is cut.

The log ``NAME`` lies on a file system of its own, which stops to take writes at a random moment.
What was acknowledged is noted in the file ``NOTED``. The program ends with a traceback if a message
is missing or twice in the log.
"""

import sys
from pathlib import Path

from tests.faults.loop_device import LoopDevice
from tests.support.kill_loop import check_complete, run_loop


def main(name: str, cuts: int, noted: Path) -> None:
    """Cut the power ``cuts`` times."""
    with LoopDevice(256) as disk:

        def restore() -> None:
            disk.detach()
            disk.attach()

        out = disk.mount / name
        count = run_loop(str(out), cuts, 1, noted, (disk.cut_power, restore))
        check_complete(out, count)
        print(f"{name}: {cuts} power cuts, {2 * count} messages, 0 missing, 0 twice")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
