"""A log whose file is deleted, moved or replaced while it is written."""

import shutil

import pytest

from edge.client.logs import opened_log
from edge.client.logs.linefile import LineFile
from edge.errors import LogFileError
from edge.tools.log import run_log
from tests.support.logs import csv_rows, received
from tests.support.wire import Publisher, event, face, frame


@pytest.fixture
def reports():
    return []


@pytest.fixture
def file(tmp_path, reports):
    (tmp_path / "logs").mkdir()
    file = LineFile(tmp_path / "logs/log", b"header\n", reports.append)
    file.start()
    file.append(b"one\n")
    file.commit()
    yield file
    file.close()


def test_after_a_deletion_the_lines_go_on_in_a_new_file(file, reports):
    file.path.unlink()
    file.append(b"two\n")
    file.commit()
    assert file.path.read_bytes() == b"header\ntwo\n"
    assert file.deleted_lines == 1
    assert reports == [
        f"{file.path}: was deleted with 1 lines of this run while it was written; it goes on in a"
        " new file"
    ]


def test_after_a_move_the_lines_go_on_in_a_new_file(file, reports):
    moved = file.path.rename(file.path.with_name("moved"))
    file.append(b"two\n")
    file.commit()
    assert (moved.read_bytes(), file.path.read_bytes()) == (b"header\none\n", b"header\ntwo\n")
    assert file.deleted_lines == 0
    assert "was moved while it was written" in reports[0]


@pytest.mark.parametrize(
    ("size", "kept"), [(0, b"header\n"), (3, b"header\n"), (7, b"header\n"), (9, b"header\n")]
)
def test_after_a_cut_the_lines_go_on_behind_complete_ones(file, reports, size, kept):
    """A table that logrotate had cut (copytruncate) had no header, and could not be continued."""
    with file.path.open("r+b") as same:
        same.truncate(size)
    file.append(b"two\n")
    file.append(b"three\n")
    file.commit()
    assert file.path.read_bytes() == kept + b"two\nthree\n"
    assert file.size == file.path.stat().st_size
    assert reports == [
        f"{file.path}: was cut from 11 to {size} bytes while it was written; it goes on there"
        " (logrotate: rotate with create, not with copytruncate)"
    ]


def test_a_deletion_is_noticed_without_new_lines(file, reports):
    file.path.unlink()
    file.commit()
    assert file.path.read_bytes() == b"header\n"
    assert len(reports) == 1


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_is_gone_ends_the_log(file, moved):
    folder = file.path.parent
    if moved:
        folder.rename(folder.with_name("elsewhere"))
    else:
        shutil.rmtree(folder)
    expected = "was moved" if moved else "was deleted with 1 lines of this run"
    file.append(b"two\n")
    with pytest.raises(LogFileError, match=rf"log: {expected} .* No such file or directory\)"):
        file.commit()


def test_a_copy_in_its_place_is_continued(file):
    copy = file.path.with_name("copy")
    copy.write_bytes(file.path.read_bytes() + b"torn")
    copy.replace(file.path)
    file.append(b"two\n")
    file.commit()
    assert file.path.read_bytes() == b"header\none\ntwo\n"


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_another_file_in_its_place_is_left_unchanged(tmp_path, name):
    out = tmp_path / name

    def write_to_both():
        with opened_log(out) as log:
            log.cursors()
            log.write(received(frame(0)))
            log.commit()
            other = tmp_path / "other"
            other.write_bytes(b"dear diary\n")
            other.replace(out)
            log.write(received(frame(1)))

    with pytest.raises(LogFileError, match="another file is there now"):
        write_to_both()
    assert out.read_bytes() == b"dear diary\n"


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_the_logger_reports_rows_that_were_deleted_with_their_file(tmp_path, name):
    out, endpoint = tmp_path / name, f"ipc://{tmp_path}/pub"
    reports, pending = [], [[frame(0, face(1), face(2)), frame(1)], [frame(2)]]
    whole = 4 if name == "log.csv" else 2  # lines of the first two frames
    with Publisher(endpoint) as publisher:

        def stop():
            if publisher.subscribed():
                publisher.send(*pending.pop(0))
            elif len(pending) == 1 and out.read_bytes().count(b"\n") == whole:
                out.unlink()
                publisher.send(*pending.pop(0), event(3, "epoch_ended"))
            return False

        summary = run_log([endpoint], out, stop=stop, until_end=True, report=reports.append)
    assert summary.deleted_rows == (3 if name == "log.csv" else 2)
    assert (summary.messages, summary.gaps) == (4, 0)
    assert any("was deleted with" in line for line in reports)
    if name == "log.csv":
        assert [row["seq"] for row in csv_rows(out)] == ["2"]
    else:
        assert out.read_bytes().count(b"\n") == 2
