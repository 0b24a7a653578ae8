"""EfficientNet-B0 and DDAMFN in PyTorch, from a state dict: references for their exporters.

They follow the papers and published codes in the order of operations, unlike the exporters: rows
and columns are joined for a 1x1 convolution and separated again, TensorFlow's padding is added to
the map before a convolution that pads nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as nnf

Tensor = torch.Tensor
_STRIDES = (1, 2, 2, 2, 1, 2, 1)


class _Network:
    def __init__(self, state: Mapping[str, Any], epsilon: float = 1e-5) -> None:
        self.state = {name: torch.from_numpy(values) for name, values in state.items()}
        self._epsilon = epsilon

    def conv(self, x: Tensor, name: str, **options: Any) -> Tensor:
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        groups = x.shape[1] // weight.shape[1]
        return nnf.conv2d(x, weight, bias, groups=groups, **options)

    def norm(self, x: Tensor, name: str) -> Tensor:
        parts = [self.state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        more = [self.state[f"{name}.{part}"] for part in ("weight", "bias")]
        return nnf.batch_norm(x, *parts, *more, eps=self._epsilon)

    def dense(self, x: Tensor, name: str) -> Tensor:
        return nnf.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def count(self, start: str) -> int:
        length = len(start)
        return len({name[length:].split(".")[0] for name in self.state if name.startswith(start)})


@torch.no_grad()
def efficientnet(state: Mapping[str, Any], x: Tensor, *, same: bool, epsilon: float) -> Tensor:
    """Return timm's EfficientNet of a batch; ``same``: padded as by TensorFlow."""
    net = _Network(state, epsilon)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = net.state[f"{name}.weight"].shape[-1]
        if not same:
            return net.conv(x, name, stride=stride, padding=kernel // 2)
        pads = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return net.conv(nnf.pad(x, pads), name, stride=stride)

    def block(x: Tensor, name: str, stride: int, expands: bool) -> Tensor:
        y, norms = x, iter(("bn1", "bn2", "bn3"))
        if expands:
            y = nnf.silu(net.norm(conv(y, f"{name}.conv_pw"), f"{name}.{next(norms)}"))
        y = nnf.silu(net.norm(conv(y, f"{name}.conv_dw", stride), f"{name}.{next(norms)}"))
        gate = nnf.silu(net.conv(y.mean((2, 3), keepdim=True), f"{name}.se.conv_reduce"))
        y = y * torch.sigmoid(net.conv(gate, f"{name}.se.conv_expand"))
        last = "conv_pwl" if expands else "conv_pw"
        y = net.norm(conv(y, f"{name}.{last}"), f"{name}.{next(norms)}")
        return y + x if y.shape == x.shape and stride == 1 else y

    x = nnf.silu(net.norm(conv(x, "conv_stem", 2), "bn1"))
    for stage, first in enumerate(_STRIDES):
        for place in range(net.count(f"blocks.{stage}.")):
            x = block(x, f"blocks.{stage}.{place}", first if place == 0 else 1, stage > 0)
    x = nnf.silu(net.norm(conv(x, "conv_head"), "bn2")).mean((2, 3))
    return net.dense(x, "classifier.0" if "classifier.0.weight" in state else "classifier")


@torch.no_grad()
def ddamfn(state: Mapping[str, Any], x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return logits, features and attention maps of DDAMFN of a batch."""
    net = _Network(state)

    def linear(x: Tensor, name: str, **options: Any) -> Tensor:
        return net.norm(net.conv(x, f"{name}.conv", **options), f"{name}.bn")

    def activated(x: Tensor, name: str, **options: Any) -> Tensor:
        return nnf.prelu(linear(x, name, **options), net.state[f"{name}.prelu.weight"])

    def gates(rows: Tensor, columns: Tensor, name: str) -> tuple[Tensor, Tensor]:
        height, width = rows.shape[2], columns.shape[3]
        joined = torch.cat([rows, columns.permute(0, 1, 3, 2)], dim=2)
        joined = nnf.hardswish(net.norm(net.conv(joined, f"{name}.conv1"), f"{name}.bn1"))
        down, across = torch.split(joined, [height, width], dim=2)
        return (
            torch.sigmoid(net.conv(down, f"{name}.conv2")),
            torch.sigmoid(net.conv(across.permute(0, 1, 3, 2), f"{name}.conv3")),
        )

    def mixed(x: Tensor, name: str, stride: int) -> Tensor:
        x = activated(x, f"{name}.conv")
        parts, start = [], 0
        for part in range(net.count(f"{name}.conv_dw.mixed_depthwise_conv.")):
            each = f"{name}.conv_dw.mixed_depthwise_conv.{part}"
            width, _, kernel, _ = net.state[f"{each}.weight"].shape
            piece = x[:, start : start + width]
            parts.append(net.conv(piece, each, stride=stride, padding=kernel // 2))
            start += width
        x = torch.cat(parts, dim=1)
        down, across = gates(x.mean(3, keepdim=True), x.mean(2, keepdim=True), f"{name}.CA")
        return linear(x * across * down, f"{name}.project")

    x = activated(x, "features.0", stride=2, padding=1)
    x = activated(x, "features.1", padding=1)
    for place in range(2, 8):
        name = f"features.{place}"
        if place % 2 == 0:
            x = mixed(x, name, 2)
            continue
        for each in range(net.count(f"{name}.model.")):
            x = x + mixed(x, f"{name}.model.{each}", 1)
    x = activated(x, "features.8")
    maps = []
    for head in range(sum(f"cat_head{each}.CoordAtt.conv1.bias" in state for each in range(8))):
        name = f"cat_head{head}.CoordAtt"
        down, across = gates(linear(x, f"{name}.Linear_h"), linear(x, f"{name}.Linear_w"), name)
        maps.append(down * across)
    y = x * torch.stack(maps).amax(0)
    return net.dense(linear(y, "Linear").flatten(1), "fc"), x, maps
