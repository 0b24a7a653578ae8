"""State dicts against PyTorch's outputs, with random weights for each architecture."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.inference import load_manifest, open_network, verify
from edge.vision.inference.manifest import Limit
from edge.vision.values import Floats, Luma
from exporters.artifacts.driver import ExportOptions
from exporters.artifacts.parity import TRANSLATION_LIMITS, sample_pictures
from exporters.cli import main
from exporters.cyclegan import export as cyclegan
from exporters.cyclegan.checkpoint import read_state
from exporters.cyclegan.export import export_cyclegan
from tests.support.detector_weights import unpacked
from tests.support.generators import random_state

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")
nn = torch.nn

LIMITED = tuple(TRANSLATION_LIMITS)
Norm = Callable[[int], Any]


def norm_layer(kind: str) -> Norm:
    return {
        "instance": partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
        "batch": nn.BatchNorm2d,
        "old instance": partial(nn.InstanceNorm2d, affine=False, track_running_stats=True),
        "affine": partial(nn.InstanceNorm2d, affine=True),
    }[kind]


class Block(nn.Module):  # type: ignore[misc, name-defined]
    """A residual block: two convolutions and a shortcut."""

    def __init__(self, channels: int, norm: Norm, bias: bool, dropout: bool) -> None:
        super().__init__()
        layers: list[Any] = []
        for last in (False, True):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias)]
            layers.append(norm(channels))
            if not last:
                layers.append(nn.ReLU())
                layers += [nn.Dropout(0.5)] if dropout else []
        self.conv_block = nn.Sequential(*layers)

    def forward(self, value: Any) -> Any:
        return value + self.conv_block(value)


class Generator(nn.Module):  # type: ignore[misc, name-defined]
    """The generator, with the layer names of its checkpoints."""

    def __init__(
        self, blocks: int, ngf: int, channels: tuple[int, int], kind: str, dropout: bool = False
    ) -> None:
        super().__init__()
        norm, bias = norm_layer(kind), kind != "batch"
        layers: list[Any] = [nn.ReflectionPad2d(3), nn.Conv2d(channels[0], ngf, 7, bias=bias)]
        layers += [norm(ngf), nn.ReLU()]
        for wide in (ngf, 2 * ngf):
            layers.append(nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1, bias=bias))
            layers += [norm(2 * wide), nn.ReLU()]
        layers += [Block(4 * ngf, norm, bias, dropout) for _ in range(blocks)]
        for wide in (4 * ngf, 2 * ngf):
            layers.append(
                nn.ConvTranspose2d(
                    wide, wide // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
                )
            )
            layers += [norm(wide // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, channels[1], 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, value: Any) -> Any:
        return self.model(value)


def fresh(seed: int, *shape: Any, **more: Any) -> Any:
    """Return a generator with random weights and random batch-norm statistics."""
    torch.manual_seed(seed)
    made = Generator(*shape, **more)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return made.eval()


def saved(path: Path, state: Any, prefix: str = "", **how: Any) -> Path:
    torch.save({prefix + name: value for name, value in state.items()}, path, **how)
    return path


def answer(generator: Any, picture: Luma, channels: int) -> Floats:
    values = picture.astype(np.float32)[None, None] / 127.5 - 1
    with torch.no_grad():
        made: Floats = generator(torch.from_numpy(np.repeat(values, channels, axis=1))).numpy()
    return made


def pictures(side: int) -> list[Luma]:
    """Return pictures with contrast: one that the exporter does not use, and two that it does."""
    random = np.random.default_rng(17)
    noise = random.integers(0, 256, (side, side), np.uint8)
    return [noise, *sample_pictures(side, side)[:2]]


ARCHITECTURES = [
    pytest.param(9, 64, (3, 3), "instance", False, "", 64, id="resnet_9blocks, as published"),
    pytest.param(6, 64, (3, 3), "instance", True, "module.", 48, id="resnet_6blocks, dropout"),
    pytest.param(9, 64, (3, 3), "batch", True, "", 48, id="resnet_9blocks, batch norm"),
    pytest.param(6, 32, (1, 1), "instance", False, "module.", 128, id="grey"),
    pytest.param(9, 32, (3, 1), "batch", False, "", 64, id="colour to grey, batch norm"),
    pytest.param(6, 16, (1, 3), "batch", False, "module.", 64, id="grey to colour"),
    pytest.param(9, 16, (3, 3), "old instance", False, "", 64, id="of an early PyTorch"),
    pytest.param(6, 16, (3, 3), "affine", False, "", 64, id="affine instance norm"),
]


@pytest.mark.parametrize(
    ("blocks", "ngf", "channels", "norm", "dropout", "prefix", "side"), ARCHITECTURES
)
def test_artifacts_give_the_outputs_of_pytorch(  # noqa: PLR0917
    tmp_path: Path, blocks: int, ngf: int, channels: tuple[int, int], norm: str, dropout: bool,
    prefix: str, side: int,
) -> None:  # fmt: skip
    generator = fresh(blocks * ngf, blocks, ngf, channels, norm, dropout=dropout)
    if norm == "old instance":  # it saved statistics and never used them
        state = generator.state_dict()
        plain = Generator(blocks, ngf, channels, "instance").eval()
        plain.load_state_dict(state, strict=False)
    else:
        state, plain = generator.state_dict(), generator
    weights = saved(tmp_path / "latest_net_G_A.pth", state, prefix)
    out = tmp_path / "net"
    manifest = export_cyclegan(
        weights,
        out,
        size=(side, side),
        mono=channels[0] == 3,
        options=ExportOptions(formats=("onnx", "tflite")),
    )
    assert verify(out) == []
    options = manifest.exporter.options
    known = "batch" if norm == "batch" else "instance"
    assert (options["blocks"], options["filters"], options["norm"]) == (blocks, ngf, known)
    for artifact in ("generator.onnx", "generator.tflite"):
        network = open_network(out, task="spectrum-translation", artifact=artifact)
        for picture in pictures(side):
            made = network.run(picture[None])["picture"]
            known_picture = answer(plain, picture, channels[0])
            assert made.shape == known_picture.shape
            assert np.abs(made - known_picture).max() <= 2e-3, artifact


def test_without_mono_the_input_keeps_three_channels(tmp_path: Path) -> None:
    generator = fresh(4, 6, 8, (3, 3), "instance")
    weights = saved(tmp_path / "g.pth", generator.state_dict())
    export_cyclegan(
        weights, tmp_path / "net", size=(64, 64), options=ExportOptions(formats=("onnx", "tflite"))
    )
    for artifact in ("generator.onnx", "generator.tflite"):
        network = open_network(tmp_path / "net", task="spectrum-translation", artifact=artifact)
        colour = np.random.default_rng(2).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
        turned = artifact.endswith("tflite")
        given = np.ascontiguousarray(colour.transpose(0, 2, 3, 1)) if turned else colour
        (made,) = network.session.run(given).values()
        with torch.no_grad():
            known = generator(torch.from_numpy(colour)).numpy()
        made = made.transpose(0, 3, 1, 2) if turned else made
        assert np.abs(made - known).max() <= 2e-3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("opset", "norm"), [(9, "instance"), (11, "batch"), (17, "instance")])
def test_onnx_files_exported_by_pytorch_are_accepted(tmp_path: Path, opset: int, norm: str) -> None:
    generator = fresh(opset, 6, 8, (3, 3), norm)
    source = tmp_path / "experiment1_2_NIR2VIS.onnx"
    torch.onnx.export(
        generator, torch.zeros(1, 3, 64, 64), source, opset_version=opset, dynamo=False,
        input_names=["real_A"], output_names=["fake_B"],
    )  # fmt: skip
    out = tmp_path / "net"
    export_cyclegan(
        source, out, size=(96, 96), mono=True, options=ExportOptions(formats=("onnx", "tflite"))
    )
    for artifact in ("generator.onnx", "generator.tflite"):
        network = open_network(out, task="spectrum-translation", artifact=artifact)
        for picture in pictures(96):
            made = network.run(picture[None])["picture"]
            assert np.abs(made - answer(generator, picture, 3)).max() <= 2e-3


def test_old_and_new_file_formats_and_half_precision_are_read(tmp_path: Path) -> None:
    state = fresh(5, 6, 4, (3, 3), "instance").state_dict()
    new = saved(tmp_path / "new.pth", state)
    old = saved(tmp_path / "old.pth", state, _use_new_zipfile_serialization=False)
    one, other = (read_state(path, path.read_bytes()) for path in (new, old))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    half = saved(tmp_path / "half.pth", {name: each.half() for name, each in state.items()})
    rounded = read_state(half, half.read_bytes())
    assert {str(each.dtype) for each in rounded.values()} == {"float32"}


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    weights = saved(tmp_path / "g.pth", fresh(6, 6, 4, (3, 3), "batch").state_dict())
    made = []
    for folder in ("one", "two"):
        out = tmp_path / folder / "net"
        export_cyclegan(
            weights,
            out,
            size=(64, 64),
            mono=True,
            options=ExportOptions(formats=("onnx", "tflite")),
        )
        made.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in b"".join(made[0].values())


# -- files that are refused -----------------------------------------------------------------------


class FileOnUnpickle:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def discriminator() -> Any:
    layers: list[Any] = [nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(8, 16, 4, 2, 1), nn.InstanceNorm2d(16), nn.LeakyReLU(0.2)]
    return nn.ModuleDict({"model": nn.Sequential(*layers, nn.Conv2d(16, 1, 4, 1, 1))})


def unet() -> Any:
    inner = nn.ModuleDict({"model": nn.Sequential(nn.LeakyReLU(), nn.Conv2d(8, 8, 4, 2, 1))})
    outer = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), inner, nn.ConvTranspose2d(8, 3, 4, 2, 1))
    return nn.ModuleDict({"model": nn.ModuleDict({"model": outer})})


def whole_file(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def cut_off(path: Path) -> Path:
    whole_file(path, fresh(5, 6, 4, (3, 3), "instance").state_dict())
    path.write_bytes(path.read_bytes()[:-500])
    return path


def scripted(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8)), path)
    return path


def wrapped(path: Path) -> Path:
    return whole_file(path, {"epoch": 3, "state_dict": {"model.1.weight": torch.zeros(4)}})


def sparse(path: Path) -> Path:
    return whole_file(path, {"model.1.weight": torch.eye(4).to_sparse()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (cut_off, "not a PyTorch checkpoint, or damaged"),
        (
            lambda path: whole_file(path, {"a": FileOnUnpickle(path.with_name("touched"))}),
            "objects",
        ),
        (lambda path: whole_file(path, fresh(1, 1, 4, (3, 3), "instance")), "Python objects"),
        (scripted, "checkpoint"),
        (wrapped, "'epoch' is a int"),
        (sparse, "not a plain tensor"),
        (lambda path: whole_file(path, {}), "holds an empty dict"),
        (lambda path: whole_file(path, [torch.zeros(3)]), "holds a list"),
        (lambda path: whole_file(path, torch.zeros(3)), "holds a Tensor"),
        (lambda path: whole_file(path, {1: torch.zeros(3)}), "'1' is a Tensor"),
        (lambda path: whole_file(path, discriminator().state_dict()), "of a discriminator"),
        (lambda path: whole_file(path, unet().state_dict()), "of a U-Net generator"),
        (lambda path: whole_file(path, nn.Linear(3, 3).state_dict()), "no convolution model.1"),
        (lambda path: path.write_bytes(b"PK\x03\x04") and path, "not a PyTorch checkpoint"),
        (lambda path: path.write_bytes(b"\x80\x02") and path, "PyTorch checkpoint, or damaged"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, refuse: Callable[..., str], make: Callable[[Path], Path], complaint: str
) -> None:
    assert complaint in refuse(make(tmp_path / "latest_net_G.pth"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_never_causes_a_traceback(tmp_path: Path, zipped: bool) -> None:
    """Truncated anywhere, or with changed bytes: refused in one line, or read as weights."""
    buffer = io.BytesIO()
    state = {name: torch.from_numpy(each) for name, each in random_state(1, 2).items()}
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    whole, random = buffer.getvalue(), np.random.default_rng(4)
    messages: list[str] = []
    for attempt in range(300):
        content = bytearray(whole)
        if attempt % 3 == 0:
            del content[int(random.integers(1, len(whole))) :]
        else:
            for place in random.integers(0, len(whole) if attempt % 2 else 2000, 4):
                content[place] ^= int(random.integers(1, 256))
        try:
            read_state(Path("g.pth"), bytes(content))
        except ModelError as error:
            messages.append(str(error))
    assert not any("\n" in each for each in messages)
    assert len(messages) > 100


def test_int8_over_its_limit_is_written_only_if_allowed(
    tmp_path: Path, nir_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights the parity varies, so the limit is set out of reach."""
    monkeypatch.setattr(cyclegan, "TRANSLATION_LIMITS", dict.fromkeys(LIMITED, Limit(at_least=99)))
    weights = saved(tmp_path / "g.pth", fresh(7, 6, 8, (3, 3), "instance").state_dict())
    arguments = [
        *("cyclegan", "--weights", str(weights), "--out", str(tmp_path / "net"), "--mono"),
        *("--size", "64x64", "--formats", "onnx,tflite", "--precisions", "int8"),
        *("--calibration", str(nir_faces / "images")),
    ]
    assert main(arguments) == 1
    assert not (tmp_path / "net").exists()
    assert main([*arguments, "--allow-parity-loss"]) == 0
    manifest = load_manifest(tmp_path / "net")
    assert manifest.calibration is not None
    for file in ("generator.int8.onnx", "generator.int8.tflite"):
        parity = manifest.parity[file]
        assert not parity.passed
        assert set(parity.limits) == set(LIMITED)
        assert 25 < parity.metrics["psnr_db"] < 99
        assert 0.9 < parity.metrics["ssim"] < 1
        with pytest.raises(ModelError, match="parity failed"):
            open_network(tmp_path / "net", task="spectrum-translation", artifact=file)
    with pytest.raises(ModelError, match="no artifact passed parity"):
        open_network(tmp_path / "net", task="spectrum-translation")


def test_a_published_generator_gives_the_outputs_of_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained one, of 9 blocks named ``block``, with affine instance norm (vintagify, MIT)."""
    weights = unpacked("vintagify", "resources/G_A2B_epoch33.pth", tmp_path)
    code = unpacked("vintagify", "vintagify/generator.py", tmp_path)
    monkeypatch.syspath_prepend(str(code.parent))
    import generator

    manifest = export_cyclegan(weights, tmp_path / "net", size=(64, 64), mono=True)
    assert manifest.exporter.options["blocks"] == 9
    original = generator.ResnetGenerator()
    original.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    original.eval()
    network = open_network(tmp_path / "net", task="spectrum-translation")
    for picture in sample_pictures(64, 64)[:3]:
        x = torch.from_numpy(picture / 127.5 - 1).float().expand(1, 3, 64, 64)
        with torch.no_grad():
            expected = original(x)[0].numpy()
        found = network.run(picture[None])["picture"][0]
        np.testing.assert_allclose(found, expected, atol=2e-3)
