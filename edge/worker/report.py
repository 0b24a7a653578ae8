"""Converts the pipeline's results to the report of the link, with the faces as they are published.

The hub, which does not trust a worker, checks the bytes.
"""

from edge.config import MeshConfig
from edge.link import FrameReport
from edge.vision.face_message import MESH_OFF, faces_json
from edge.vision.values import FrameState


def frame_report(state: FrameState, mesh: MeshConfig = MESH_OFF) -> FrameReport:
    """Return the results of a frame as the report for the hub.

    ``mesh``: which parts of a mesh it holds.
    """
    frame = state.frame
    return FrameReport(
        index=frame.index,
        width=frame.width,
        height=frame.height,
        ignored=state.ignored,
        sensor_ns=frame.sensor_ns,
        captured_ns=frame.captured_ns,
        clock=frame.clock,
        exposure_us=frame.exposure_us,
        file=frame.file,
        page=frame.page,
        stage_ms={"capture": frame.capture_ms, **state.stage_ms},
        faces_json=faces_json(state.faces, mesh),
    )
