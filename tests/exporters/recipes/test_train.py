"""Training, resuming, averaging and calibration on synthetic data."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ConfigError
from tests.support.command_errors import refusal
from tests.support.training_data import ferplus_file, landmark_file

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")


def test_training_logs_every_epoch_and_resumes(tmp_path: Path) -> None:
    from exporters.recipes.learner import TrainOptions
    from exporters.recipes.train import train

    data = ferplus_file(tmp_path / "a.npz")
    options = TrainOptions(epochs=2, batch=16, seed=3)
    whole = train(data, tmp_path / "whole", options)
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert 0 <= whole["accuracy"] <= 1
    # the same run, stopped after its first epoch and resumed, ends in the same weights
    resumed = tmp_path / "parted"
    train(data, resumed, options, stop_after=1)
    assert train(data, resumed, options) == whole
    with pytest.raises(ConfigError, match="other options"):
        train(data, resumed, TrainOptions(epochs=2, batch=16, seed=4))


def test_a_run_starts_from_its_first_teacher_and_learns_from_all(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import read_ferplus
    from exporters.recipes.learner import TrainOptions
    from exporters.recipes.runs import load_networks
    from exporters.recipes.train import add_teacher_targets, train

    data = ferplus_file(tmp_path / "a.npz")
    train(data, tmp_path / "one", TrainOptions(epochs=1, batch=8, distil=0.5))
    train(data, tmp_path / "two", TrainOptions(epochs=1, batch=8, seed=4))
    runs = [tmp_path / "two", tmp_path / "one"]
    networks = [network for run in runs for network in load_networks(run)]
    assert len(networks) == 3  # the one with a larger network alongside has two
    crops = read_ferplus(data, "train")
    mixed = add_teacher_targets(crops, networks, seed=3)
    assert torch.equal(
        mixed.shares, add_teacher_targets(crops, networks, seed=3).shares
    )  # a resumed run's
    assert torch.allclose(mixed.shares.sum(1), torch.ones(len(crops)), atol=1e-5)
    # half is the annotators' votes: no share can change by more than the other half
    assert float((mixed.shares - crops.shares).abs().max()) <= 0.5
    assert not torch.equal(mixed.shares, crops.shares)
    tiny_rate = TrainOptions(epochs=1, batch=8, rate=1e-9)
    figures = train(data, tmp_path / "three", tiny_rate, teachers=runs)
    # a resumed run does not compute the teachers' predictions again
    targets = tmp_path / "three" / "targets.pt"
    written_ns = targets.stat().st_mtime_ns
    assert train(data, tmp_path / "three", tiny_rate, teachers=runs) == figures
    assert targets.stat().st_mtime_ns == written_ns
    # at this rate the weights stay those of the first teacher
    first = load_networks(runs[0])[0].expression.weight
    assert torch.allclose(load_networks(tmp_path / "three")[0].expression.weight, first, atol=1e-4)
    assert 0 <= figures["accuracy"] <= 1
    with pytest.raises(ConfigError, match="other options or teachers"):  # other teachers
        train(
            data, tmp_path / "three", TrainOptions(epochs=1, batch=8, rate=1e-9), teachers=runs[:1]
        )


def test_a_run_with_landmarks_learns_them_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main
    from exporters.recipes.learner import TrainOptions
    from exporters.recipes.train import train

    data = ferplus_file(tmp_path / "a.npz")
    images = np.load(data)["images"]
    path = landmark_file(tmp_path / "l.npz", images)
    options = TrainOptions(epochs=10, batch=8, seed=3)
    whole = train(data, tmp_path / "whole", options, landmarks=path)
    train(data, tmp_path / "parted", options, landmarks=path, stop_after=1)
    assert train(data, tmp_path / "parted", options, landmarks=path) == whole
    rows = [json.loads(row) for row in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    plain = tmp_path / "plain"
    train(data, plain, options)
    without = [json.loads(row) for row in (plain / "log.jsonl").read_text().splitlines()]
    # the loss of the landmarks decreases: they are learnt
    added = [row["loss"] - other["loss"] for row, other in zip(rows, without, strict=True)]
    assert added[-1] < 0.9 * added[0]
    with pytest.raises(ConfigError, match="other options"):
        train(data, plain, options, landmarks=path)
    words = ["train", "--data", str(data), "--out", str(tmp_path / "x"), "--batch", "16"]
    line = refusal(main, [*words, "--landmarks", str(tmp_path / "none.npz")], capsys)
    assert f"--landmarks {tmp_path}/none.npz: not an archive" in line


def test_average_takes_the_mean_of_folded_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main
    from exporters.recipes.learner import TrainOptions
    from exporters.recipes.onnx_file import fold_batch_norms, write_checkpoint
    from exporters.recipes.runs import load_trained
    from exporters.recipes.train import train

    data = ferplus_file(tmp_path / "a.npz")
    runs = [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        train(data, run, TrainOptions(epochs=2, batch=16, seed=seed))
    networks = [load_trained(run) for run in runs]
    x = torch.randn(8, 1, 48, 48)
    for network in networks:
        with torch.no_grad():
            assert torch.allclose(fold_batch_norms(network)(x)[0], network(x)[0], atol=1e-4)
    write_checkpoint(networks[1], tmp_path / "two.onnx", "test")
    words = ["average", "--data", str(data), "--parts"]
    for out, second in (("mean", runs[1]), ("same", tmp_path / "two.onnx")):
        assert main([*words, str(runs[0]), str(second), "--out", str(tmp_path / out)]) == 0
    assert 0 <= json.loads(capsys.readouterr().out.split("}")[0] + "}")["accuracy"] <= 1
    mean, same = (load_trained(tmp_path / out) for out in ("mean", "same"))
    stems = [fold_batch_norms(network).body[0].weight for network in networks]
    assert torch.allclose(mean.body[0].weight, (stems[0] + stems[1]) / 2, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(mean(x)[0], same(x)[0], atol=1e-3)
    # the mean of a single run is the same network, calibrated again
    assert main([*words, str(runs[0]), "--out", str(tmp_path / "alone")]) == 0
    capsys.readouterr()
    alone = load_trained(tmp_path / "alone")
    with torch.no_grad():
        assert torch.allclose(alone(x)[1], networks[0](x)[1], atol=1e-4)
    for parts, out, complaint in (
        ([runs[0], tmp_path / "none"], "x", f"--parts {tmp_path}/none: holds no trained.pt"),
        ([tmp_path / "none.onnx"], "x", f"--parts {tmp_path}/none.onnx: No such file"),
        (runs, "one", f"--out {tmp_path}/one: holds a run; choose another"),
        (runs, "a.npz", f"--out {tmp_path}/a.npz: File exists; expected a folder"),
    ):
        command = [*words, *map(str, parts), "--out", str(tmp_path / out)]
        assert complaint in refusal(main, command, capsys)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        (b"no network", "not an ONNX file"),
        (b"", "an empty file"),
        ("centerface-320x192/centerface.onnx", "has no stem.weight of [24, 1, 3, 3]"),
        ("expression-nir/expression.int8.onnx", "at fp32"),
    ],
)
def test_a_file_of_another_network_is_refused_as_a_teacher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | str | None, complaint: str
) -> None:
    from edge.vision.inference.folders import find_model
    from exporters.recipes.cli import main

    data, teacher = ferplus_file(tmp_path / "a.npz"), tmp_path / "a.onnx"
    if isinstance(content, bytes):
        teacher.write_bytes(content)
    elif content is not None:
        teacher = find_model(content.split("/")[0]) / content.split("/")[1]
    words = ["--data", str(data), "--out", str(tmp_path / "run"), "--guides", str(teacher)]
    line = refusal(main, ["train", *words, "--batch", "16"], capsys)
    assert complaint in line
    assert str(teacher) in line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--epochs", "0"], "--epochs 0: expected 1 to 10000"),
        (["--batch", "0"], "--batch 0"),
        (["--batch", "500"], "more than the 80 training crops"),
        (["--untouched", "2"], "--untouched 2.0: expected 0 to 1"),
        (["--rate", "-1"], "--rate -1.0"),
        (["--rate", "nan"], "--rate nan"),
        (["--guides", "/nowhere", "--batch", "16"], "holds no last.pt"),
    ],
)
def test_wrong_training_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    from exporters.recipes.cli import main

    data = ferplus_file(tmp_path / "a.npz")
    command = ["train", "--data", str(data), "--out", str(tmp_path / "run"), *words]
    assert complaint in refusal(main, command, capsys)


def test_calibration_corrects_the_class_priors() -> None:
    from exporters.recipes.ferplus import RatedCrops
    from exporters.recipes.finish import calibrate_head
    from exporters.recipes.networks import ExpressionNetwork

    torch.manual_seed(5)
    network = ExpressionNetwork((8, 12, 16, 24)).eval()
    pictures = torch.rand(200, 1, 48, 48)
    shares = torch.zeros(200, 8)
    shares[:150, 2] = 1  # three of four are sad, whatever the picture
    shares[150:, 5] = 1
    from exporters.recipes.augmentation import normalise

    with torch.no_grad():
        made = calibrate_head(network, RatedCrops(pictures, shares, torch.zeros(200, 2)))
        read = torch.softmax(made(normalise(pictures))[0], 1).mean(0)
    assert float(read[2]) == pytest.approx(0.75, abs=0.05)
    assert float(read[5]) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("content", [None, b"", b"no run"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, content: bytes | None) -> None:
    from exporters.recipes.runs import load_trained

    if content is not None:
        (tmp_path / "trained.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"holds no trained\.pt"):
        load_trained(tmp_path)
