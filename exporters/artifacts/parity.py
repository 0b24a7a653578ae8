"""Parity of an artifact: limits, largest errors, and the printed table."""

from collections.abc import Iterable, Mapping
from typing import Final

import cv2
import numpy as np

from edge.errors import ModelError
from edge.vision.golden import golden_picture
from edge.vision.inference.manifest import Limit, Manifest, Parity
from edge.vision.resize import resize_area, resize_linear
from edge.vision.values import Floats, Luma

LIMITS: Final[Mapping[str, Mapping[str, Limit]]] = {
    "face-detection": {
        "iou_mean": Limit(at_least=0.97),
        "recall_25px": Limit(at_least=0.97),
    },
    "facial-expression": {
        "concordance": Limit(at_least=0.98),
        "valence_ccc": Limit(at_least=0.99),
        "arousal_ccc": Limit(at_least=0.99),
    },
}
"""Task -> limits of an int8 artifact."""


TRANSLATION_LIMITS: Final[Mapping[str, Limit]] = {
    "psnr_db": Limit(at_least=30.0),
    "ssim": Limit(at_least=0.95),
    "concordance": Limit(at_least=0.95),
    "valence_ccc": Limit(at_least=0.98),
    "arousal_ccc": Limit(at_least=0.98),
}
"""Limits of an int8 translator. A small trained one had 48 dB, 0.98 and 0.999. At 35 dB the label
of one face in sixteen changed."""


def sample_pictures(width: int, height: int) -> list[Luma]:
    """Return test pictures: faces of several sizes and brightnesses, noise, extremes.

    uint8 (height, width); the same pictures each time.
    """
    face, _ = golden_picture()
    random = np.random.default_rng(20200707)
    pictures = [resize_linear(face, (width, height))]
    for share, gain in ((0.75, 0.5), (0.5, 1.0), (0.3, 1.4)):
        size = (max(1, round(width * share)), max(1, round(height * share)))
        small = resize_area(face, size).astype(np.float32) * gain
        canvas = random.normal(90, 12, (height, width)).astype(np.float32)
        top = int(random.integers(0, height - size[1] + 1))
        left = int(random.integers(0, width - size[0] + 1))
        canvas[top : top + size[1], left : left + size[0]] = small
        pictures.append(np.clip(canvas, 0, 255).astype(np.uint8))
    pictures.append(random.integers(0, 256, (height, width), np.uint8))
    soft = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 4)
    pictures.append(np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8))
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    pictures.append(np.repeat(ramp[None], height, axis=0))
    pictures.extend(np.full((height, width), level, np.uint8) for level in (0, 255))
    return pictures


def measure(
    pairs: Iterable[tuple[Mapping[str, Floats], Mapping[str, Floats]]], limits: Mapping[str, float]
) -> Parity:
    """Return the parity of pairs of (reference, artifact) outputs, by role.

    The metric of a role, ``ROLE_max_error``, is the largest difference of any value, relative to
    the picture's largest value or to 1 if none is larger: rounding errors grow with the values,
    and maps hold large values where no face is.

    Raises:
        ModelError: a difference is not finite.
    """
    worst = dict.fromkeys(limits, 0.0)
    samples = 0
    for reference, artifact in pairs:
        samples += 1
        for role in limits:
            unit = max(1.0, float(np.abs(reference[role]).max()))
            error = float(np.abs(reference[role] - artifact[role]).max()) / unit
            if not np.isfinite(error):
                raise ModelError(f"parity: {role} is not finite; the network cannot be exported")
            worst[role] = max(worst[role], error)
    passed = bool(samples) and all(worst[role] <= limit for role, limit in limits.items())
    return Parity(
        metrics={f"{role}_max_error": float(f"{value:.3g}") for role, value in worst.items()},
        limits={f"{role}_max_error": Limit(at_most=limit) for role, limit in limits.items()},
        samples=samples,
        passed=passed,
    )


def parity_table(manifest: Manifest) -> str:
    """Return the parity of every artifact as a table.

    Artifacts with the same figures share a table; figures beyond their limit are marked.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for file, parity in manifest.parity.items():
        groups.setdefault((*parity.metrics, str(parity.limits)), []).append(file)
    lines = []
    for files in groups.values():
        first = manifest.parity[files[0]]
        rows = [["figure", "limit", *files]]
        for name in first.metrics:
            limit = first.limits.get(name)
            row = [name, f"({_bounds(limit)})" if limit else ""]
            for file in files:
                value = manifest.parity[file].metrics[name]
                missed = limit is not None and not limit.allows(value)
                row.append(f"{value:.4g}{' MISSED' if missed else ''}")
            rows.append(row)
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            cells = [f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True)]
            lines.append(f"  {'  '.join(cells)}".rstrip())
        for file in files:
            parity = manifest.parity[file]
            verdict = "passed" if parity.passed else "FAILED"
            lines.append(f"  {file}  parity {verdict} over {parity.samples} pictures")
    return "\n".join(lines)


def _bounds(limit: Limit) -> str:
    bounds = (("at most", limit.at_most), ("at least", limit.at_least))
    return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


def check_against_limits(
    metrics: Mapping[str, float], limits: Mapping[str, Limit], samples: int
) -> Parity:
    """Return the parity of ``metrics``: passed if they are within all limits.

    Raises:
        ModelError: a limit has no metric, because the pictures show too few faces.
    """
    rounded = {name: float(f"{value:.4g}") for name, value in metrics.items()}
    absent = sorted(set(limits) - set(rounded))
    if absent:
        raise ModelError(
            f"parity: {samples} pictures do not give {', '.join(absent)}; give more that show faces"
        )
    return Parity(
        metrics=rounded,
        limits=dict(limits),
        samples=samples,
        passed=all(limit.allows(rounded[name]) for name, limit in limits.items()),
    )
