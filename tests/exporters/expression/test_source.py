"""Metadata of checkpoints: normalisation, crop, licence, size."""

from pathlib import Path

import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.inference import load_manifest
from exporters.artifacts.parity import sample_pictures
from exporters.expression.export import export_expression
from exporters.expression.original import ExpressionOptions
from tests.support.expression_networks import MODELS, OURS, Net, exported, run_original, two_heads


def test_an_artifact_keeps_the_metadata_of_its_folder(tmp_path: Path) -> None:
    bundled = load_manifest(MODELS / "expression-nir")
    made = export_expression(OURS, tmp_path / "expression-nir")
    assert made.input == bundled.input
    assert made.outputs == bundled.outputs
    assert made.source.licence == bundled.source.licence
    assert made.source.citation == bundled.source.citation


def test_metadata_of_the_file_are_used_unless_overridden(tmp_path: Path) -> None:
    net = two_heads(size=20).save(
        tmp_path,
        licence="MIT\n",
        citation="A. N. Other",
        normalisation="standardised",
        margin="0.2",
    )
    manifest = export_expression(net, tmp_path / "net")
    assert (manifest.source.licence, manifest.source.citation) == ("MIT", "A. N. Other")
    assert manifest.input.value_range == (0, 1)
    assert manifest.exporter.options["normalisation"] == "standardised"
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0.2
    # an artifact that was exported has no metadata: its folder says the same
    again = export_expression(tmp_path / "net" / "expression.onnx", tmp_path / "again")
    assert again.input == manifest.input
    assert again.source.licence == "MIT"
    assert again.source.citation == "A. N. Other"
    overridden = export_expression(
        net,
        tmp_path / "other",
        overrides=ExpressionOptions(
            normalisation="none", value_range=(-1, 1), margin=0.0, licence="mine", citation="me"
        ),
    )
    assert (overridden.source.licence, overridden.source.citation) == ("mine", "me")
    assert overridden.input.normalisation.kind == "none"
    assert overridden.input.value_range == (-1, 1)
    assert overridden.input.crop is not None
    assert overridden.input.crop.margin == 0


def test_a_mono_network_with_our_heads_is_standardised(tmp_path: Path) -> None:
    """Its channels and output names suffice; the size may be another one."""
    net = Net(channels=1, size=48).body().head("logits", 8).head("affect", 2)
    manifest = export_expression(net.save(tmp_path), tmp_path / "net")
    assert manifest.input.shape == (1, 1, 48, 48)
    assert manifest.exporter.options["normalisation"] == "standardised"
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0.05
    network, picture = exported(tmp_path), sample_pictures(48, 48)[1]
    values = picture.astype(np.float64) / 255
    values = (values - values.mean()) / (values.std() + 0.05)
    logits, affect = run_original(net.model(), values[None, None], ["logits", "affect"])
    heads = network.run(picture[None])
    np.testing.assert_allclose(
        heads["expression"], np.exp(logits) / np.exp(logits).sum(), atol=1e-5
    )
    np.testing.assert_allclose(heads["affect"], 1 / (1 + np.exp(-affect)), atol=1e-5)


def test_a_network_of_free_size_needs_a_size(tmp_path: Path) -> None:
    net = two_heads()
    net.shape = ["n", 3, "height", "width"]
    path = net.save(tmp_path)
    with pytest.raises(ModelError, match="leaves the size of its input open; give --size"):
        export_expression(path, tmp_path / "net")
    manifest = export_expression(path, tmp_path / "net", size=(40, 40))
    assert manifest.input.shape == (1, 3, 40, 40)
    assert manifest.exporter.options["size"] == "40x40"
    with pytest.raises(ModelError, match=r"--size 10x10: .* takes 24x24; leave --size out"):
        export_expression(two_heads().save(tmp_path), tmp_path / "net", size=(10, 10))
