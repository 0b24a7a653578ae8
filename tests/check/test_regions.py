"""What ``check`` reports of detection by regions."""

import pytest

from edge.check.check import run_check
from edge.config import Config, DetectorConfig
from edge.vision.pipeline import Pipeline


def test_models_of_two_decoders_do_not_search_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = Config(detector=DetectorConfig(model="retinaface-320x192"))
    assert config.detector.schedule == "region"
    assert Pipeline.open(config).region_detector is None
    run_check(config)
    line = next(line for line in capsys.readouterr().out.split("\n") if "region_detector" in line)
    assert line == (
        "ok     region_detector centerface-96x96: not used, retinaface-320x192 has another decoder:"
        " it searches every frame in full"
    )
