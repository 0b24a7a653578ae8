"""Multi-face tracking: gives each detection the id of the face that it belongs to.

A Kalman filter per face predicts its box in the new frame. Predicted and measured boxes are
assigned to each other so that the sum of their overlaps is maximal. Time is an argument and all
limits are in seconds: the result does not depend on the frame rate, and a recording gives the same
tracks as the live camera did.
"""

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.config import TrackingConfig
from edge.vision.values import Box, Detection, ExpectedFace, Track

Array = NDArray[np.float64]

# Motion model, in units of the face's size, so that it holds for near and far faces.
_SPEED_STD = 1.0  # faces a second; a seated person who leans over reaches about this
_SPEED_TIME_CONSTANT_S = 1.0  # a head that moves now has mostly stopped a second later
_MEASUREMENT_STD = 0.05  # of a face: standard deviation of a detector's box on a still face

# Second assignment, of faces that moved too far to overlap: maximum distance of the centres, in
# units of the face's size. It grows with the time since the last detection.
_DISTANCE_MAX_STILL = 0.5
_DISTANCE_MAX_PER_S = 3.0
_DISTANCE_MAX = 1.0
_SIZE_RATIO_MAX = 2.0

# Boxes are clipped to these limits before any arithmetic, so that no detector can make a filter
# overflow.
_SIZE_MIN_PX = 1.0
_PIXEL_MAX = 1e7
_LOG_SIZE_MIN = math.log(_SIZE_MIN_PX)
_LOG_PIXEL_MAX = math.log(_PIXEL_MAX)

# Plain numbers: for a few faces, arrays of four numbers cost several times as much.
Coordinates = tuple[float, float, float, float]
"""Centre x, centre y, log width, log height."""

_FEW_PAIRS = 16  # up to so many pairs of track and detection are compared one by one


class Tracker:
    """Assigns track ids to detections. Not thread-safe: owned by the detect thread.

    A track is returned from its first detection with a score of ``appear_score`` or more, or else
    after it was detected for ``appear_s`` in total. It keeps its id without a detection for up to
    ``vanish_s`` and is not returned meanwhile: only detected faces are returned, and those that the
    detector did not search. Ids start at ``first_id`` and are never reused.
    """

    def __init__(self, config: TrackingConfig, *, first_id: int = 1) -> None:
        self._config = config
        self._appear_ns = round(config.appear_s * 1e9)
        self._vanish_ns = round(config.vanish_s * 1e9)
        self._states: list[_TrackState] = []
        self._next_id = first_id
        self._sensor_ns: int | None = None
        self._now_ns = 0  # the sum of all forward steps: a source's clock may restart at 0

    def end_tracks(self) -> None:
        """End every track: the next pictures show another scene."""
        self._states = []

    def expected(self, sensor_ns: int) -> tuple[ExpectedFace, ...]:
        """Return the faces to expect in a frame taken at ``sensor_ns``; the tracker is unchanged.

        In the order in which they were detected first.
        """
        step_ns = 0 if self._sensor_ns is None else max(0, sensor_ns - self._sensor_ns)
        now_ns = self._now_ns + step_ns
        return tuple(
            ExpectedFace(
                id=state.id,
                box=_box(state.mean_after(step_ns / 1e9)),
                undetected_ns=now_ns - state.last_detected_ns,
                missed=state.missed,
            )
            for state in self._states
            if now_ns - state.last_detected_ns <= self._vanish_ns
        )

    def update(
        self, detections: Sequence[Detection], sensor_ns: int, *, skipped: Collection[int] = ()
    ) -> tuple[Track, ...]:
        """Return the tracks of this frame, by ascending id: the detected and the skipped ones.

        Args:
            detections: all faces found in the frame, in any order; the order does not matter.
            sensor_ns: when it was taken. A step backwards or an equal time counts as no elapsed
                time; a gap of more than ``vanish_s`` ends every track.
            skipped: ids of tracks that the detector did not search in this frame. They are
                returned with their predicted box if they are not detected.
        """
        before_ns = self._now_ns
        if self._sensor_ns is not None:
            self._now_ns += max(0, sensor_ns - self._sensor_ns)
        self._sensor_ns = sensor_ns
        step_ns = self._now_ns - before_ns

        self._states = [
            state
            for state in self._states
            if self._now_ns - state.last_detected_ns <= self._vanish_ns
        ]
        for known in self._states:
            known.predict(step_ns / 1e9)
        ordered = sorted(detections, key=_sort_key) if len(detections) > 1 else detections
        measured = [_measure(found.box) for found in ordered]

        matched = {column: self._states[row] for row, column in self._associate(measured)}
        for known in self._states:
            known.missed = True
        tracks = []
        for column, found in enumerate(ordered):
            state = matched.get(column)
            if state is None:
                state = _TrackState(measured[column], self._now_ns, found)
                self._states.append(state)
            else:
                if state.last_detected_ns == before_ns:  # time without a detection does not count
                    state.visible_ns += step_ns
                state.correct(measured[column])
                state.last_detected_ns = self._now_ns
                state.missed, state.latest = False, found
            if state.id is None and (
                found.score >= self._config.appear_score or state.visible_ns >= self._appear_ns
            ):
                state.id = self._next_id
                self._next_id += 1
            if state.id is not None:
                tracks.append(self._track(state.id, state, found))
        for known in self._states:
            if known.id is not None and known.missed and known.id in skipped:
                known.missed = False
                predicted = known.latest.predicted_at(_box(known.mean))
                tracks.append(self._track(known.id, known, predicted))
        return tuple(sorted(tracks, key=lambda track: track.id))

    def _track(self, id_: int, state: "_TrackState", found: Detection) -> Track:
        age_s = (self._now_ns - state.first_detected_ns) / 1e9
        return Track(id=id_, detection=found, age_s=age_s)

    def _associate(self, boxes: Sequence[Coordinates]) -> list[tuple[int, int]]:
        """Return pairs (index of the track state, index of the measurement)."""
        if not self._states or not boxes:
            return []
        means = [state.mean for state in self._states]
        if (clear := _clear_pairs(means, boxes, self._config.iou_min)) is not None:
            return clear
        predicted, measured = np.array(means), np.array(boxes)
        overlap = _iou(predicted, measured)
        pairs = assign(np.where(overlap >= self._config.iou_min, overlap, 0.0))

        rows = sorted(set(range(len(predicted))) - {row for row, _ in pairs})
        columns = sorted(set(range(len(measured))) - {column for _, column in pairs})
        if rows and columns:
            last_ns = [self._states[row].last_detected_ns for row in rows]
            undetected_s = np.array([(self._now_ns - each) / 1e9 for each in last_ns])
            again = assign(_proximity(predicted[rows], measured[columns], undetected_s))
            pairs += [(rows[row], columns[column]) for row, column in again]
        return pairs


class _TrackState:
    """The state of one face: its Kalman filter, and when it was detected.

    The four coordinates (centre x, centre y, log width, log height) have the same noise relative
    to the size of the face. One 2x2 covariance of position and speed, in units of that size, is
    therefore enough for all four, and the gain has no unit of length.

    Velocity follows an Ornstein-Uhlenbeck process: locally constant, decaying over
    ``_SPEED_TIME_CONSTANT_S``. A lost moving face is thus predicted a bounded distance ahead.
    """

    __slots__ = (
        "_p00",
        "_p01",
        "_p11",
        "_speed",
        "first_detected_ns",
        "id",
        "last_detected_ns",
        "latest",
        "mean",
        "missed",
        "visible_ns",
    )

    def __init__(self, measured: Coordinates, now_ns: int, found: Detection) -> None:
        self.id: int | None = None  # assigned when the track is first returned
        self.first_detected_ns = self.last_detected_ns = now_ns
        self.visible_ns = 0
        self.latest = found
        self.missed = False  # whether it was searched in the newest frame and not detected
        self.mean = measured
        self._speed = (0.0, 0.0, 0.0, 0.0)
        self._p00, self._p01, self._p11 = _MEASUREMENT_STD**2, 0.0, _SPEED_STD**2

    def mean_after(self, step_s: float) -> Coordinates:
        """Return the mean that ``predict`` would give, without a change of the state."""
        travel_s = _SPEED_TIME_CONSTANT_S * (1.0 - math.exp(-step_s / _SPEED_TIME_CONSTANT_S))
        return _moved(self.mean, travel_s, self._speed)

    def predict(self, step_s: float) -> None:
        """Predict the state ``step_s`` later; two steps give the same as one step of their sum."""
        constant_s = _SPEED_TIME_CONSTANT_S
        decay = math.exp(-step_s / constant_s)
        travel_s = constant_s * (1.0 - decay)
        self.mean = _moved(self.mean, travel_s, self._speed)
        x, y, width, height = self._speed
        self._speed = (decay * x, decay * y, decay * width, decay * height)
        # exact covariance of the process; in the steady state the speed has _SPEED_STD
        density = 2.0 * _SPEED_STD**2 / constant_s
        variance = constant_s**2 * (step_s - 2.0 * travel_s + constant_s * (1.0 - decay**2) / 2.0)
        p00, p01, p11 = self._p00, self._p01, self._p11
        self._p00 = p00 + 2.0 * travel_s * p01 + travel_s**2 * p11 + density * max(variance, 0.0)
        self._p01 = decay * (p01 + travel_s * p11) + density * travel_s**2 / 2.0
        self._p11 = decay**2 * p11 + density * constant_s * (1.0 - decay**2) / 2.0

    def correct(self, measured: Coordinates) -> None:
        """Update the filter with the measured box."""
        total = self._p00 + _MEASUREMENT_STD**2
        (x, y, width, height), (x_0, y_0, width_0, height_0) = measured, self.mean
        innovation = (x - x_0, y - y_0, width - width_0, height - height_0)
        self.mean = _moved(self.mean, self._p00 / total, innovation)
        self._speed = _sum(self._speed, self._p01 / total, innovation)
        self._p11 = max(self._p11 - self._p01**2 / total, 0.0)
        self._p01 *= _MEASUREMENT_STD**2 / total
        self._p00 *= _MEASUREMENT_STD**2 / total


def assign(weights: Array) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with the maximum sum of weights, by ascending row.

    Each row and each column is in at most one pair, and only in pairs of positive weight.

    Args:
        weights: (rows, columns), finite, not negative; 0 forbids the pair.

    The Hungarian algorithm in its shortest-augmenting-path form (Jonker and Volgenant, 1987): at
    most rows^2 x columns steps, and few if each row has few candidates.
    """
    if weights.size == 1:  # one face, as in most frames
        return [(0, 0)] if weights[0, 0] > 0 else []
    rows = np.flatnonzero((weights > 0).any(axis=1))
    columns = np.flatnonzero((weights > 0).any(axis=0))
    if len(rows) > len(columns):
        return sorted((row, column) for column, row in assign(weights.T))
    cost: list[list[float]] = (-weights[np.ix_(rows, columns)]).tolist()
    row_price = [0.0] * len(rows)
    column_price = [0.0] * len(columns)
    owner = [-1] * len(columns)  # row that the column is assigned to; -1 for none

    for start in range(len(rows)):
        distance = [math.inf] * len(columns)
        came_from = [-1] * len(columns)  # column before this one on the shortest path
        visited: list[int] = []
        unvisited = list(range(len(columns)))
        row, column, travelled = start, -1, 0.0
        while row >= 0:
            for ahead in unvisited:
                through = travelled + cost[row][ahead] - row_price[row] - column_price[ahead]
                if through < distance[ahead]:
                    distance[ahead], came_from[ahead] = through, column
            column = min(unvisited, key=distance.__getitem__)
            travelled = distance[column]
            unvisited.remove(column)
            visited.append(column)
            row = owner[column]
        # keep every reduced cost at or above 0, and those of pairs at 0
        row_price[start] += travelled
        for passed in visited[:-1]:
            column_price[passed] -= travelled - distance[passed]
            row_price[owner[passed]] += travelled - distance[passed]
        # assign each column on the path to the row before it
        while column >= 0:
            before = came_from[column]
            owner[column] = owner[before] if before >= 0 else start
            column = before
    return sorted(
        (int(rows[row]), int(columns[column]))
        for column, row in enumerate(owner)
        if row >= 0 and cost[row][column] < 0
    )


def _sort_key(found: Detection) -> tuple[float, float, float, float, float, bytes]:
    """Return a sort key that depends only on the detection."""
    box = found.box
    marks = b"" if found.landmarks is None else found.landmarks.tobytes()
    return (-found.score, box.x, box.y, box.width, box.height, marks)


def _measure(box: Box) -> Coordinates:
    """Return the coordinates of ``box``."""
    width = min(max(box.width, _SIZE_MIN_PX), _PIXEL_MAX)
    height = min(max(box.height, _SIZE_MIN_PX), _PIXEL_MAX)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    return _clip((x, y, math.log(width), math.log(height)))


def _box(coordinates: Coordinates) -> Box:
    """Return the box of ``coordinates``."""
    x, y, log_width, log_height = coordinates
    width, height = math.exp(log_width), math.exp(log_height)
    return Box(x - width / 2, y - height / 2, width, height)


def _sum(start: Coordinates, factor: float, step: Coordinates) -> Coordinates:
    """Return ``start + factor * step``."""
    (x, y, width, height), (x_1, y_1, width_1, height_1) = start, step
    return (
        x + factor * x_1,
        y + factor * y_1,
        width + factor * width_1,
        height + factor * height_1,
    )


def _moved(start: Coordinates, factor: float, step: Coordinates) -> Coordinates:
    """Return ``start + factor * step`` within the limits."""
    return _clip(_sum(start, factor, step))


def _clip(coordinates: Coordinates) -> Coordinates:
    x, y, width, height = coordinates
    return (
        min(max(x, -_PIXEL_MAX), _PIXEL_MAX),
        min(max(y, -_PIXEL_MAX), _PIXEL_MAX),
        min(max(width, _LOG_SIZE_MIN), _LOG_PIXEL_MAX),
        min(max(height, _LOG_SIZE_MIN), _LOG_PIXEL_MAX),
    )


def _clear_pairs(
    predicted: Sequence[Coordinates], measured: Sequence[Coordinates], iou_min: float
) -> list[tuple[int, int]] | None:
    """Return the pairs by overlap where few faces leave no choice; None: a choice is to be made.

    Then each face overlaps at most one, and no second assignment follows, as on one side all are
    assigned.
    """
    if len(predicted) * len(measured) > _FEW_PAIRS:
        return None
    first, second = [_box(each) for each in predicted], [_box(each) for each in measured]
    pairs = [
        (row, column)
        for row, one in enumerate(first)
        for column, other in enumerate(second)
        if (overlap := one.iou(other)) > 0 and overlap >= iou_min
    ]
    most = min(len(predicted), len(measured))
    is_clear = len(pairs) == most == len({row for row, _ in pairs})
    return pairs if is_clear and most == len({column for _, column in pairs}) else None


def _iou(first: Array, second: Array) -> Array:
    """Return intersection over union of each of (n, 4) with each of (m, 4) coordinates."""
    centre, half = first[:, None, :2], np.exp(first[:, None, 2:]) / 2
    centre_b, half_b = second[None, :, :2], np.exp(second[None, :, 2:]) / 2
    low = np.maximum(centre - half, centre_b - half_b)
    high = np.minimum(centre + half, centre_b + half_b)
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = 4 * half.prod(axis=2) + 4 * half_b.prod(axis=2) - shared
    return np.asarray(shared / union)


def _proximity(predicted: Array, measured: Array, undetected_s: Array) -> Array:
    """Return 1 for equal centres, falling to 0 at the maximum distance; 0 for unlike sizes."""
    log_size = predicted[:, None, 2:].mean(axis=2)
    log_size_b = measured[None, :, 2:].mean(axis=2)
    distance = np.hypot(
        predicted[:, None, 0] - measured[None, :, 0], predicted[:, None, 1] - measured[None, :, 1]
    ) / np.exp((log_size + log_size_b) / 2)
    distance_max = np.minimum(
        _DISTANCE_MAX_STILL + _DISTANCE_MAX_PER_S * undetected_s, _DISTANCE_MAX
    )[:, None]
    similar = np.abs(log_size - log_size_b) <= math.log(_SIZE_RATIO_MAX)
    return np.where(similar, np.clip(1 - distance / distance_max, 0, None), 0.0)
