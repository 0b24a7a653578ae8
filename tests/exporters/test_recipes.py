"""The recipe of the expression weights, on data that the test draws itself."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation.metrics import ccc
from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")

COLUMNS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
           "unknown", "NF"]  # fmt: skip


_FILE = io.BytesIO()
np.save(_FILE, np.zeros(1, np.uint8))
LONE_ARRAY = _FILE.getvalue()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def drawn(path: Path, *, count: int = 240, **replaced: Any) -> Path:
    """Write an archive whose pictures tell their label: a bright bar at its place."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 4, count)
    images = random.integers(60, 90, (count, 48, 48)).astype(np.uint8)
    votes = np.zeros((count, 10), np.uint8)
    for index, label in enumerate(labels):
        images[index, 6 + 10 * label : 12 + 10 * label] += 120
        votes[index, label], votes[index, (label + 1) % 4], votes[index, 8] = 8, 1, 1
    content = {"images": images, "votes": votes, "columns": np.array(COLUMNS),
               "split": np.arange(count) % 3} | replaced  # fmt: skip
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def test_votes_become_shares_and_a_point_of_the_circumplex(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import ANCHORS, read_ferplus

    votes = np.zeros((4, 10), np.uint8)
    votes[0, [1, 0]] = [6, 4]  # happiness, neutral
    votes[1, [8, 0]] = [7, 3]  # mostly unknown: left out
    votes[2, [4, 5]] = [9, 1]  # anger; the single vote for disgust is dropped
    votes[3, 9] = 10  # no face
    path = drawn(tmp_path / "a.npz", images=np.zeros((4, 48, 48), np.uint8), votes=votes,
                 split=np.zeros(4, np.uint8))  # fmt: skip
    crops = read_ferplus(path, "train")
    assert len(crops) == 2
    assert crops.shares[0, EXPRESSIONS.index("happy")] == pytest.approx(0.6)
    assert crops.affect[0].tolist() == pytest.approx([0.6 * each for each in ANCHORS["happy"]])
    assert crops.shares[1, EXPRESSIONS.index("anger")] == 1


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04", b"no archive at all", LONE_ARRAY])
def test_a_broken_archive_is_refused_in_one_line(tmp_path: Path, broken: bytes) -> None:
    from exporters.recipes.ferplus import read_ferplus

    path = tmp_path / "a.npz"
    path.write_bytes(broken)
    with pytest.raises(ConfigError, match="not an archive"):
        read_ferplus(path, "train")
    with pytest.raises(ConfigError, match="not an archive"):
        read_ferplus(drawn(tmp_path / "b.npz", votes=None), "train")


def test_variation_keeps_the_range_and_repeats_with_its_seed() -> None:
    from exporters.recipes.pictures import movements, normalised, varied

    pictures = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(1))

    def drawn_by(seed: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return varied(pictures, random, moves=movements(len(pictures), random))

    once, again, other = drawn_by(5), drawn_by(5), drawn_by(6)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert once.shape == pictures.shape
    assert float(once.min()) >= 0
    assert float(once.max()) <= 1
    assert torch.isfinite(normalised(once)).all()
    flat = normalised(torch.full((2, 1, 48, 48), 0.4))
    assert torch.allclose(flat, torch.zeros_like(flat), atol=1e-5)


def test_normalisation_is_the_daemons() -> None:
    from edge.vision.inference import open_network
    from exporters.recipes.pictures import normalised

    network = open_network("expression-nir", task="facial-expression", artifact="expression.onnx")
    side = network.info.width
    picture = np.random.default_rng(2).integers(0, 256, (side, side), np.uint8)
    ours = normalised(torch.from_numpy(picture.astype(np.float32) / 255)[None, None])
    assert np.abs(network.tensor(picture) - ours.numpy()).max() < 1e-5


def test_the_budget_of_a_face_is_kept() -> None:
    from exporters.recipes.networks import SIDE, STUDENT_WIDTHS, ExpressionNetwork

    network = ExpressionNetwork(STUDENT_WIDTHS).eval()
    total = 0

    def count(module: Any, _inputs: Any, output: Any) -> None:
        nonlocal total
        total += module.weight[0].numel() * output.numel()

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    network(torch.zeros(1, 1, SIDE, SIDE))
    assert total <= 40e6


def test_training_learns_logs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    from exporters.recipes.train import TrainOptions, train

    data = drawn(tmp_path / "a.npz")
    options = TrainOptions(epochs=2, batch=16, seed=3)
    whole = train(data, tmp_path / "whole", options)
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert 0 <= whole["accuracy"] <= 1
    # the same run, told to stop after its first epoch, ends in the same weights
    parted = tmp_path / "parted"
    train(data, parted, options, stop_after=1)
    assert train(data, parted, options) == whole
    with pytest.raises(ConfigError, match="other options"):
        train(data, parted, TrainOptions(epochs=2, batch=16, seed=4))


def test_a_run_with_guides_begins_with_the_first_and_learns_from_all(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import read_ferplus
    from exporters.recipes.train import TrainOptions, guided, train, trained_networks

    data = drawn(tmp_path / "a.npz")
    train(data, tmp_path / "one", TrainOptions(epochs=1, batch=8, distil=0.5))
    train(data, tmp_path / "two", TrainOptions(epochs=1, batch=8, seed=4))
    runs = [tmp_path / "two", tmp_path / "one"]
    networks = [network for run in runs for network in trained_networks(run)]
    assert len(networks) == 3  # the one with a larger network alongside has two
    crops = read_ferplus(data, "train")
    mixed = guided(crops, networks, seed=3)
    assert torch.equal(mixed.shares, guided(crops, networks, seed=3).shares)  # a resumed run's
    assert torch.allclose(mixed.shares.sum(1), torch.ones(len(crops)), atol=1e-5)
    # half is the raters': no share can move by more than the other half
    assert float((mixed.shares - crops.shares).abs().max()) <= 0.5
    assert not torch.equal(mixed.shares, crops.shares)
    hardly = TrainOptions(epochs=1, batch=8, rate=1e-9)
    told = train(data, tmp_path / "three", hardly, guides=runs)
    # gone on with, it does not ask them again
    targets = tmp_path / "three" / "targets.pt"
    asked_ns = targets.stat().st_mtime_ns
    assert train(data, tmp_path / "three", hardly, guides=runs) == told
    assert targets.stat().st_mtime_ns == asked_ns
    # hardly a step was taken: it is still the first guide
    first = trained_networks(runs[0])[0].expression.weight
    assert torch.allclose(
        trained_networks(tmp_path / "three")[0].expression.weight, first, atol=1e-4
    )
    assert 0 <= told["accuracy"] <= 1
    with pytest.raises(ConfigError, match="other options or guides"):  # finished, but by others
        train(data, tmp_path / "three", TrainOptions(epochs=1, batch=8, rate=1e-9), guides=runs[:1])


def drawn_meshes(path: Path, images: Any, **replaced: Any) -> Path:
    """Write landmarks of ``images``: the same face each time, here and there, large and small."""
    from exporters.recipes.landmarks import MIRRORED, POINTS, digest

    random = np.random.default_rng(6)
    half = random.normal(0, 0.2, (len(POINTS), 2))
    face = (half + half[list(MIRRORED)] * [-1, 1]) / 2  # as much on one side as on the other
    places = face * random.uniform(0.7, 1, (len(images), 1, 1))
    places += random.normal(0, 0.02, places.shape) + random.uniform(-0.1, 0.1, (len(images), 1, 2))
    plain, mirror = np.full((2, len(images), 478, 2), 9.0, np.float16)
    plain[:, list(POINTS)] = places
    mirror[:, list(POINTS)] = places[:, list(MIRRORED)] * [-1, 1]
    content = {"plain": plain, "mirror": mirror, "of": np.array(digest(images))} | replaced
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def test_landmarks_are_believed_where_the_mirror_image_says_the_same(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import read_ferplus
    from exporters.recipes.landmarks import POINTS, known

    data = drawn(tmp_path / "a.npz", count=30)
    images = np.load(data)["images"]
    path = drawn_meshes(tmp_path / "l.npz", images)
    crops = read_ferplus(data, "train", path)
    assert crops.landmarks is not None
    assert crops.landmarks.shape == (len(crops), len(POINTS), 2)
    assert known(crops.landmarks).all()
    plain, mirror = (np.load(path)[name].copy() for name in ("plain", "mirror"))
    assert np.allclose(crops.landmarks[1], plain[3, list(POINTS)], atol=2e-3)
    plain[0] = np.nan  # no face found
    mirror[3] += 0.2  # another one
    doubted = read_ferplus(
        data, "train", drawn_meshes(tmp_path / "m.npz", images, plain=plain, mirror=mirror)
    )
    assert doubted.landmarks is not None
    assert known(doubted.landmarks).tolist() == [False, False] + [True] * (len(crops) - 2)
    for broken in (
        {"of": None},
        {"of": np.array("another")},
        {"plain": plain[1:]},
        {"mirror": mirror[:, :468]},
    ):
        with pytest.raises(ConfigError, match=r"--landmarks .*l\.npz: (made of other|not an arch)"):
            read_ferplus(data, "train", drawn_meshes(tmp_path / "l.npz", images, **broken))
    for content in (b"no archive", LONE_ARRAY):
        (tmp_path / "l.npz").write_bytes(content)
        with pytest.raises(ConfigError, match="not an archive with plain"):
            read_ferplus(data, "train", tmp_path / "l.npz")


def test_points_move_with_their_pictures() -> None:
    from exporters.recipes.landmarks import MIRRORED, POINTS
    from exporters.recipes.pictures import moved_points, movements, varied

    count, side = 24, 48
    random = torch.Generator().manual_seed(9)
    points = torch.empty(count, len(POINTS), 2).uniform_(-0.5, 0.5, generator=random)
    moves = movements(count, random)
    assert 0 < (torch.linalg.det(moves[:, :, :2]) < 0).sum() < count  # some mirrored, some not
    there = moved_points(points, moves, MIRRORED)
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    for index in (0, 17, 38):  # a lip's corner, its middle, an eye's
        spots = torch.exp(
            -((line[None, None] - points[:, index, 0, None, None]) ** 2
              + (line[None, :, None] - points[:, index, 1, None, None]) ** 2) / 0.01
        )[:, None]  # fmt: skip
        moved = varied(spots, random, untouched=1.0, moves=moves)[:, 0]
        weight = moved.sum((1, 2))
        x = (moved.sum(1) * line).sum(1) / weight
        y = (moved.sum(2) * line).sum(1) / weight
        mirrored = torch.linalg.det(moves[:, :, :2]) < 0
        at = torch.where(mirrored, torch.tensor(MIRRORED)[index], index)
        expected = there[torch.arange(count), at]
        assert torch.allclose(torch.stack([x, y], 1), expected, atol=0.03)
    hidden = points.clone()
    hidden[3] = torch.nan
    assert torch.isnan(moved_points(hidden, moves, MIRRORED)).any(2).any(1).nonzero() == 3


def test_a_shape_is_what_place_size_and_tilt_leave() -> None:
    from exporters.recipes.landmarks import POINTS, Shapes

    random = torch.Generator().manual_seed(3)
    faces = torch.randn(1, len(POINTS), 2, generator=random)
    faces = faces + 0.1 * torch.randn(40, len(POINTS), 2, generator=random)
    shapes = Shapes(faces)
    angle = torch.tensor(0.5)
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    elsewhere = 0.3 * faces @ turn.T + torch.tensor([0.2, -0.4])
    assert torch.allclose(shapes.of(elsewhere), shapes.of(faces), atol=1e-4)
    assert float(shapes.unexplained(elsewhere, faces).max()) == pytest.approx(0, abs=1e-4)
    mean = shapes.mean[None].expand_as(faces)
    assert float(shapes.unexplained(mean, faces).mean()) == pytest.approx(1, rel=0.1)
    assert float(shapes.loss(faces, faces)) == pytest.approx(0, abs=1e-4)
    unknown = torch.full_like(faces, torch.nan)
    told = faces.clone().requires_grad_()
    loss = shapes.loss(told, unknown)
    loss.backward()
    assert loss.item() == 0
    assert told.grad is not None
    assert float(told.grad.abs().max()) == 0
    some = faces.clone()
    some[:20] = torch.nan
    assert torch.isfinite(shapes.loss(faces + 0.01, some))


def test_a_run_with_landmarks_learns_them_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.__main__ import main
    from exporters.recipes.train import TrainOptions, train

    data = drawn(tmp_path / "a.npz")
    images = np.load(data)["images"]
    path = drawn_meshes(tmp_path / "l.npz", images)
    options = TrainOptions(epochs=10, batch=8, seed=3)
    whole = train(data, tmp_path / "whole", options, landmarks=path)
    train(data, tmp_path / "parted", options, landmarks=path, stop_after=1)
    assert train(data, tmp_path / "parted", options, landmarks=path) == whole
    rows = [json.loads(row) for row in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    plain = tmp_path / "plain"
    train(data, plain, options)
    without = [json.loads(row) for row in (plain / "log.jsonl").read_text().splitlines()]
    # what the landmarks add to the loss shrinks: they are learnt
    added = [row["loss"] - other["loss"] for row, other in zip(rows, without, strict=True)]
    assert added[-1] < 0.9 * added[0]
    with pytest.raises(ConfigError, match="other options"):
        train(data, plain, options, landmarks=path)
    words = ["train", "--data", str(data), "--out", str(tmp_path / "x"), "--batch", "16"]
    assert main([*words, "--landmarks", str(tmp_path / "none.npz")]) == 78
    err = capsys.readouterr().err
    assert f"--landmarks {tmp_path}/none.npz: not an archive" in err
    assert err.count("\n") == 1


def test_the_checkpoint_is_the_network_and_always_the_same(tmp_path: Path) -> None:
    import onnxruntime

    from exporters.recipes.networks import ExpressionNetwork
    from exporters.recipes.onnx_file import write_checkpoint

    torch.manual_seed(2)
    network = ExpressionNetwork((8, 12, 16, 24))
    network.train()(torch.randn(16, 1, 48, 48))  # statistics that are not those of a new network
    for name in ("a.onnx", "b.onnx"):
        write_checkpoint(network, tmp_path / name, "test")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    x = torch.randn(1, 1, 48, 48)
    logits, affect = session.run(["logits", "affect"], {"input": x.numpy()})
    with torch.no_grad():
        expected = network.eval()(x)
    assert np.abs(logits - expected[0].numpy()).max() < 1e-5
    assert np.abs(affect - expected[1].numpy()).max() < 1e-5


def test_a_network_read_back_answers_the_same_and_can_learn_on(tmp_path: Path) -> None:
    from exporters.recipes.networks import ExpressionNetwork
    from exporters.recipes.onnx_file import norms_set_anew, read_checkpoint, write_checkpoint
    from exporters.recipes.train import TrainOptions, train, trained_networks

    torch.manual_seed(2)
    network = ExpressionNetwork(dropout=0.0)
    for block in network.body:  # an untrained block passes its input on
        if hasattr(block, "second_norm"):
            torch.nn.init.ones_(block.second_norm.weight)
    network.train()(torch.randn(16, 1, 48, 48))
    write_checkpoint(network.eval(), tmp_path / "a.onnx", "test")
    read = read_checkpoint(tmp_path / "a.onnx")
    x = torch.randn(32, 1, 48, 48)
    with torch.no_grad():
        expected = torch.cat(network(x), 1)
        assert torch.allclose(torch.cat(read(x), 1), expected, atol=1e-4)
        norms_set_anew(read, x)
        assert torch.allclose(torch.cat(read(x), 1), expected, atol=1e-4)
        read.dropout.p = 0.0
        # in training the batch's own statistics count: those that were set
        assert torch.allclose(torch.cat(read.train()(x), 1), expected, atol=1e-4)
    data = drawn(tmp_path / "a.npz")
    hardly = TrainOptions(epochs=1, batch=8, rate=1e-9)
    train(data, tmp_path / "run", hardly, guides=[tmp_path / "a.onnx"])
    begun = trained_networks(tmp_path / "run")[0].expression.weight
    assert torch.allclose(begun, network.expression.weight, atol=1e-4)
    with pytest.raises(ConfigError, match="other options or guides"):
        train(data, tmp_path / "run", hardly)


def test_the_mean_of_related_runs_is_that_of_their_folded_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.__main__ import main
    from exporters.recipes.onnx_file import folded, write_checkpoint
    from exporters.recipes.train import TrainOptions, train, trained_network

    data = drawn(tmp_path / "a.npz")
    runs = [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        train(data, run, TrainOptions(epochs=2, batch=16, seed=seed))
    networks = [trained_network(run) for run in runs]
    x = torch.randn(8, 1, 48, 48)
    for network in networks:
        with torch.no_grad():
            assert torch.allclose(folded(network)(x)[0], network(x)[0], atol=1e-4)
    write_checkpoint(networks[1], tmp_path / "two.onnx", "test")
    words = ["average", "--data", str(data), "--parts"]
    for out, second in (("mean", runs[1]), ("same", tmp_path / "two.onnx")):
        assert main([*words, str(runs[0]), str(second), "--out", str(tmp_path / out)]) == 0
    assert 0 <= json.loads(capsys.readouterr().out.split("}")[0] + "}")["accuracy"] <= 1
    mean, same = (trained_network(tmp_path / out) for out in ("mean", "same"))
    stems = [folded(network).body[0].weight for network in networks]
    assert torch.allclose(mean.body[0].weight, (stems[0] + stems[1]) / 2, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(mean(x)[0], same(x)[0], atol=1e-3)
    # of one alone it is the same network, calibrated once more
    assert main([*words, str(runs[0]), "--out", str(tmp_path / "alone")]) == 0
    capsys.readouterr()
    alone = trained_network(tmp_path / "alone")
    with torch.no_grad():
        assert torch.allclose(alone(x)[1], networks[0](x)[1], atol=1e-4)
    for parts, out, told in (
        ([runs[0], tmp_path / "none"], "x", f"--parts {tmp_path}/none: holds no trained.pt"),
        ([tmp_path / "none.onnx"], "x", f"--parts {tmp_path}/none.onnx: No such file"),
        (runs, "one", f"--out {tmp_path}/one: holds a run; choose another"),
        (runs, "a.npz", f"--out {tmp_path}/a.npz: File exists; expected a folder"),
    ):
        assert main([*words, *map(str, parts), "--out", str(tmp_path / out)]) == 78
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"no network", "not an ONNX file"),
        (b"", "no graph in it"),
        ("centerface-320x192/centerface.onnx", "has no stem.weight of [24, 1, 3, 3]"),
        ("expression-nir/expression.int8.onnx", "at fp32"),
    ],
)
def test_a_file_that_is_not_the_recipes_is_refused_as_a_guide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | str | None, told: str
) -> None:
    from edge.vision.inference.folders import find_model
    from exporters.recipes.__main__ import main

    data, guide = drawn(tmp_path / "a.npz"), tmp_path / "a.onnx"
    if isinstance(content, bytes):
        guide.write_bytes(content)
    elif content is not None:
        guide = find_model(content.split("/")[0]) / content.split("/")[1]
    words = ["--data", str(data), "--out", str(tmp_path / "run"), "--guides", str(guide)]
    assert main(["train", *words, "--batch", "16"]) == 78
    err = capsys.readouterr().err
    assert told in err
    assert str(guide) in err
    assert err.count("\n") == 1


def drawn_photographs(people: int = 4) -> Any:
    """Photographs of a few people whose label is told by how fine their stripes are."""
    from exporters.recipes.nirfaces import NirFaces

    random = torch.Generator().manual_seed(8)
    count = 8 * people
    labels = torch.arange(count) % 4
    patches = 0.3 + 0.05 * torch.rand(count, 1, 96, 96, generator=random)
    for index, label in enumerate(labels.tolist()):
        wave = torch.sin(torch.arange(96) * 2 * torch.pi / (6, 12, 24, 48)[label])
        patches[index] += 0.3 * (wave > 0).float()[None, :, None]
    points = torch.tensor([[0.0, 0.0], [0.8, 0.2], [-0.7, -0.4], [0.3, 0.8]])
    beside = torch.stack([patches[:, :, 24:72, at : at + 48] for at in (22, 23, 26)])
    return NirFaces(
        patches, patches[:, :, 24:72, 24:72].clone(), beside, labels, points[labels],
        tuple(str(index // 8) for index in range(count)),
    )  # fmt: skip


def test_a_recalibration_is_told_by_people_it_never_saw() -> None:
    from exporters.recipes.adapt import AdaptOptions, answer_of, answers_of, fit, left_out
    from exporters.recipes.networks import ExpressionNetwork, ResidualBlock
    from exporters.recipes.pictures import normalised

    torch.manual_seed(3)
    network, nir = ExpressionNetwork((16, 24, 48, 96)), drawn_photographs(people=6)
    for module in network.modules():  # random weights, but all of them at work
        if isinstance(module, ResidualBlock):
            torch.nn.init.ones_(module.second_norm.weight)
    for _ in range(30):
        network.train()(normalised(nir.crops))
    network.eval()
    options = AdaptOptions(views=4, strength=0.0)
    answers = answers_of(answer_of(network), nir, options)
    told, shares, affect = left_out(answers, nir, options)
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert np.abs(affect).max() <= 1
    again, _, _ = left_out(answers_of(answer_of(network), nir, options), nir, options)
    assert again == told
    # beside: other crops of the same faces, read by the same fits
    assert set(told["beside"]) == {
        "top1", "macro_f1", "ccc_valence", "ccc_arousal", "log_loss", "ece"
    }  # fmt: skip
    assert abs(told["beside"]["top1"] - told["top1"]["value"]) < 0.3
    # each person's first neutral photograph is not scored; without it, the rest reads as before
    personal = told["personal_baseline"]
    assert personal["scored"] == len(nir) - 6
    rest = np.array([index for index in range(len(nir)) if index % 8])
    right = shares[rest].argmax(1) == np.asarray(nir.labels)[rest]
    assert personal["without"]["as_cut"]["top1"] == pytest.approx(right.mean())
    assert personal["as_cut"] != personal["without"]["as_cut"]
    # a change from rest is told as the daemon tells it
    own = rest // 8 * 8
    kept = np.abs(affect[own]).max(1) <= 0.9
    moved = np.tanh(np.arctanh(affect[rest].clip(-0.9999, 0.9999)) - np.arctanh(affect[own]))
    change = np.asarray(nir.affect[rest] - nir.affect[own])
    for axis, name in enumerate(("ccc_valence", "ccc_arousal")):
        agreed = ccc(moved[kept, axis], change[kept, axis])
        assert personal["change"]["as_cut"][name] == pytest.approx(agreed, abs=2e-3)
        agreed = ccc(affect[rest][kept, axis], change[kept, axis])
        assert personal["change"]["without"]["as_cut"][name] == pytest.approx(agreed)
    # a person's own annotations have no part in what is read from that person
    forged = nir.affect.clone()
    forged[nir.of({"2"})] = torch.tensor([-1.0, 1.0])
    changed = dataclasses.replace(nir, affect=forged)
    _, _, other = left_out(answers, changed, options)
    assert np.array_equal(other[nir.of({"2"})], affect[nir.of({"2"})])
    assert not np.array_equal(other, affect)
    # four expressions of eight are never shown: they must be named less often than by the network
    setting = fit(answers, nir, nir.of(set(nir.subjects)), options)
    assert setting.samples == len(nir)
    assert max(setting.offsets[4:]) < min(setting.offsets[:4])


def test_a_model_folder_is_recalibrated_for_another_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden face, called sad and happy: sad must become likelier than the network says."""
    import cv2

    from edge.vision.golden import golden_picture
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.__main__ import main

    face, _ = golden_picture()
    rows = ["file,subject,expression,valence,arousal"]
    for index in range(4):
        name = f"{index}.png"
        cv2.imwrite(str(tmp_path / name), np.clip(face * (0.7 + 0.1 * index), 0, 255))
        rows.append(f"{name},{index % 2},{('sad', 'happy')[index // 2]},-0.5,-0.2")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    words = ["recalibrate", "--model", "expression-nir", "--images", str(tmp_path),
             "--labels", str(labels), "--out", str(tmp_path / "setting.json")]  # fmt: skip
    assert main([*words, "--fitted-on", " "]) == 78
    assert "--fitted-on: empty" in capsys.readouterr().err
    assert main([*words, "--fitted-on", "the chamber's own camera"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"]["value"] >= 0
    setting = Recalibration.model_validate_json((tmp_path / "setting.json").read_bytes())
    assert (setting.samples, setting.fitted_on) == (4, "the chamber's own camera")
    offsets = dict(zip(EXPRESSIONS, setting.offsets, strict=True))
    assert max(offsets, key=lambda name: offsets[name]) == "sad"
    labels.write_text("\n".join([rows[0], rows[1], rows[3]]) + "\n")  # of one person
    assert main(words) == 78
    assert "one person only" in capsys.readouterr().err


def test_what_a_model_folder_makes_of_rated_crops_with_and_without_their_mix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.__main__ import main

    data = str(drawn(tmp_path / "a.npz"))
    assert main(["rated", "--model", "expression-nir", "--data", data]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["crops"] == 80
    assert sum(told["priors"].values()) == pytest.approx(1)
    rows = [told[name] for name in ("network", "read", "read_neutral_prior", "read_priors")]
    assert all(0 <= row["top1"] <= 1 and 0 < row["log_loss"] < 20 for row in rows)
    assert len({row["log_loss"] for row in rows}) == 4
    assert main(["rated", "--model", "mobilenet-fer-of-96", "--data", data]) == 78
    assert "no bundled model of that name" in capsys.readouterr().err


def test_pictures_that_agree_wholly_still_give_what_a_manifest_holds() -> None:
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.adapt import AdaptOptions, Answers, fit

    nir = drawn_photographs(people=2)
    sure = 50 * torch.nn.functional.one_hot(nir.labels, 8).float()
    setting = fit(Answers(sure, sure[None], sure[None]), nir, nir.of({"0", "1"}), AdaptOptions())
    Recalibration.model_validate_json(setting.model_dump_json())


@pytest.mark.parametrize(
    ("words", "told"),
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
def test_options_that_training_cannot_work_with_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    from exporters.recipes.__main__ import main

    data = drawn(tmp_path / "a.npz")
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *words]) == 78
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}/gone/x.json"],
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}"],
        ["adapt", "--run", "{tmp}", "--out", "{tmp}/x.json"],
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from exporters.recipes.__main__ import main

    given = [word.format(tmp=tmp_path) for word in words]
    assert main([*given, "--images", str(tmp_path), "--labels", str(tmp_path / "no.csv")]) == 78
    err = capsys.readouterr().err
    assert "--out" in err
    assert err.count("\n") == 1


def test_known_priors_are_found_again() -> None:
    from exporters.recipes.adapt import fit_priors

    random = torch.Generator().manual_seed(2)
    true = torch.tensor([1.0, 0.5, 0.0, -0.5, 0.5, 0.0, -0.5, -1.0])
    logits = 3 * torch.randn(40_000, 8, generator=random)
    shares = torch.softmax(logits / 2 + true, 1)
    labels = torch.multinomial(shares, 1, generator=random).flatten()
    temperature, offsets = fit_priors(logits, labels, balance=0.0, pull=0.0)
    assert temperature == pytest.approx(2, rel=0.03)
    assert offsets == pytest.approx(true.tolist(), abs=0.06)


def test_an_expression_that_another_gives_away_is_named_through_the_mixing() -> None:
    """Surprise leans to disgust and happiness away from it; nobody shows disgust."""
    from edge.vision.expression.readout import Readout
    from exporters.recipes.adapt import AdaptOptions, Answers, fit

    nir = drawn_photographs(people=6)  # of expressions 0 to 3
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(12, len(nir), 8, generator=random) * 0.3
    logits[:, :, 5] += 2.0 * (nir.labels == 3) - 2.0 * (nir.labels == 1)  # 5: shown by nobody
    logs = torch.log_softmax(logits, 2)
    everybody = nir.of(set(nir.subjects))
    setting = fit(Answers(logs[0], logs[:1], logs), nir, everybody, AdaptOptions())
    assert setting.mixing is not None
    assert setting.mixing[3][5] > 0.1 > -0.1 > setting.mixing[1][5]

    def right(mixing: Any) -> float:
        readout = Readout(np.arange(8), False, setting.model_copy(update={"mixing": mixing}))
        shares, _ = readout.read(np.asarray(logs[0].exp()), np.zeros((len(nir), 2), np.float32))
        return float((shares.argmax(1) == np.asarray(nir.labels)).mean())

    assert right(setting.mixing) > right(None) + 0.1


def test_boxes_beside_are_moved_and_scaled_about_their_middle() -> None:
    from benchmarks.evaluation.annotated import shifted
    from edge.vision.values import Box
    from exporters.recipes.nirfaces import SHIFTS

    box = Box(10, 20, 30, 40)
    assert shifted(box, 0.0, 0.0, 1.0) == box
    assert shifted(box, 4.0, -2.0, 1.0) == Box(14, 18, 30, 40)
    grown = shifted(box, 0.0, 0.0, 1.1)
    assert (grown.x, grown.y, grown.width, grown.height) == pytest.approx((8.5, 18, 33, 44))
    assert len(set(SHIFTS)) == len(SHIFTS)
    assert np.allclose(np.mean(SHIFTS, axis=0), (0, 0, 1))  # none to one side


def test_calibration_puts_right_how_common_labels_are() -> None:
    from exporters.recipes.ferplus import RatedCrops
    from exporters.recipes.networks import ExpressionNetwork
    from exporters.recipes.train import calibrated

    torch.manual_seed(5)
    network = ExpressionNetwork((8, 12, 16, 24)).eval()
    pictures = torch.rand(200, 1, 48, 48)
    shares = torch.zeros(200, 8)
    shares[:150, 2] = 1  # three of four are sad, whatever the picture
    shares[150:, 5] = 1
    from exporters.recipes.pictures import normalised

    with torch.no_grad():
        made = calibrated(network, RatedCrops(pictures, shares, torch.zeros(200, 2)))
        read = torch.softmax(made(normalised(pictures))[0], 1).mean(0)
    assert float(read[2]) == pytest.approx(0.75, abs=0.05)
    assert float(read[5]) == pytest.approx(0.25, abs=0.05)


@pytest.mark.nir
def test_photographs_are_cut_as_the_daemon_cuts_them(nir_faces: Path) -> None:
    from exporters.recipes.nirfaces import cut, read_nir_faces

    nir = read_nir_faces(nir_faces / "images", nir_faces / "labels.csv", 0.05)
    assert nir.crops.shape == (len(nir), 1, 48, 48)
    views = cut(nir.patches, torch.Generator().manual_seed(1), 0.05)
    assert views.shape == nir.crops.shape
    # turned, shifted, mirrored: still the same light
    assert float((views.mean((1, 2, 3)) - nir.crops.mean((1, 2, 3))).abs().mean()) < 0.05


@pytest.mark.parametrize("content", [None, b"", b"no run"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, content: bytes | None) -> None:
    from exporters.recipes.train import trained_network

    if content is not None:
        (tmp_path / "trained.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"holds no trained\.pt"):
        trained_network(tmp_path)
