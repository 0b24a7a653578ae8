"""Multi-face tracking: gives each detection the id of the face that it belongs to.

A Kalman filter per face predicts its box in the new frame. Predicted and measured boxes are
assigned to each other so that the sum of their overlaps is maximal. Time is an argument and all
limits are in seconds, so that the result does not depend on the frame rate, and a recording gives
the same tracks as the live camera did.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.config import TrackingConfig
from edge.vision.values import Box, Detection, Track

Array = NDArray[np.float64]

# Motion model, in units of the face's size, so that it holds for near and far faces.
_SPEED_STD = 1.0  # faces a second; a seated person who leans over reaches about this
_SPEED_MEMORY_S = 1.0  # a head that moves now has mostly stopped a second later
_JITTER_STD = 0.05  # of a face: standard deviation of a detector's box on a still face

# Second assignment, of faces that moved too far to overlap: distance of the centres, in faces.
_REACH_STILL = 0.5
_REACH_PER_S = 3.0
_REACH_MAX = 1.0
_SIZE_RATIO_MAX = 2.0

# Boxes are clipped to these limits before any arithmetic, so that no detector can make a filter
# overflow.
_SIZE_MIN_PX = 1.0
_PIXEL_MAX = 1e7
_LOWEST = np.array([-_PIXEL_MAX, -_PIXEL_MAX, math.log(_SIZE_MIN_PX), math.log(_SIZE_MIN_PX)])
_HIGHEST = np.array([_PIXEL_MAX, _PIXEL_MAX, math.log(_PIXEL_MAX), math.log(_PIXEL_MAX)])


class Tracker:
    """Assigns track ids to detections. Not thread-safe: owned by the detect thread.

    A track is returned from its first detection with a score of ``appear_score`` or more, or else
    after ``appear_s`` of visibility in total. It keeps its id without a detection for up to
    ``vanish_s`` and is not returned meanwhile: only detected faces are reported. Ids start at
    ``first_id`` and are never reused.
    """

    def __init__(self, config: TrackingConfig, *, first_id: int = 1) -> None:
        self._config = config
        self._appear_ns = round(config.appear_s * 1e9)
        self._vanish_ns = round(config.vanish_s * 1e9)
        self._trails: list[_Trail] = []
        self._next_id = first_id
        self._sensor_ns: int | None = None
        self._now_ns = 0  # the sum of all forward steps: a source's clock may restart at 0

    def update(self, detections: Sequence[Detection], sensor_ns: int) -> tuple[Track, ...]:
        """Return the tracks that were detected in this frame, by ascending id.

        Args:
            detections: all faces found in the frame, in any order; the order does not matter.
            sensor_ns: when it was taken. A step backwards or a repetition counts as no elapsed
                time; a gap of more than ``vanish_s`` ends every track.
        """
        before_ns = self._now_ns
        if self._sensor_ns is not None:
            self._now_ns += max(0, sensor_ns - self._sensor_ns)
        self._sensor_ns = sensor_ns
        step_ns = self._now_ns - before_ns

        self._trails = [
            trail for trail in self._trails if self._now_ns - trail.seen_ns <= self._vanish_ns
        ]
        for known in self._trails:
            known.predict(step_ns / 1e9)
        ordered = sorted(detections, key=_canonical)
        measured = np.array([_measure(found.box) for found in ordered]).reshape(-1, 4)

        matched = {column: self._trails[row] for row, column in self._associate(measured)}
        tracks = []
        for column, found in enumerate(ordered):
            if (trail := matched.get(column)) is None:
                trail = _Trail(measured[column], self._now_ns)
                self._trails.append(trail)
            else:
                if trail.seen_ns == before_ns:  # time without a detection does not count
                    trail.visible_ns += step_ns
                trail.correct(measured[column])
                trail.seen_ns = self._now_ns
            if trail.id is None and (
                found.score >= self._config.appear_score or trail.visible_ns >= self._appear_ns
            ):
                trail.id = self._next_id
                self._next_id += 1
            if trail.id is not None:
                age_s = (self._now_ns - trail.born_ns) / 1e9
                tracks.append(Track(id=trail.id, detection=found, age_s=age_s))
        return tuple(sorted(tracks, key=lambda track: track.id))

    def _associate(self, measured: Array) -> list[tuple[int, int]]:
        """Return pairs (index of the trail, index of the measurement)."""
        if not self._trails or not len(measured):
            return []
        predicted = np.array([trail.mean for trail in self._trails])
        overlap = _iou(predicted, measured)
        pairs = assign(np.where(overlap >= self._config.iou_min, overlap, 0.0))

        rows = sorted(set(range(len(predicted))) - {row for row, _ in pairs})
        columns = sorted(set(range(len(measured))) - {column for _, column in pairs})
        if rows and columns:
            unseen_s = [(self._now_ns - self._trails[row].seen_ns) / 1e9 for row in rows]
            again = assign(_closeness(predicted[rows], measured[columns], np.array(unseen_s)))
            pairs += [(rows[row], columns[column]) for row, column in again]
        return pairs


class _Trail:
    """The state of one face: its Kalman filter, and when it was detected.

    The four coordinates (centre x, centre y, log width, log height) have the same noise relative
    to the size of the face. One 2x2 covariance, in units of that size, is therefore enough for all,
    and the gain that follows from it has no unit of length.

    Velocity follows an Ornstein-Uhlenbeck process: locally constant, decaying over
    ``_SPEED_MEMORY_S``. A lost moving face is thus predicted a bounded distance ahead.
    """

    __slots__ = ("_p00", "_p01", "_p11", "_speed", "born_ns", "id", "mean", "seen_ns", "visible_ns")

    def __init__(self, measured: Array, now_ns: int) -> None:
        self.id: int | None = None  # assigned when the track is first returned
        self.born_ns = self.seen_ns = now_ns
        self.visible_ns = 0
        self.mean = measured.copy()
        self._speed = np.zeros(4)
        self._p00, self._p01, self._p11 = _JITTER_STD**2, 0.0, _SPEED_STD**2

    def predict(self, step_s: float) -> None:
        """Predict the state ``step_s`` later; two steps give the same as one of their sum."""
        memory_s = _SPEED_MEMORY_S
        keep = math.exp(-step_s / memory_s)
        reach_s = memory_s * (1.0 - keep)
        self.mean = _bounded(self.mean + reach_s * self._speed)
        self._speed = keep * self._speed
        # the exact covariance of the process (its spectral density gives _SPEED_STD at rest)
        density = 2.0 * _SPEED_STD**2 / memory_s
        spread = memory_s**2 * (step_s - 2.0 * reach_s + memory_s * (1.0 - keep**2) / 2.0)
        p00, p01, p11 = self._p00, self._p01, self._p11
        self._p00 = p00 + 2.0 * reach_s * p01 + reach_s**2 * p11 + density * max(spread, 0.0)
        self._p01 = keep * (p01 + reach_s * p11) + density * reach_s**2 / 2.0
        self._p11 = keep**2 * p11 + density * memory_s * (1.0 - keep**2) / 2.0

    def correct(self, measured: Array) -> None:
        """Update the filter with the measured box."""
        total = self._p00 + _JITTER_STD**2
        innovation = measured - self.mean
        self.mean = _bounded(self.mean + self._p00 / total * innovation)
        self._speed = self._speed + self._p01 / total * innovation
        self._p11 = max(self._p11 - self._p01**2 / total, 0.0)
        self._p01 *= _JITTER_STD**2 / total
        self._p00 *= _JITTER_STD**2 / total


def assign(weights: Array) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with the maximum sum of weights, by ascending row.

    Each row and each column is in at most one pair, and only in pairs of positive weight.

    Args:
        weights: (rows, columns), finite, not negative; 0 forbids the pair.

    The Hungarian algorithm in its shortest-augmenting-path form (Jonker and Volgenant, 1987): at
    most rows^2 x columns steps, few if each row has few candidates.
    """
    rows = np.flatnonzero((weights > 0).any(axis=1))
    columns = np.flatnonzero((weights > 0).any(axis=0))
    if len(rows) > len(columns):
        return sorted((row, column) for column, row in assign(weights.T))
    cost: list[list[float]] = (-weights[np.ix_(rows, columns)]).tolist()
    row_price = [0.0] * len(rows)
    column_price = [0.0] * len(columns)
    owner = [-1] * len(columns)  # row that holds the column; -1 for none

    for start in range(len(rows)):
        distance = [math.inf] * len(columns)
        came_from = [-1] * len(columns)  # column before this one on the shortest path
        done: list[int] = []
        waiting = list(range(len(columns)))
        row, column, travelled = start, -1, 0.0
        while row >= 0:
            for ahead in waiting:
                through = travelled + cost[row][ahead] - row_price[row] - column_price[ahead]
                if through < distance[ahead]:
                    distance[ahead], came_from[ahead] = through, column
            column = min(waiting, key=distance.__getitem__)
            travelled = distance[column]
            waiting.remove(column)
            done.append(column)
            row = owner[column]
        # keep every reduced cost at or above 0, and those of pairs at 0
        row_price[start] += travelled
        for passed in done[:-1]:
            column_price[passed] -= travelled - distance[passed]
            row_price[owner[passed]] += travelled - distance[passed]
        # hand each column on the path to the row before it
        while column >= 0:
            before = came_from[column]
            owner[column] = owner[before] if before >= 0 else start
            column = before
    return sorted(
        (int(rows[row]), int(columns[column]))
        for column, row in enumerate(owner)
        if row >= 0 and cost[row][column] < 0
    )


def _canonical(found: Detection) -> tuple[float, float, float, float, float, bytes]:
    """Return a sort key that depends only on the detection."""
    box = found.box
    return (-found.score, box.x, box.y, box.width, box.height, found.landmarks.tobytes())


def _measure(box: Box) -> Array:
    """Return centre x, centre y, log width, log height."""
    width = min(max(box.width, _SIZE_MIN_PX), _PIXEL_MAX)
    height = min(max(box.height, _SIZE_MIN_PX), _PIXEL_MAX)
    return _bounded(
        np.array([box.x + box.width / 2, box.y + box.height / 2, math.log(width), math.log(height)])
    )


def _bounded(coordinates: Array) -> Array:
    return np.clip(coordinates, _LOWEST, _HIGHEST)


def _iou(first: Array, second: Array) -> Array:
    """Return intersection over union of each of (n, 4) with each of (m, 4) coordinates."""
    centre, half = first[:, None, :2], np.exp(first[:, None, 2:]) / 2
    centre_b, half_b = second[None, :, :2], np.exp(second[None, :, 2:]) / 2
    low = np.maximum(centre - half, centre_b - half_b)
    high = np.minimum(centre + half, centre_b + half_b)
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = 4 * half.prod(axis=2) + 4 * half_b.prod(axis=2) - shared
    return np.asarray(shared / union)


def _closeness(predicted: Array, measured: Array, unseen_s: Array) -> Array:
    """Return 1 for equal centres, down to 0 at the maximum distance or for unlike sizes."""
    log_size = predicted[:, None, 2:].mean(axis=2)
    log_size_b = measured[None, :, 2:].mean(axis=2)
    apart = np.hypot(
        predicted[:, None, 0] - measured[None, :, 0], predicted[:, None, 1] - measured[None, :, 1]
    ) / np.exp((log_size + log_size_b) / 2)
    reach = np.minimum(_REACH_STILL + _REACH_PER_S * unseen_s, _REACH_MAX)[:, None]
    alike = np.abs(log_size - log_size_b) <= math.log(_SIZE_RATIO_MAX)
    return np.where(alike, np.clip(1 - apart / reach, 0, None), 0.0)
