"""The file of lines behind a log: reading its end, and writes that fail."""

import os

import pytest

from edge.client.logs.linefile import LineFile
from edge.errors import LogFileError
from edge.protocol import messages
from tests.support.wire import frame


def test_last_lines_reads_only_the_end_of_a_long_file(tmp_path):
    out = tmp_path / "log.jsonl"
    line = messages.encode(frame(0, stream="long ago")).partition(b" ")[2] + b"\n"
    with out.open("wb") as file:
        file.writelines([line] * 30_000)
        file.write(line.replace(b"long ago", b"recent"))
    assert out.stat().st_size > 10 << 20
    file = LineFile(out)
    assert sum(map(len, file.last_lines(1 << 20))) <= 1 << 20
    assert file.last_lines(1 << 20)[-1] == line.replace(b"long ago", b"recent").rstrip()
    file.close()


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    file = LineFile(tmp_path / "log")
    file.append(b"one\n")
    file.commit()
    reader = os.open(tmp_path / "log", os.O_RDONLY)
    os.dup2(reader, file._fd)  # a descriptor that cannot be written: EBADF
    os.close(reader)
    file.append(b"two\n")
    with pytest.raises(LogFileError, match="Bad file descriptor"):
        file.commit()
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\n"
