"""Region-of-interest detection: known faces are found again in small squares of the frame.

``square`` says where, ``schedule`` when, ``finder`` does it, between detector and tracker.
"""

from edge.config import Config
from edge.vision.detect import Detector, open_detector
from edge.vision.regions.finder import Found, RegionFinder, require_square_input

__all__ = ["Found", "RegionFinder", "open_finder", "require_square_input"]


def open_finder(config: Config, full: Detector) -> RegionFinder | None:
    """Return the finder by regions; None if every frame is searched in full.

    Args:
        config: of the daemon.
        full: the detector of full frames.

    Raises:
        ModelError: the region's model fails verification, or its input is not square.
    """
    detector, tracking = config.detector, config.tracking
    if detector.schedule == "every-frame":
        return None
    return RegionFinder(
        full,
        open_detector(detector.region, config.journal.state_dir),
        full_every_s=detector.full_every_s,
        sure_score=max(detector.threshold, tracking.appear_score),
        nms_iou=detector.nms_iou,
        iou_min=tracking.iou_min,
    )
