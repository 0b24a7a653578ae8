"""Agreement of one pipeline's faces with another's over the frames of scenes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.metrics import ccc
from edge.vision.values import FaceState

_SAME: Final = 0.5  # lowest overlap at which a face counts as found
_LEAD_MIN: Final = 0.05  # below it the label of the reference itself is a matter of chance

Points = NDArray[np.float64]


class FaceAgreement:
    """Compares faces frame by frame with those of a reference; a scene is a row of frames."""

    def __init__(self) -> None:
        self._overlaps: list[float] = []  # of each face of the reference; 0: not found
        self._extra = 0
        self._labels: list[bool] = []
        self._affect: list[tuple[float, float, float, float]] = []
        self._jitter: list[float] = []
        self._switches = 0
        self._delays_s: list[float] = []
        self.end_scene()

    def end_scene(self) -> None:
        """Begin another scene: tracks do not continue."""
        self._ids: dict[int, int] = {}
        self._first_s: dict[int, float] = {}
        self._landmarks: dict[int, list[Points | None]] = defaultdict(list)

    def add(
        self, time_s: float, reference: Sequence[FaceState], faces: Sequence[FaceState]
    ) -> None:
        """Compare the faces of a frame, taken at ``time_s``."""
        pairs = _pairs(reference, faces)
        self._extra += len(faces) - len(pairs)
        for known in reference:
            track = known.track.id
            self._first_s.setdefault(track, time_s)
            found, overlap = pairs.get(track, (None, 0.0))
            self._overlaps.append(overlap)
            self._add_landmarks(known, found)
            if found is None:
                continue
            if track not in self._ids:
                self._delays_s.append(time_s - self._first_s[track])
            self._switches += self._ids.get(track, found.track.id) != found.track.id
            self._ids[track] = found.track.id
            self._add_expression(known, found)

    def _add_landmarks(self, known: FaceState, found: FaceState | None) -> None:
        """Note the second difference of the landmarks, in widths of the face."""
        history = self._landmarks[known.track.id]
        marks = None if found is None else found.track.detection.landmarks
        history.append(None if marks is None else marks.astype(float))
        del history[:-3]
        if len(history) == 3 and all(each is not None for each in history):
            before, now, after = (np.asarray(each) for each in history)
            change = np.linalg.norm(after - 2 * now + before, axis=1).mean()
            self._jitter.append(float(change) / known.track.detection.box.width)

    def _add_expression(self, known: FaceState, found: FaceState) -> None:
        if known.smoothed is None or known.prediction is None or found.smoothed is None:
            return
        first, second = np.sort(known.prediction.probabilities)[:-3:-1]
        if first - second > _LEAD_MIN:
            self._labels.append(known.smoothed.stable_label == found.smoothed.stable_label)
        one, other = known.smoothed.affect, found.smoothed.affect
        self._affect.append((one.valence, other.valence, one.arousal, other.arousal))

    def figures(self) -> dict[str, Any]:
        """Return the figures; None where no face gives one."""
        overlaps, affect = np.array(self._overlaps), np.array(self._affect).reshape(-1, 4)
        found = overlaps[overlaps >= _SAME]
        return {
            "faces": len(overlaps),
            "recall": float(np.mean(overlaps >= _SAME)) if len(overlaps) else None,
            "iou_mean": float(found.mean()) if len(found) else None,
            "extra_faces": self._extra,
            "landmark_jitter": (
                float(np.sqrt(np.mean(np.square(self._jitter)))) if self._jitter else None
            ),
            "identity_switches": self._switches,
            "stable_label": float(np.mean(self._labels)) if self._labels else None,
            "valence_ccc": ccc(affect[:, 1], affect[:, 0]) if len(affect) else None,
            "arousal_ccc": ccc(affect[:, 3], affect[:, 2]) if len(affect) else None,
            "delay_max_s": max(self._delays_s, default=None),
        }


def _pairs(
    reference: Sequence[FaceState], faces: Sequence[FaceState]
) -> dict[int, tuple[FaceState, float]]:
    """Return track of the reference -> (the face that overlaps it, the overlap), best first."""
    overlaps = [
        (known.track.detection.box.iou(face.track.detection.box), known.track.id, number)
        for known in reference
        for number, face in enumerate(faces)
    ]
    pairs: dict[int, tuple[FaceState, float]] = {}
    used: set[int] = set()
    for overlap, track, number in sorted(overlaps, reverse=True):
        if overlap >= _SAME and track not in pairs and number not in used:
            pairs[track] = (faces[number], overlap)
            used.add(number)
    return pairs
