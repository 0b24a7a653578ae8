"""Finds the faces of a frame by regions: each known face in a square, now and then all of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge.clock import Stopwatch
from edge.errors import InferenceError, ModelError
from edge.vision.detect import Detector
from edge.vision.regions.change import ChangeWatch
from edge.vision.regions.schedule import Plan, plan
from edge.vision.regions.square import SIDE_MAX, Square, cut_out, square_around, touches_border
from edge.vision.values import Box, Detection, ExpectedFace, Frame


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a frame.

    Attributes:
        detections: highest score first; pixels of the full frame.
        is_full: whether the full frame was searched.
        skipped: ids of known faces that were not searched.
    """

    detections: tuple[Detection, ...]
    is_full: bool = True
    skipped: frozenset[int] = frozenset()


def require_square_input(region: Detector) -> None:
    """Raise ``ModelError`` if the detector of regions does not take a square picture."""
    width, height = region.input_size
    if width != height:
        raise ModelError(
            f"detector.region_model: takes {width}x{height} pixels; expected a square input,"
            " such as that of centerface-96x96"
        )


@dataclass(frozen=True, slots=True)
class _Later:
    """A full look that is due, left for later: the frame, and the faces that are known in it."""

    frame: Frame
    known: tuple[Box, ...]


class RegionFinder:
    """Searches known faces in squares, and the full frame where that does not suffice.

    The full frame is searched every ``full_every_s`` of sensor time, more often while no face is
    known or one is lost, and at once if a face is not sure or a known one is not found in its
    region. Known faces are searched in regions then, too. Owned by one thread.

    Where all known faces are found in their regions, a full look that is due does not delay their
    frame: it follows that frame's answer. If it finds something else, the next frame is searched in
    full.

    Attributes:
        full_every_factor: multiplies ``full_every_s``; any thread may set it.
    """

    def __init__(
        self,
        full: Detector,
        region: Detector,
        *,
        full_every_s: float,
        sure_score: float,
        nms_iou: float,
        iou_min: float,
        height_factor: float = 1.0,
    ) -> None:
        """Search by ``region`` and ``full``.

        Args:
            full: searches the full frame.
            region: searches a square; its input is square.
            full_every_s: longest sensor time between full looks, seconds.
            sure_score: score below which an answer of a region is none.
            nms_iou: overlap from which two answers are the same face.
            iou_min: lowest overlap of an answer with the predicted box.
            height_factor: heights of the boxes that ``region`` gives are multiplied by it.

        Raises:
            ModelError: the input of ``region`` is not square.
        """
        require_square_input(region)
        width, height = region.input_size
        self.region = region
        self._averaged = region.averaged
        self._full = full
        self._full_every_ns = round(full_every_s * 1e9)
        self.full_every_factor = 1
        self._sure_score = sure_score
        self._nms_iou = nms_iou
        self._iou_min = iou_min
        self._height_factor = height_factor
        self._region_cost = float(width * height)
        self._full_cost = float(full.input_size[0] * full.input_size[1])
        self._looked_ns: int | None = None  # sensor time of the last full look
        self._size = (0, 0)  # of the frame then
        self._change = ChangeWatch()
        self._squares: dict[int | None, Square] = {}  # by track, those in which it was found last
        self._others: list[Box] = []  # found by the last full look, and not followed since
        self._later: _Later | None = None
        self._later_ms: dict[str, float] = {}  # stages of a look that was finished
        self._has_news = False  # the last full look found something else than was known

    def find(self, frame: Frame, expected: tuple[ExpectedFace, ...], stopwatch: Stopwatch) -> Found:
        """Return the faces of ``frame``.

        Laps ``resize``, ``detect`` and ``decode_boxes``, those of ``finish_look`` included.

        Args:
            frame: the frame.
            expected: the faces that the tracker expects in it.
            stopwatch: gets the times of the stages.

        Raises:
            InferenceError: a network failed on this frame.
        """
        self._look_later(stopwatch)
        for stage, spent_ms in self._later_ms.items():
            stopwatch.stage_ms[stage] = stopwatch.stage_ms.get(stage, 0.0) + spent_ms
        self._later_ms = {}
        if self._is_cut(frame):
            expected = ()  # no prediction holds
        self._forget(expected)
        planned = plan(
            expected,
            region_cost=self._region_cost,
            full_cost=self._full_cost,
            full_every_factor=self.full_every_factor,
        )
        is_due = self._has_news or self._is_due(frame, planned)
        is_full = is_due and (self._has_news or not planned.may_wait)
        # a lost face that is found is not sure: the full look comes at once then
        faces = planned.known if is_full else (*planned.known, *planned.lost)
        answers, is_sure = self._search(frame, faces, stopwatch)
        if is_sure and not is_full:
            skipped = [face for face in planned.followed if face.id not in answers]
            if is_due:
                boxes = [*(each.box for each in answers.values()), *(each.box for each in skipped)]
                self._later = _Later(frame, tuple(boxes))
                self._note_look(frame)
            ids = frozenset(face.id for face in skipped if face.id is not None)
            return Found(_by_score(answers.values()), is_full=False, skipped=ids)
        detections = self._full.detect(frame, stopwatch)
        self._note_look(frame)
        self._has_news = False
        return Found(self._steadied(detections, answers))

    @property
    def leaves_look(self) -> bool:
        """Whether the last frame has left a full look for ``finish_look``."""
        return self._later is not None

    def finish_look(self) -> None:
        """Take the full look that the last frame has left for later, if there is one.

        The next ``find`` takes it otherwise, with the same results: to call this while nobody waits
        shortens that one.
        """
        stopwatch = Stopwatch()
        self._look_later(stopwatch)
        self._later_ms |= stopwatch.stage_ms

    def _look_later(self, stopwatch: Stopwatch) -> None:
        later, self._later = self._later, None
        if later is None:
            return
        try:
            detections = self._full.detect(later.frame, stopwatch)
        except InferenceError:
            self._has_news = True  # the look at the next frame fails, too, or makes up for this one
            return
        boxes = [each.box for each in detections]
        others, before = (
            [box for box in each if not self._is_among(box, later.known)]
            for each in (boxes, self._others)
        )
        self._has_news = (
            len(others) != len(before)
            or not all(self._is_among(box, before) for box in others)
            or not all(self._is_among(box, boxes) for box in later.known)
        )

    def _note_look(self, frame: Frame) -> None:
        self._looked_ns, self._size = frame.sensor_ns, (frame.width, frame.height)
        self._change.note_look(frame.luma)

    def _is_due(self, frame: Frame, planned: Plan) -> bool:
        """Return whether it is time for a full look."""
        if self._looked_ns is None or frame.sensor_ns < self._looked_ns:
            return True
        age_ns = frame.sensor_ns - self._looked_ns
        limit_ns = self._full_every_ns * self.full_every_factor
        if planned.look_after_ns is not None:
            limit_ns = min(limit_ns, planned.look_after_ns)
        if age_ns >= limit_ns:
            return True
        boxes = [each.box for each in planned.followed]
        return age_ns >= planned.change_after_ns and self._change.has_changed(frame.luma, boxes)

    def _is_cut(self, frame: Frame) -> bool:
        """Return whether the known faces may be at other pixels of this frame."""
        return self._looked_ns is None or self._size != (frame.width, frame.height)

    def _steadied(
        self, detections: tuple[Detection, ...], answers: dict[int | None, Detection]
    ) -> tuple[Detection, ...]:
        """Return the faces of a full look, the known ones with the box of their region.

        The same network gives other boxes at another scale: a face whose box came now from a full
        look and then from a region would jump twice a second. Whether a face is there, and whether
        it is one or two, the full look decides.
        """
        faces = list(detections)
        for answer in answers.values():
            place = max(
                range(len(faces)), key=lambda at: faces[at].box.iou(answer.box), default=None
            )
            if place is not None and self._is_same(faces[place].box, answer.box):
                faces[place] = answer
        self._others = [each.box for each in faces if each.found == "full"]
        return _by_score(faces)

    def _search(
        self, frame: Frame, faces: tuple[ExpectedFace, ...], stopwatch: Stopwatch
    ) -> tuple[dict[int | None, Detection], bool]:
        """Return the face of each track in its square, and whether no full look is needed.

        One is needed where a known face has no answer, or a lost one has: whether a face is there
        again, a full look decides.
        """
        looks_left = int(self._full_cost / self._region_cost) - len(faces)
        answers: dict[int | None, Detection] = {}
        squares: dict[int | None, Square] = {}
        is_sure = True
        for face in faces:
            square = square_around(face.box, self._squares.get(face.id))
            found = self._nearest(frame, face.box, square, stopwatch)
            if found is not None and touches_border(found.box, square) and looks_left > 0:
                looks_left -= 1
                square = square_around(found.box)
                found = self._nearest(frame, found.box, square, stopwatch)
            if found is None or touches_border(found.box, square):
                is_sure &= face.missed
            elif any(self._is_same(found.box, other.box) for other in answers.values()):
                is_sure &= face.missed  # two tracks of one face: one is too many
            else:
                answers[face.id], squares[face.id] = found, square
                is_sure &= not face.missed
        self._squares |= squares
        return answers, is_sure

    def _forget(self, expected: tuple[ExpectedFace, ...]) -> None:
        """Forget the squares of tracks that have ended, and which others are followed now.

        What a full look found became a track unless it is ignored. Once the face moves on, nothing
        would tell it from one that has gone.
        """
        for id_ in self._squares.keys() - {each.id for each in expected}:
            del self._squares[id_]
        if self._others:
            followed = [each.box for each in expected if not each.missed]
            self._others = [box for box in self._others if not self._is_among(box, followed)]

    def _nearest(
        self, frame: Frame, box: Box, square: Square, stopwatch: Stopwatch
    ) -> Detection | None:
        """Return the detection in ``square`` that is nearest to ``box``; None: none is sure."""
        if square.side > SIDE_MAX * max(frame.width, frame.height):
            return None
        found = max(
            detect_in(self._averaged, frame, square, stopwatch, self._height_factor),
            key=lambda each: each.box.iou(box),
            default=None,
        )
        if found is None or found.score < self._sure_score:
            return None
        overlap = found.box.iou(box)
        return found if overlap > 0 and overlap >= self._iou_min else None

    def _is_same(self, one: Box, other: Box) -> bool:
        overlap = one.iou(other)
        return overlap > 0 and overlap >= self._nms_iou

    def _is_among(self, box: Box, others: Iterable[Box]) -> bool:
        return any(self._is_same(box, other) for other in others)


def _by_score(detections: Iterable[Detection]) -> tuple[Detection, ...]:
    return tuple(sorted(detections, key=lambda found: -found.score))


def detect_in(
    detector: Detector,
    frame: Frame,
    square: Square,
    stopwatch: Stopwatch,
    height_factor: float = 1.0,
) -> tuple[Detection, ...]:
    """Return the faces that ``detector`` finds in ``square``, in pixels of the full frame.

    Args:
        detector: with a square input.
        frame: the full frame.
        square: which part of it is searched.
        stopwatch: gets the times of the stages.
        height_factor: heights of boxes are multiplied by it; their centres stay.

    Raises:
        InferenceError: the network failed.
    """
    part = replace(frame, luma=cut_out(frame.luma, square), small=None)
    return tuple(
        each.moved(square.left, square.top, height_factor)
        for each in detector.detect(part, stopwatch)
    )
