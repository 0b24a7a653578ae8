"""A CycleGAN generator, NIR -> visible light -> a model folder for the daemon.

Takes ``latest_net_G*.pth`` of the public PyTorch code (see ``exporters.generator``) or a generator
that is ONNX already. What changes, and why the pictures do not: batch-norms go into the
convolutions before them, transposed convolutions become convolutions that runtimes can run in
int8 (``exporters.upsampling``), and for mono pictures the first convolution is summed over its
three equal channels. Colour that the generator gives stays; the daemon takes its luma.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import edge
from edge.errors import ModelError
from edge.expression.crop import square_crop
from edge.golden import cell_levels, golden_picture, translation_findings
from edge.models.manifest import (
    Exporter,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Source,
    TranslationGolden,
)
from edge.models.runtimes import OnnxSession
from edge.translate.cyclegan import CycleGan, luma_of
from edge.values import Box, Floats, Luma
from exporters import graph
from exporters.artifact import prove_and_write, unmeasured
from exporters.build import build_artifacts, check_tools
from exporters.checkpoint import is_checkpoint, read_state
from exporters.generator import INPUT, OUTPUT, build, read_layout
from exporters.onnx_generator import read_generator
from exporters.parity import measure, sample_pictures
from exporters.upsampling import rewrite_transposed

SIDE_MIN, SIDE_MAX = 16, 1024

_LIMITS: Final = {"picture": 2e-3}
"""Largest error of a value of a float artifact, of -1..1."""

_BOX: Final = (123.1, 38.9, 151.0, 151.0)
"""The square around the face in the golden picture, x, y, width, height."""

_CELLS: Final = (8, 8)
_LEVEL_MAX: Final = 6.0
_LEVEL_SHARES: Final = {False: (0.3, 1 / 8), True: (2.0, 1 / 2)}
"""Whether there are int8 artifacts -> grey levels that the golden face may be off by on the mean:
at least the first, up to that share of what its cells differ by, and at most ``_LEVEL_MAX``. A
picture turned over differs by about as much as the cells do."""

_CITATION: Final = (
    "J.-Y. Zhu, T. Park, P. Isola, A. A. Efros: Unpaired Image-to-Image Translation using"
    " Cycle-Consistent Adversarial Networks, ICCV 2017"
)
_LICENCE: Final = "not stated in the file; ask whoever trained it"


@dataclass(frozen=True, slots=True)
class _Original:
    """The generator as it came: the graph, and what the manifest says of it."""

    model: Any
    input: str
    output: str
    channels: int
    sha256: str
    options: dict[str, str | int | float | bool]


def export_cyclegan(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int] = (256, 256),
    mono: bool = False,
    formats: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = ("fp32",),
    allow_parity_loss: bool = False,
) -> Manifest:
    """Write the model folder ``out`` from a generator; return its manifest.

    Args:
        weights: ``latest_net_G*.pth``, or an ONNX file with one NCHW input and output of -1..1.
        out: folder to write; its name becomes the model's.
        size: width and height of the pictures, equal, multiples of 4 pixels.
        mono: one grey input channel instead of three.
        formats: some of ``exporters.build.FORMATS``.
        precisions: some of ``exporters.build.PRECISIONS``.
        allow_parity_loss: write artifacts that miss their limit, too.

    Raises:
        ModelError: an option or the file does not fit; one line.
    """
    width, height = size
    if width != height or width % 4 or not SIDE_MIN <= width <= SIDE_MAX:
        raise ModelError(
            f"--size {width}x{height}: expected a square, as faces are cut out, of a multiple of 4"
            f" from {SIDE_MIN} to {SIDE_MAX} pixels, such as 256x256"
        )
    check_tools(formats, precisions, calibrated=False)
    original = _read(weights, size)
    session = _opened(original, weights)
    contents = build_artifacts(
        _converted(original, size, mono), stem="generator", formats=formats, precisions=precisions
    )
    draft = Manifest(
        name=out.name,
        task="spectrum-translation",
        decoder="cyclegan",
        artifacts=tuple(contents),
        input=Input(
            name=original.input,
            shape=(1, 1 if mono else original.channels, height, width),
            layout="nchw",
            dtype="float32",
            colour="mono" if mono or original.channels == 1 else "rgb",
            value_range=(-1.0, 1.0),
            normalisation=NoNormalisation(kind="none"),
        ),
        outputs={"picture": Output(tensor=original.output)},
        source=Source(
            file=weights.name, sha256=original.sha256, licence=_LICENCE, citation=_CITATION
        ),
        exporter=Exporter(
            version=edge.__version__,
            options={"size": f"{width}x{height}", "mono": mono, **original.options},
        ),
        parity={artifact.file: unmeasured(_LIMITS) for artifact in contents},
        golden=_golden(session, original, int8="int8" in precisions),
    )
    return prove_and_write(
        out,
        draft,
        {artifact.file: content for artifact, content in contents.items()},
        parity=lambda network: measure(
            (
                ({"picture": _reference(session, original, picture)}, network.run(picture[None]))
                for picture in _lively(sample_pictures(width, height))
            ),
            _LIMITS,
        ),
        findings=lambda network: translation_findings(CycleGan(network)),
        allow_parity_loss=allow_parity_loss,
    )


def _read(weights: Path, size: tuple[int, int]) -> _Original:
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise ModelError(
            f"--weights {weights}: {error.strerror}; expected latest_net_G*.pth or an ONNX file"
        ) from error
    if not is_checkpoint(content):
        found = read_generator(weights, size)
        return _Original(
            found.model, found.input, found.output, found.channels, found.sha256, {"from": "onnx"}
        )
    state = read_state(weights, content)
    try:
        layout = read_layout(state)
    except ModelError as error:
        raise ModelError(f"--weights {weights}: {error}") from error
    options: dict[str, str | int | float | bool] = {
        "from": "pytorch",
        "blocks": layout.blocks,
        "filters": layout.filters,
        "norm": layout.norm,
    }
    return _Original(
        build(state, layout, size), INPUT, OUTPUT, layout.input_channels,
        hashlib.sha256(content).hexdigest(), options,
    )  # fmt: skip


def _opened(original: _Original, weights: Path) -> OnnxSession:
    """Return the generator as it came, running."""
    try:
        return OnnxSession(graph.finish(original.model), 1)
    except ModelError as error:
        raise ModelError(f"--weights {weights}: {error}") from error


def _converted(original: _Original, size: tuple[int, int], mono: bool) -> bytes:
    model = copy.deepcopy(original.model)
    graph.fold_batch_norms(model)
    rewrite_transposed(model)
    if mono and original.channels == 3:
        graph.fold_to_mono(model, _behind_padding(model, original.input))
        graph.fix_shapes(model, {original.input: (1, 1, size[1], size[0])})
    graph.name_nodes(model)
    return graph.finish(model)


def _behind_padding(model: Any, name: str) -> str:
    """Return the tensor that reaches the first convolution: the input, or the input padded."""
    users = [node for node in model.graph.node if name in node.input]
    if len(users) == 1 and users[0].op_type == "Pad":
        return _behind_padding(model, users[0].output[0])
    return name


def _lively(pictures: Sequence[Luma]) -> list[Luma]:
    """Return the pictures that show anything.

    An instance norm divides by the spread of its input, and a picture of one level has none: there
    a generator only makes rounding errors larger, its own as well as an artifact's.
    """
    return [picture for picture in pictures if picture.min() < picture.max()]


def _reference(session: OnnxSession, original: _Original, picture: Luma) -> Floats:
    """Return what the generator, as it came, makes of a mono picture: (1, channels, h, w)."""
    tensor = picture.astype(np.float32) / np.float32(127.5) - 1
    planes = np.repeat(tensor[None, None], original.channels, axis=1)
    return session.run(planes)[original.output]


def _golden(session: OnnxSession, original: _Original, *, int8: bool) -> TranslationGolden:
    """Return what the generator as it came, not the artifact, makes of the golden face."""
    picture, digest = golden_picture()
    ((_, _, height, width),) = (shape for shape, _ in session.inputs.values())
    face = square_crop(picture, Box(*_BOX), (width, height), 0.0)
    least, share = _LEVEL_SHARES[int8]
    levels = cell_levels(luma_of(_reference(session, original, face)[0]), _CELLS)
    return TranslationGolden(
        kind="translation",
        picture_sha256=digest,
        box=_BOX,
        levels=tuple(tuple(round(float(level), 1) for level in row) for row in levels),
        level_max=round(min(_LEVEL_MAX, max(least, share * float(levels.std()))), 2),
    )
