"""State dicts of EfficientNet-B0 and DDAMFN: published names and shapes, seeded random weights.

The weights keep the values of the maps near 1, so that outputs depend on the picture.
"""

import numpy as np

from edge.vision.values import Floats

# kernel, expansion, channels, blocks of the seven stages
_STAGES = (
    (3, 1, 16, 1), (3, 6, 24, 2), (5, 6, 40, 2), (3, 6, 80, 3), (5, 6, 112, 3), (5, 6, 192, 4),
    (3, 6, 320, 1),
)  # fmt: skip


class _State:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.tensors: dict[str, Floats] = {}

    def add(self, name: str, shape: tuple[int, ...], spread: float, mean: float = 0.0) -> None:
        values = self._random.normal(mean, spread, shape)
        self.tensors[name] = values.astype(np.float32)

    def conv(self, name: str, *shape: int, bias: bool = False) -> None:
        self.add(f"{name}.weight", shape, float((2 / np.prod(shape[1:])) ** 0.5))
        if bias:
            self.add(f"{name}.bias", shape[:1], 0.3)

    def norm(self, name: str, count: int) -> None:
        self.add(f"{name}.weight", (count,), 0.1, 1.0)
        self.add(f"{name}.bias", (count,), 0.1)
        self.add(f"{name}.running_mean", (count,), 0.1)
        self.tensors[f"{name}.running_var"] = np.exp(self._random.normal(0, 0.3, count)).astype(
            np.float32
        )
        self.tensors[f"{name}.num_batches_tracked"] = np.array(7, np.int64)  # type: ignore[assignment]


def efficientnet_state(
    classes: int, *, sequential: bool = False, seed: int = 5
) -> dict[str, Floats]:
    """Return the state dict of timm's EfficientNet-B0.

    Args:
        classes: values of the last layer.
        sequential: whether the last layer is in a ``Sequential``, as HSEmotion's.
        seed: of the weights.
    """
    state = _State(seed)
    state.conv("conv_stem", 32, 3, 3, 3)
    state.norm("bn1", 32)
    width = 32
    for stage, (kernel, expansion, channels, blocks) in enumerate(_STAGES):
        for place in range(blocks):
            name, wide = f"blocks.{stage}.{place}", width * expansion
            norms = iter(("bn1", "bn2", "bn3"))
            if expansion > 1:
                state.conv(f"{name}.conv_pw", wide, width, 1, 1)
                state.norm(f"{name}.{next(norms)}", wide)
            state.conv(f"{name}.conv_dw", wide, 1, kernel, kernel)
            state.norm(f"{name}.{next(norms)}", wide)
            state.conv(f"{name}.se.conv_reduce", width // 4, wide, 1, 1, bias=True)
            state.conv(f"{name}.se.conv_expand", wide, width // 4, 1, 1, bias=True)
            state.conv(f"{name}.{'conv_pwl' if expansion > 1 else 'conv_pw'}", channels, wide, 1, 1)
            state.norm(f"{name}.{next(norms)}", channels)
            width = channels
    state.conv("conv_head", 1280, width, 1, 1)
    state.norm("bn2", 1280)
    state.conv("classifier.0" if sequential else "classifier", classes, 1280, bias=True)
    return state.tensors


_MIXED: dict[int, tuple[int, int, tuple[int, ...], tuple[int, ...], int]] = {
    # place: channels in and out, kernels, their channels, blocks (0: not residual)
    2: (64, 64, (3, 5, 7), (64, 32, 32), 0),
    3: (64, 64, (3, 5), (96, 32), 9),
    4: (64, 128, (3, 5, 7), (128, 64, 64), 0),
    5: (128, 128, (3, 5), (192, 64), 16),
    6: (128, 256, (3, 5, 7, 9), (256, 256, 256, 256), 0),
    7: (256, 256, (3, 5, 7), (172, 170, 170), 6),
}


def ddamfn_state(
    classes: int, *, heads: int = 2, blocks: int | None = None, seed: int = 6
) -> dict[str, Floats]:
    """Return the state dict of DDAMFN.

    Args:
        classes: values of the last layer.
        heads: attention heads.
        blocks: of each residual stage; None: as published.
        seed: of the weights.
    """
    state = _State(seed)

    def linear(name: str, *shape: int) -> None:
        state.conv(f"{name}.conv", *shape)
        state.norm(f"{name}.bn", shape[0])

    def activated(name: str, *shape: int) -> None:
        linear(name, *shape)
        state.add(f"{name}.prelu.weight", shape[:1], 0.1, 0.25)

    def gates(name: str, count: int) -> None:
        middle = max(8, count // 32)
        state.conv(f"{name}.conv1", middle, count, 1, 1, bias=True)
        state.norm(f"{name}.bn1", middle)
        state.conv(f"{name}.conv2", count, middle, 1, 1, bias=True)
        state.conv(f"{name}.conv3", count, middle, 1, 1, bias=True)

    activated("features.0", 64, 3, 3, 3)
    activated("features.1", 64, 1, 3, 3)
    for place, (before, after, kernels, widths, published) in _MIXED.items():
        count = published and (blocks or published)
        names = [f"features.{place}.model.{each}" for each in range(count)]
        for name in names or [f"features.{place}"]:
            wide = sum(widths)
            activated(f"{name}.conv", wide, before, 1, 1)
            for part, (kernel, width) in enumerate(zip(kernels, widths, strict=True)):
                state.conv(f"{name}.conv_dw.mixed_depthwise_conv.{part}", width, 1, kernel, kernel)
            state.norm(f"{name}.conv_dw.bn", wide)  # the code makes these two and uses neither
            state.add(f"{name}.conv_dw.prelu.weight", (wide,), 0.1, 0.25)
            gates(f"{name}.CA", wide)
            linear(f"{name}.project", after, wide, 1, 1)
            if names:  # sums of many blocks would grow without bounds
                state.tensors[f"{name}.project.bn.weight"] *= np.float32(0.2)
    activated("features.8", 512, 256, 1, 1)
    for head in range(heads):
        name = f"cat_head{head}.CoordAtt"
        linear(f"{name}.Linear_h", 512, 1, 1, 7)
        linear(f"{name}.Linear_w", 512, 1, 7, 1)
        gates(name, 512)
        linear(f"{name}.Linear", 512, 1, 7, 7)
    linear("Linear", 512, 1, 7, 7)
    state.conv("fc", classes, 512, bias=True)
    state.norm("bn", classes)
    return state.tensors
