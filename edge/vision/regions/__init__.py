"""Region-of-interest detection: known faces are found again in small squares of the frame.

``square`` says where, ``schedule`` when, ``finder`` does it, between detector and tracker.
"""

from edge.config import Config, DetectorConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.inference import find_model, load_manifest
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.regions.finder import Found, RegionFinder, require_square_input
from edge.vision.regions.square import HEIGHT_FACTOR, MEASURED_MODEL

__all__ = [
    "Found",
    "RegionFinder",
    "finder_of",
    "open_finder",
    "region_detector",
    "require_square_input",
]


def region_detector(detector: DetectorConfig) -> DetectorConfig:
    """Return the configuration of the detector of regions; ``model`` is empty without regions.

    Models of two decoders do not search together: they draw a face's box differently, and it would
    jump at each full look. The full frame is searched every time then.

    Raises:
        ModelError: a manifest is missing or invalid.
    """
    region = detector.region
    if not region.model:
        return region
    decoders = {load_manifest(find_model(name)).decoder for name in (detector.model, region.model)}
    return region if len(decoders) == 1 else region.model_copy(update={"model": ""})


def open_finder(
    config: Config, full: Detector, most_threads: MostThreads = ONE_THREAD
) -> RegionFinder | None:
    """Return the finder by regions; None if every frame is searched in full.

    Args:
        config: of the daemon.
        full: the detector of full frames.
        most_threads: of networks whose ``threads`` are ``auto``.

    Raises:
        ModelError: the region's model fails verification, or its input is not square.
    """
    region = region_detector(config.detector)
    if not region.model:
        return None
    return finder_of(config, full, open_detector(region, config.journal.state_dir, most_threads))


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
        height_factor=HEIGHT_FACTOR if region.info.name == MEASURED_MODEL else 1.0,
    )
