"""Converts the pipeline's results to the models of the link and the wire."""

from edge.link import FrameReport
from edge.protocol.messages import Face
from edge.vision.values import FaceState, FrameState
from edge.vocabulary import EXPRESSIONS


def face_message(face: FaceState) -> Face:
    """Return ``face`` as the wire model."""
    box = face.track.detection.box
    quality = face.quality
    expression = affect = None
    if face.prediction is not None and face.smoothed is not None:
        probabilities = face.prediction.probabilities.tolist()
        expression = {
            "label": EXPRESSIONS[probabilities.index(max(probabilities))],
            "probabilities": dict(zip(EXPRESSIONS, probabilities, strict=True)),
            "stable_label": face.smoothed.stable_label,
        }
        affect = {
            "valence": face.prediction.affect.valence,
            "arousal": face.prediction.affect.arousal,
            "smoothed": {
                "valence": face.smoothed.affect.valence,
                "arousal": face.smoothed.affect.arousal,
            },
        }
    return Face.model_validate(
        {
            "track": face.track.id,
            "seat": face.seat,
            "box": [box.x, box.y, box.width, box.height],
            "landmarks": face.track.detection.landmarks.tolist(),
            "score": face.track.detection.score,
            "age_s": face.track.age_s,
            "quality": {
                "usable": quality.usable,
                "reasons": list(quality.reasons),
                "size_px": quality.size_px,
                "sharpness": quality.sharpness,
                "brightness": quality.brightness,
                "saturated": quality.saturated,
                "yaw": quality.yaw_deg,
            },
            "expression": expression,
            "affect": affect,
        }
    )


def frame_report(state: FrameState) -> FrameReport:
    """Return the results of a frame as the report for the hub."""
    frame = state.frame
    return FrameReport(
        index=frame.index,
        width=frame.width,
        height=frame.height,
        sensor_ns=frame.sensor_ns,
        clock=frame.clock,
        exposure_us=frame.exposure_us,
        file=frame.file,
        page=frame.page,
        captured_ns=frame.captured_ns,
        stage_ms={"capture": frame.capture_ms, **state.stage_ms},
        faces=[face_message(face) for face in state.faces],
        ignored=state.ignored,
    )
