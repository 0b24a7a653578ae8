"""``python -m benchmarks mesh``: head pose and lids of faces that were turned by a known angle.

Each face is turned in steps, and its lids are closed in steps (``evaluation.turned_faces``). The
pose of the photograph itself is what the network measured in it, so that the errors are those of
changes of pose. ``faces[].quality.yaw``, from the five landmarks of the
detector, is compared.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import measurement_conditions
from benchmarks.evaluation.pictures import faces_in, photographs, read_picture
from benchmarks.evaluation.turned_faces import Doubles, FaceModel, rotation
from edge.clock import Stopwatch
from edge.config import Config, DemoSource
from edge.errors import ConfigError
from edge.vision.detect import Detector, open_detector
from edge.vision.mesh import open_mesh
from edge.vision.mesh.network import FaceMeshNetwork
from edge.vision.quality import yaw
from edge.vision.sources import open_source
from edge.vision.values import Detection, Luma, Mesh

_YAWS: Final = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)
_TILTS: Final = ((0.0, 0.0), (-20.0, 0.0), (20.0, 0.0), (0.0, -15.0), (0.0, 15.0))  # pitch, roll
_LIDS: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
_FRONTAL_DEG: Final = 20.0
"""Faces that are turned further already are left out: a picture shows too little of one side."""


def add_mesh(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mesh``."""
    command.add_argument(
        "--images", type=Path, metavar="DIR", help="photographs; else the demo clip"
    )
    add_result_file(command)
    add_configuration(command)


def mesh_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_mesh`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_mesh``.
    """
    config = configuration_of(arguments)
    with Console(stderr=True).status("mesh") as status:
        return run_mesh(config, images=arguments.images, progress=status.update)


def run_mesh(
    config: Config, *, images: Path | None, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Return the errors of the pose by yaw, and the openness of the eyes by that of the lids.

    Args:
        config: the detector, and the mesh network.
        images: folder of photographs with faces; None: the first picture of the demo clip.
        progress: called with a line before each photograph.

    Raises:
        ConfigError: a photograph cannot be read, or none shows a frontal face.
        ModelError: a network cannot be trusted.
        InferenceError: a network fails.
    """
    mesh_on = config.mesh.model_copy(update={"enabled": True})
    config = config.model_copy(update={"mesh": mesh_on})
    conditions = measurement_conditions(config)
    network, detector = open_mesh(config.mesh), open_detector(config.detector)
    assert network is not None
    errors: list[list[float]] = []
    openness: list[list[float]] = []
    faces = lost = 0
    for name, luma in _pictures(images, detector):
        progress(name)
        found, _ = _measured(detector, network, luma)
        if found is None or abs(found.yaw_deg) > _FRONTAL_DEG:
            continue
        faces += 1
        model = FaceModel(luma, found.points)
        own = rotation(found.yaw_deg, found.pitch_deg, found.roll_deg)
        for turn, (pitch, roll) in itertools.product(_YAWS, _TILTS):
            mesh, face = _measured(detector, network, model.turned(turn, pitch, roll))
            if mesh is None or face is None or face.landmarks is None:
                lost += 1
                continue
            wanted = _angles(rotation(turn, pitch, roll) @ own)
            measured = mesh.yaw_deg, mesh.pitch_deg, mesh.roll_deg, yaw(face.landmarks)
            differences = np.subtract(measured, (*wanted, wanted[0]))
            errors.append([turn, *differences.tolist()])
        for lids in _LIDS:
            mesh, _ = _measured(detector, network, model.with_lids(lids))
            if mesh is not None:
                openness.append([lids, (mesh.left_eye + mesh.right_eye) / 2])
    if not faces:
        raise ConfigError(f"--images {images}: no photograph shows a frontal face")
    return {
        "faces": faces,
        "lost": lost,
        "pose_error_deg": _pose_rows(np.array(errors)),
        "openness_by_lids": _lid_rows(np.array(openness)),
        "network": network.info.artifact,
        **conditions,
    }


def show_mesh(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``mesh``."""
    table = Table(
        "turned by", "pictures", "yaw", "pitch", "roll", "quality.yaw", title=result["command"],
        title_justify="left", caption="error in degrees, median / 90 % of pictures",
    )  # fmt: skip
    for row in result["pose_error_deg"]:
        cells = (f"{row[name][0]:.1f} / {row[name][1]:.1f}" for name in _FIGURES)
        turn = "all" if row["turn"] is None else f"{row['turn']:+.0f}"
        table.add_row(turn, str(row["pictures"]), *cells)
    console.print(table)
    for row in result["openness_by_lids"]:
        console.print(
            f"lids at {row['lids']:.2f}: eyes {row['median']:.2f} open (5 to 95 %:"
            f" {row['low']:.2f} to {row['high']:.2f})",
            highlight=False,
        )
    console.print(f"faces: {result['faces']}; turned ones that were not found: {result['lost']}")


_FIGURES: Final = ("yaw", "pitch", "roll", "quality_yaw")


def _pictures(images: Path | None, detector: Detector) -> Iterator[tuple[str, Luma]]:
    if images is None:
        with open_source(DemoSource(), small_size=detector.input_size) as source:
            frame = source.read()
        if frame is not None:
            yield "demo clip", frame.luma
        return
    for path in photographs(images):
        yield path.name, read_picture(path)


def _measured(
    detector: Detector, network: FaceMeshNetwork, luma: Luma
) -> tuple[Mesh | None, Detection | None]:
    found = faces_in(detector, luma)
    if not found:
        return None, None
    face = max(found, key=lambda each: each.box.height)
    return network.measure(luma, face, Stopwatch()), face


def _angles(matrix: Doubles) -> tuple[float, float, float]:
    """Return yaw, pitch and roll of a rotation, degrees: the inverse of ``rotation``."""
    x, y, z = (-matrix[:, 2]).tolist()  # where the nose points
    return (
        float(np.degrees(np.arctan2(x, -z))),
        float(np.degrees(np.arcsin(-y))),
        float(np.degrees(np.arctan2(matrix[1, 0], matrix[1, 1]))),
    )


def _pose_rows(errors: Doubles) -> list[dict[str, Any]]:
    rows = []
    for turn in (*_YAWS, None):
        chosen = np.abs(errors if turn is None else errors[errors[:, 0] == turn])[:, 1:]
        if len(chosen):
            figures = np.percentile(chosen, (50, 90), axis=0).T.round(2).tolist()
            rows.append(
                {"turn": turn, "pictures": len(chosen), **dict(zip(_FIGURES, figures, strict=True))}
            )
    return rows


def _lid_rows(openness: Doubles) -> list[dict[str, float]]:
    rows = []
    for lids in _LIDS:
        eyes = openness[openness[:, 0] == lids, 1]
        if len(eyes):
            low, middle, high = np.percentile(eyes, (5, 50, 95)).round(3).tolist()
            rows.append({"lids": lids, "median": middle, "low": low, "high": high})
    return rows
