"""CycleGAN generators with random weights: PyTorch state dicts, files, model folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.artifacts.driver import ExportOptions
from exporters.cyclegan.export import export_cyclegan
from exporters.cyclegan.layout import build, read_layout


def random_state(  # noqa: PLR0917
    blocks: int = 6,
    filters: int = 4,
    channels: tuple[int, int] = (3, 3),
    norm: str = "instance",
    dropout: bool = False,
    seed: int = 1,
) -> dict[str, Floats]:
    """Return the weights of one generator, scaled so that its output has contrast."""
    random = np.random.default_rng(seed)
    state: dict[str, Floats] = {}

    def layer(name: str, shape: tuple[int, ...], outputs: int, norm_name: str | None) -> None:
        fan_in = np.prod(shape) / outputs
        weight = random.normal(0, np.sqrt(2 / fan_in), shape)
        state[f"{name}.weight"] = weight.astype(np.float32)
        if norm == "instance" or norm_name is None:
            state[f"{name}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
        if norm == "batch" and norm_name is not None:
            for part, low, high in (
                ("weight", 0.3, 0.9), ("bias", -0.3, 0.3),
                ("running_mean", -0.3, 0.3), ("running_var", 0.5, 1.5),
            ):  # fmt: skip
                values = random.uniform(low, high, outputs).astype(np.float32)
                state[f"{norm_name}.{part}"] = values
            state[f"{norm_name}.num_batches_tracked"] = np.array(7, np.int64)

    n, wide, end = filters, 4 * filters, 10 + blocks
    layer("model.1", (n, channels[0], 7, 7), n, "model.2")
    layer("model.4", (2 * n, n, 3, 3), 2 * n, "model.5")
    layer("model.7", (wide, 2 * n, 3, 3), wide, "model.8")
    for block in range(10, end):
        for inner in (1, 6 if dropout else 5):
            name = f"model.{block}.conv_block"
            layer(f"{name}.{inner}", (wide, wide, 3, 3), wide, f"{name}.{inner + 1}")
    layer(f"model.{end}", (wide, 2 * n, 3, 3), 2 * n, f"model.{end + 1}")
    layer(f"model.{end + 3}", (2 * n, n, 3, 3), n, f"model.{end + 4}")
    layer(f"model.{end + 7}", (channels[1], n, 7, 7), channels[1], None)
    return state


def onnx_file(path: Path, size: tuple[int, int] = (64, 64), **state: Any) -> Path:
    """Write a generator of ``random_state(**state)`` as ONNX; return its path."""
    weights = random_state(**state)
    path.write_bytes(graph.finish(build(weights, read_layout(weights), size)))
    return path


def translator_folder(
    folder: Path,
    *,
    side: int = 64,
    mono: bool = True,
    formats: Sequence[str] = ("onnx",),
    **state: Any,
) -> Path:
    """Return a new model folder in ``folder`` with a small generator, made by the exporter."""
    source = onnx_file(folder / "original.onnx", (side, side), **state)
    out = folder / "translator"
    manifest = export_cyclegan(
        source, out, size=(side, side), mono=mono, options=ExportOptions(formats=formats)
    )
    assert all(parity.passed for parity in manifest.parity.values())
    return out
