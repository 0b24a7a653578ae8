"""An erasure that is killed: a second one completes it, and nothing else is lost."""

import pytest

from tests.support.killed_erasure import kill_erasures


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("log.sqlite", 13),
        ("log.csv", 17),
        ("log.jsonl", 13),
        ("log.parquet", 9),
        ("postgresql", 4),
    ],
)
def test_a_second_erasure_completes_a_killed_one(tmp_path, request, name, every):
    if name == "postgresql":
        out = request.getfixturevalue("database").url
    else:
        (tmp_path / "of-the-log").mkdir()
        out = str(tmp_path / "of-the-log" / name)
    kills = kill_erasures(out, every)
    print(f"{name}: {kills} kills")
    assert kills > 3
