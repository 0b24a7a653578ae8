"""Generators between near infrared and visible light: training, resuming, export, comparison."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import TranslatorConfig
from edge.errors import ConfigError
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.translate import open_translator
from edge.vocabulary import EXPRESSIONS
from tests.support.command_errors import refusal
from tests.support.generators import translator_folder
from tests.support.networks import FACE
from tests.support.training_data import ferplus_file, synthetic_photographs

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")

PEOPLE = ("1", "2", "3", "3")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with training data: crops, and photographs of three people; not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    ferplus_file(folder / "ferplus.npz", count=60)
    face, _ = golden_picture()
    rows = ["file,subject,expression,valence,arousal"]
    for index, person in enumerate(PEOPLE):
        cv2.imwrite(str(folder / f"{index}.png"), np.clip(face * (0.7 + 0.1 * index), 0, 255))
        rows.append(f"{index}.png,{person},{('neutral', 'happy')[index % 2]},0.1,0.2")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def words(inputs: Path, out: Path, *more: str) -> list[str]:
    """Return a command that trains a small generator for a few steps."""
    return [
        "translate", "--data", str(inputs / "ferplus.npz"), "--images", str(inputs),
        "--labels", str(inputs / "labels.csv"), "--out", str(out), "--batch", "4",
        "--filters", "2", "--blocks", "1", "--steps", "8",
        "--expression", str(find_model("expression-nir") / "expression.onnx"), *more,
    ]  # fmt: skip


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that left out one person; not to be changed."""
    from exporters.recipes.cli import main

    out = tmp_path_factory.mktemp("run")
    torch.set_num_threads(1)
    assert main(words(inputs, out, "--leave-out", "2")) == 0
    return out


def test_a_stopped_run_resumes_and_gives_the_same_files(
    inputs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main
    from exporters.recipes.translate import TO_NIR, TO_VISIBLE, TranslateOptions, translate

    out = tmp_path / "parted"
    options = TranslateOptions(steps=8, batch=4, filters=2, blocks=1)
    translate(
        inputs / "ferplus.npz", inputs, inputs / "labels.csv", out, options,
        expression=find_model("expression-nir") / "expression.onnx",
        left_out=["2"], stop_after=3,
    )  # fmt: skip
    capsys.readouterr()
    assert main(words(inputs, out, "--leave-out", "2")) == 0
    printed, progress = capsys.readouterr()
    assert [row["step"] for row in losses(out)] == [3, 8]
    assert progress.startswith("translate: step 8 of 8, 0 min left; cycle ")
    result = json.loads(printed)
    assert (result["people"], result["left_out"], result["photographs"]) == (["1", "3"], ["2"], 3)
    for name in (TO_VISIBLE, TO_NIR):
        assert (out / name).read_bytes() == (trained / name).read_bytes()
    # a finished run is not trained further
    assert main(words(inputs, out, "--leave-out", "2")) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert "holds a run with other options" in refusal(main, words(inputs, out), capsys)
    assert "holds a run with other options" in refusal(
        main, words(inputs, out, "--leave-out", "2", "--seed", "4"), capsys
    )


def test_generators_learn_to_translate_there_and_back(inputs: Path, tmp_path: Path) -> None:
    from exporters.recipes.cli import main

    first, last = tmp_path / "first", tmp_path / "last"
    assert main(words(inputs, first, "--steps", "1")) == 0
    assert main(words(inputs, last, "--steps", "60", "--rate", "0.003")) == 0
    before, after = losses(first)[-1], losses(last)[-1]
    assert after["cycle"] < 0.8 * before["cycle"]
    assert after["identity"] < 0.8 * before["identity"]
    assert "adversarial" in after
    assert "adversarial" not in before  # they learn to copy first


def test_the_exporter_reads_a_trained_generator(trained: Path, tmp_path: Path) -> None:
    from exporters.artifacts.driver import ExportOptions
    from exporters.cyclegan.export import export_cyclegan
    from exporters.recipes.generators import translate_pictures
    from exporters.recipes.translate import TO_NIR, load_to_nir

    manifest = export_cyclegan(
        trained / TO_NIR,
        tmp_path / "net",
        size=(48, 48),
        licence="research use",
        options=ExportOptions(formats=("onnx", "tflite")),
    )
    assert [parity.passed for parity in manifest.parity.values()] == [True, True]
    assert (manifest.input.colour, manifest.source.licence) == ("mono", "research use")
    translator = open_translator(
        TranslatorConfig(model=str(tmp_path / "net"), artifact="generator.onnx")
    )
    assert translator is not None
    face = square_crop(golden_picture()[0], FACE, (48, 48), 0.0)
    picture = torch.from_numpy(face.astype(np.float32) / 255)[None, None]
    expected = 255 * translate_pictures(load_to_nir(trained, "--x"), picture)[0, 0].numpy()
    assert np.abs(translator.translate(face) - expected).max() < 0.51
    assert np.abs(face - expected).mean() > 1  # it changes the picture


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--leave-out", "9"], "--leave-out 9: not in --labels; expected some of 1,2,3"),
        (["--leave-out", "1,2"], "1 of 3 people remain; expected 2 or more"),
        (["--leave-out", "1,,2"], "--leave-out 1,,2: expected people"),
        (["--side", "50"], "--side 50: expected a multiple of 4"),
        (["--side", "44"], "--side 44: expected 48 to 128"),
        (["--side", "128", "--filters", "12"], "million multiply-adds a face; expected at most 60"),
        (["--steps", "0"], "--steps 0: expected 1 to"),
        (["--expression", "nowhere"], "nowhere: holds no last.pt"),
        (["--data", "nowhere.npz"], "--data nowhere.npz: not an archive"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    from exporters.recipes.cli import main

    assert message in refusal(main, words(inputs, tmp_path / "out", *more), capsys)
    assert not (tmp_path / "out").exists()


def test_both_spectra_show_the_expressions_equally_often() -> None:
    from exporters.recipes.ferplus import RatedCrops
    from exporters.recipes.translate import Batches, TranslateOptions

    # of eight photographs a person, two show each of the first four expressions; of the crops
    # nine in ten are neutral, none is surprised, and the grey level is the expression
    labels = torch.tensor([0] * 90 + [1, 2, 2, 2, 2, 4, 4, 4, 4, 4])
    shares = torch.nn.functional.one_hot(labels, len(EXPRESSIONS)).float()
    levels = (labels / 10)[:, None, None, None].expand(-1, 1, 48, 48)
    options = TranslateOptions(batch=600)
    batches = Batches(
        RatedCrops(levels, shares, shares[:, :2]),
        synthetic_photographs(),
        options,
        torch.Generator().manual_seed(1),
    )
    nir, visible = batches.draw()
    assert nir.shape == visible.shape == (600, 1, 48, 48)
    shown = (visible[:, 0, 24, 24] * 10).round().long()
    counts = torch.bincount(shown, minlength=8) / 600
    assert counts[:3].tolist() == pytest.approx([1 / 3] * 3, abs=0.07)
    assert counts[3:].sum() == 0  # expressions that only one of the two shows are not drawn
    only_surprise = synthetic_photographs().part(torch.tensor([3, 7, 11]))
    with pytest.raises(ConfigError, match="none of their expressions is in --data"):
        Batches(
            RatedCrops(levels, shares, shares[:, :2]), only_surprise, options, torch.Generator()
        )


def test_the_cost_of_a_generator_is_that_of_its_convolutions() -> None:
    from exporters.recipes.generators import multiply_adds

    side, n = 48, 8
    pixels = side**2
    ends = 2 * 49 * n * pixels
    halves = 2 * 9 * n * 2 * n * pixels // 4 + 2 * 9 * 2 * n * 4 * n * pixels // 16
    block = 2 * 9 * (4 * n) ** 2 * pixels // 16
    assert multiply_adds(side, n, 4) == ends + halves + 4 * block


def test_the_expression_network_can_train_on_crops_as_a_generator_shows_them(
    trained: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main

    command = ["train", "--data", str(inputs / "ferplus.npz"), "--epochs", "1", "--batch", "8"]
    generator = str(trained)
    assert main([*command, "--out", str(tmp_path / "plain")]) == 0
    assert main([*command, "--out", str(tmp_path / "seen"), "--seen-by", generator]) == 0
    assert losses(tmp_path / "plain")[0]["loss"] != losses(tmp_path / "seen")[0]["loss"]
    capsys.readouterr()
    other = [*command, "--out", str(tmp_path / "seen")]
    assert "holds a run with other options" in refusal(main, other, capsys)
    for wrong in (inputs / "ferplus.npz", tmp_path / "plain", tmp_path / "none"):
        line = refusal(main, [*other, "--seen-by", str(wrong)], capsys)
        assert f"--seen-by {wrong}: holds no last.pt that translate wrote" in line


def test_approaches_are_compared_with_people_left_out(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main

    folders = []
    for seed, side in ((1, 48), (2, 48), (3, 64)):
        (tmp_path / f"{seed}").mkdir()
        folders.append(translator_folder(tmp_path / f"{seed}", side=side, seed=seed))
    command = [
        "recalibrate", "--model", "expression-nir", "--images", str(inputs),
        "--labels", str(inputs / "labels.csv"), "--out", str(tmp_path / "found.json"),
    ]  # fmt: skip
    folds = ["--fold", f"{folders[0]}=1", "--fold"]
    line = refusal(main, [*command, "--fold", f"{folders[0]}=1,3"], capsys)
    assert "--fold: no translator for 2" in line
    line = refusal(main, [*command, *folds, f"{folders[2]}=2,3"], capsys)
    assert "translators of the sizes [(48, 48), (64, 64)]" in line
    assert main([*command, *folds, f"{folders[1]}=2,3"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["folds"] == {"1": str(folders[0]), "2": str(folders[1]), "3": str(folders[1])}
    assert main(command) == 0
    direct = json.loads(capsys.readouterr().out)
    del direct["heads"]  # translators are compared by the recalibration alone
    assert result["direct"] == direct
    for name in ("top1", "log_loss"):
        apart = result[name]["value"] - direct[name]["value"]
        assert result["difference"][name]["value"] == pytest.approx(apart)
    assert result["difference"]["log_loss"]["value"] != 0
    # one translator of another size than the network's
    assert main([*command, "--fold", f"{folders[2]}=1,2,3"]) == 0
