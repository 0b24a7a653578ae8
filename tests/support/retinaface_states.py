"""State dicts of RetinaFace with seeded random weights: the names and shapes of the public code."""

import numpy as np

from edge.vision.values import Floats

State = dict[str, Floats]


def mobilenet_state(seed: int = 1, *, width: int = 8) -> State:
    """Return the state dict of RetinaFace with a MobileNetV1 of ``width`` first channels."""
    state = _State(seed)
    state.conv_norm("body.stage1.0", width, 3, 3)
    channels = width
    plan = {
        "stage1": [2, 4, 4, 8, 8],
        "stage2": [16, 16, 16, 16, 16, 16],
        "stage3": [32, 32],
    }
    for stage, factors in plan.items():
        for place, factor in enumerate(factors, start=1 if stage == "stage1" else 0):
            block = f"body.{stage}.{place}"
            state.conv(f"{block}.0", channels, 1, 3)
            state.norm(f"{block}.1", channels)
            state.conv(f"{block}.3", factor * width, channels, 1)
            state.norm(f"{block}.4", factor * width)
            channels = factor * width
    state.necks_and_heads([8 * width, 16 * width, 32 * width], 8 * width)
    return state.tensors


def resnet_state(
    seed: int = 1, *, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)
) -> State:
    """Return the state dict of RetinaFace with a ResNet; by default ResNet-50."""
    state = _State(seed)
    state.conv("body.conv1", width, 3, 7)
    state.norm("body.bn1", width)
    channels = width
    for stage, count in enumerate(blocks, start=1):
        inner = width * 2 ** (stage - 1)
        for place in range(count):
            block = f"body.layer{stage}.{place}"
            for number, (outputs, inputs, kernel) in enumerate(
                [(inner, channels, 1), (inner, inner, 3), (4 * inner, inner, 1)], start=1
            ):
                state.conv(f"{block}.conv{number}", outputs, inputs, kernel)
                state.norm(f"{block}.bn{number}", outputs)
            if place == 0:
                state.conv(f"{block}.downsample.0", 4 * inner, channels, 1)
                state.norm(f"{block}.downsample.1", 4 * inner)
            channels = 4 * inner
    state.necks_and_heads([8 * width, 16 * width, 32 * width], 4 * width)
    return state.tensors


class _State:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.tensors: State = {}

    def conv(
        self, name: str, outputs: int, inputs: int, kernel: int, *, bias: bool = False
    ) -> None:
        spread = (2 / (inputs * kernel * kernel)) ** 0.5
        values = self._random.normal(0, spread, (outputs, inputs, kernel, kernel))
        self.tensors[f"{name}.weight"] = values.astype(np.float32)
        if bias:
            self.tensors[f"{name}.bias"] = self._random.normal(0, 0.1, outputs).astype(np.float32)

    def norm(self, name: str, channels: int) -> None:
        for part, values in (
            ("weight", self._random.uniform(0.7, 1.3, channels)),
            ("bias", self._random.normal(0, 0.2, channels)),
            ("running_mean", self._random.normal(0, 0.2, channels)),
            ("running_var", self._random.uniform(0.7, 1.3, channels)),
        ):
            self.tensors[f"{name}.{part}"] = values.astype(np.float32)
        self.tensors[f"{name}.num_batches_tracked"] = np.array(7, np.int64)  # type: ignore[assignment]

    def conv_norm(self, name: str, outputs: int, inputs: int, kernel: int) -> None:
        self.conv(f"{name}.0", outputs, inputs, kernel)
        self.norm(f"{name}.1", outputs)

    def necks_and_heads(self, features: list[int], wide: int) -> None:
        for place, channels in enumerate(features, start=1):
            self.conv_norm(f"fpn.output{place}", wide, channels, 1)
        for place in (1, 2):
            self.conv_norm(f"fpn.merge{place}", wide, wide, 3)
        half, quarter = wide // 2, wide // 4
        for level in (1, 2, 3):
            for name, outputs, inputs in (
                ("conv3X3", half, wide), ("conv5X5_1", quarter, wide),
                ("conv5X5_2", quarter, quarter), ("conv7X7_2", quarter, quarter),
                ("conv7x7_3", quarter, quarter),
            ):  # fmt: skip
                self.conv_norm(f"ssh{level}.{name}", outputs, inputs, 3)
        for head, values in (("ClassHead", 4), ("BboxHead", 8), ("LandmarkHead", 20)):
            for level in range(3):
                self.conv(f"{head}.{level}.conv1x1", values, wide, 1, bias=True)
