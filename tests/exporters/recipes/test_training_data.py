"""FER+ archives, landmarks, augmentation and photographs as training data."""

import io
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS
from tests.support.training_data import COLUMNS, ferplus_file, landmark_file

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")

_FILE = io.BytesIO()
np.save(_FILE, np.zeros(1, np.uint8))
LONE_ARRAY = _FILE.getvalue()


def test_votes_become_shares_and_a_point_of_the_circumplex(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import ANCHORS, read_ferplus

    votes = np.zeros((4, 10), np.uint8)
    votes[0, [1, 0]] = [6, 4]  # happiness, neutral
    votes[1, [8, 0]] = [7, 3]  # mostly unknown: left out
    votes[2, [4, 5]] = [9, 1]  # anger; the single vote for disgust is dropped
    votes[3, 9] = 10  # no face
    path = ferplus_file(tmp_path / "a.npz", images=np.zeros((4, 48, 48), np.uint8), votes=votes,
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
    with pytest.raises(ConfigError, match="not an archive") as raised:
        read_ferplus(path, "train")
    assert "pickle" not in str(raised.value)
    with pytest.raises(ConfigError, match="not an archive"):
        read_ferplus(ferplus_file(tmp_path / "b.npz", votes=None), "train")


@pytest.mark.parametrize(
    ("replaced", "text"),
    [
        ({"images": np.zeros((240, 48, 48))}, "images: float64 (240, 48, 48); expected uint8 (n"),
        ({"images": np.zeros((240, 48, 48, 1), np.uint8)}, "images: uint8 (240, 48, 48, 1); exp"),
        ({"images": np.uint8(1)}, "images: uint8 (); expected uint8 (n, 48, 48)"),
        ({"columns": np.array(list("abcdefghij"))}, "columns: without neutral, happiness, sadn"),
        ({"columns": np.array(COLUMNS, "S")}, "columns: without neutral, happiness, sadness"),
        ({"columns": np.array(COLUMNS[:8])}, "columns: without unknown or NF; expected"),
        ({"votes": np.zeros((239, 10), np.uint8)}, "votes: uint8 (239, 10); expected integers (24"),
        ({"votes": np.zeros((240, 10))}, "votes: float64 (240, 10); expected integers (240, 10)"),
        ({"split": np.array(["train"] * 240)}, "split: <U5 (240,); expected integers (240,)"),
        ({"split": np.ones(240, np.uint8)}, "no picture of a clear face has the split 0 (train)"),
    ],
)
def test_an_archive_of_another_form_is_refused_in_one_line(
    tmp_path: Path, replaced: dict[str, np.ndarray], text: str
) -> None:
    from exporters.recipes.ferplus import read_ferplus

    path = ferplus_file(tmp_path / "a.npz", **replaced)
    with pytest.raises(ConfigError) as raised:
        read_ferplus(path, "train")
    assert str(raised.value).startswith(f"--data {path}: {text}")
    assert "\n" not in str(raised.value)


def test_augmentation_keeps_the_range_and_repeats_with_its_seed() -> None:
    from exporters.recipes.augmentation import augment, draw_movements, normalise

    pictures = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(1))

    def augmented_with(seed: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return augment(pictures, random, moves=draw_movements(len(pictures), random))

    once, again, other = augmented_with(5), augmented_with(5), augmented_with(6)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert once.shape == pictures.shape
    assert float(once.min()) >= 0
    assert float(once.max()) <= 1
    assert torch.isfinite(normalise(once)).all()
    flat = normalise(torch.full((2, 1, 48, 48), 0.4))
    assert torch.allclose(flat, torch.zeros_like(flat), atol=1e-5)


def test_normalisation_equals_the_daemons() -> None:
    from edge.vision.inference import open_network
    from exporters.recipes.augmentation import normalise

    network = open_network("expression-nir", task="facial-expression", artifact="expression.onnx")
    side = network.info.width
    picture = np.random.default_rng(2).integers(0, 256, (side, side), np.uint8)
    ours = normalise(torch.from_numpy(picture.astype(np.float32) / 255)[None, None])
    assert np.abs(network.tensor(picture) - ours.numpy()).max() < 1e-5


def test_landmarks_are_known_if_the_mirror_image_agrees(tmp_path: Path) -> None:
    from exporters.recipes.ferplus import read_ferplus
    from exporters.recipes.landmarks import POINTS, are_known

    data = ferplus_file(tmp_path / "a.npz", count=30)
    images = np.load(data)["images"]
    path = landmark_file(tmp_path / "l.npz", images)
    crops = read_ferplus(data, "train", path)
    assert crops.landmarks is not None
    assert crops.landmarks.shape == (len(crops), len(POINTS), 2)
    assert are_known(crops.landmarks).all()
    plain, mirror = (np.load(path)[name].copy() for name in ("plain", "mirror"))
    assert np.allclose(crops.landmarks[1], plain[3, list(POINTS)], atol=2e-3)
    plain[0] = np.nan  # no face found
    mirror[3] += 0.2  # another one
    doubted = read_ferplus(
        data, "train", landmark_file(tmp_path / "m.npz", images, plain=plain, mirror=mirror)
    )
    assert doubted.landmarks is not None
    assert are_known(doubted.landmarks).tolist() == [False, False] + [True] * (len(crops) - 2)
    for broken in (
        {"of": None},
        {"of": np.array("another")},
        {"plain": plain[1:]},
        {"mirror": mirror[:, :468]},
    ):
        with pytest.raises(ConfigError, match=r"--landmarks .*l\.npz: (made of other|not an arch)"):
            read_ferplus(data, "train", landmark_file(tmp_path / "l.npz", images, **broken))
    for content in (b"no archive", LONE_ARRAY):
        (tmp_path / "l.npz").write_bytes(content)
        with pytest.raises(ConfigError, match="not an archive with plain"):
            read_ferplus(data, "train", tmp_path / "l.npz")


def test_points_move_with_their_pictures() -> None:
    from exporters.recipes.augmentation import augment, draw_movements, move_points
    from exporters.recipes.landmarks import MIRRORED, POINTS

    count, side = 24, 48
    random = torch.Generator().manual_seed(9)
    points = torch.empty(count, len(POINTS), 2).uniform_(-0.5, 0.5, generator=random)
    moves = draw_movements(count, random)
    assert 0 < (torch.linalg.det(moves[:, :, :2]) < 0).sum() < count  # some mirrored, some not
    there = move_points(points, moves, MIRRORED)
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    for index in (0, 17, 38):  # a lip's corner, its middle, an eye's
        spots = torch.exp(
            -((line[None, None] - points[:, index, 0, None, None]) ** 2
              + (line[None, :, None] - points[:, index, 1, None, None]) ** 2) / 0.01
        )[:, None]  # fmt: skip
        moved = augment(spots, random, unchanged=1.0, moves=moves)[:, 0]
        weight = moved.sum((1, 2))
        x = (moved.sum(1) * line).sum(1) / weight
        y = (moved.sum(2) * line).sum(1) / weight
        mirrored = torch.linalg.det(moves[:, :, :2]) < 0
        at = torch.where(mirrored, torch.tensor(MIRRORED)[index], index)
        expected = there[torch.arange(count), at]
        assert torch.allclose(torch.stack([x, y], 1), expected, atol=0.03)
    hidden = points.clone()
    hidden[3] = torch.nan
    assert torch.isnan(move_points(hidden, moves, MIRRORED)).any(2).any(1).nonzero() == 3


def test_a_shape_does_not_depend_on_position_size_and_rotation() -> None:
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
    assert torch.allclose(shapes.align(elsewhere), shapes.align(faces), atol=1e-4)
    assert float(shapes.unexplained_variance(elsewhere, faces).max()) == pytest.approx(0, abs=1e-4)
    mean = shapes.mean[None].expand_as(faces)
    assert float(shapes.unexplained_variance(mean, faces).mean()) == pytest.approx(1, rel=0.1)
    assert float(shapes.loss(faces, faces)) == pytest.approx(0, abs=1e-4)
    unknown = torch.full_like(faces, torch.nan)
    predicted = faces.clone().requires_grad_()
    loss = shapes.loss(predicted, unknown)
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert float(predicted.grad.abs().max()) == 0
    some = faces.clone()
    some[:20] = torch.nan
    assert torch.isfinite(shapes.loss(faces + 0.01, some))


def test_jittered_boxes_are_moved_and_scaled_about_their_centre() -> None:
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


@pytest.mark.nir
def test_photographs_are_cropped_like_in_the_daemon(nir_faces: Path) -> None:
    from exporters.recipes.nirfaces import load_nir_faces, random_crops

    nir = load_nir_faces(nir_faces / "images", nir_faces / "labels.csv", 0.05)
    assert nir.crops.shape == (len(nir), 1, 48, 48)
    views = random_crops(nir.patches, torch.Generator().manual_seed(1), 0.05)
    assert views.shape == nir.crops.shape
    # turned, shifted, mirrored: still the same light
    assert float((views.mean((1, 2, 3)) - nir.crops.mean((1, 2, 3))).abs().mean()) < 0.05
