"""Region-of-interest detection: known faces are found again in small squares of the frame.

``square`` says where, ``schedule`` when, ``finder`` does it, between detector and tracker.
"""

from edge.config import Config
from edge.vision.detect import Detector, open_detector
from edge.vision.regions.finder import Found, RegionFinder, require_square_input
from edge.vision.regions.square import HEIGHT_FACTOR

__all__ = ["Found", "RegionFinder", "finder_of", "open_finder", "require_square_input"]


def open_finder(config: Config, full: Detector) -> RegionFinder | None:
    """Return the finder by regions; None if every frame is searched in full.

    Args:
        config: of the daemon.
        full: the detector of full frames.

    Raises:
        ModelError: the region's model fails verification, or its input is not square.
    """
    if config.detector.schedule == "every-frame":
        return None
    region = open_detector(config.detector.region, config.journal.state_dir)
    return finder_of(config, full, region)


def finder_of(config: Config, full: Detector, region: Detector) -> RegionFinder:
    """Return a finder that has seen no frame, of detectors that are loaded.

    Raises:
        ModelError: the input of ``region`` is not square.
    """
    detector, tracking = config.detector, config.tracking
    return RegionFinder(
        full,
        region,
        full_every_s=detector.full_every_s,
        sure_score=detector.threshold,
        nms_iou=detector.nms_iou,
        iou_min=tracking.iou_min,
        height_factor=HEIGHT_FACTOR,
    )
