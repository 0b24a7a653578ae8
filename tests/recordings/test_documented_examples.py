"""The Python examples of docs/recordings.md run as they stand."""

import re
import shutil

import pytest

from edge.vision.golden import GOLDEN_FACE
from tests.support.analyses import make_pictures
from tests.support.daemons import ROOT
from tests.support.source_media import encode

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/recordings.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS)
def test_examples_run(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(GOLDEN_FACE, "face.png")
    make_pictures(tmp_path / "pictures")
    encode(tmp_path / "session.mp4", frames=20)
    exec(code, {})
    assert re.search("happy|neutral|-?0\\.[0-9]|1\\.0", capsys.readouterr().out)


def test_there_are_examples():
    assert len(BLOCKS) == 3
