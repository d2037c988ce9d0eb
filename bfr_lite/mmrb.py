"""The mixed multi-path residual block (MMRB): a residual block that listens for weak texture.

Hu et al. (arXiv 2205.14377) name the block and its purpose: to extract weak texture features gradually, so that the
original face is kept and little is invented, in a block that fits any network. Its inner layout is our reading, see
notebook 02.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.layers import Conv2d, draw_weights

PATHS = ("point", "local", "wide", "dilated", "texture")


class MMRB(nn.Module):
    """Mixed multi-path residual block: (B, channels, H, W) -> the same shape, a drop-in for any residual block.

    The input is reduced by a 1x1 convolution and dealt to parallel paths of growing receptive field: 1x1 (`point`),
    3x3 (`local`), 3x3 twice (`wide`), 3x3 with dilation 2 (`dilated`), and 3x3 on the local high-pass of the input
    (`texture`). Each path hands its result on to the next (the *mix*). All results are joined, fused by a 1x1
    convolution, gated per channel, and added to the input with a small learnable scale. No normalisation layer.

    Args:
        channels: at least 4.
        paths: the paths to build, a subset of `PATHS` in that order. A path left out costs no parameters.
        width: channels of each path; a quarter of `channels` unless given.
        generator: random source of the initial weights, seed 0 unless given: blocks of one size then start alike, so
            give several of them one generator.

    Attributes:
        active: names of the paths at work; take one out to silence it without touching the weights.

    Raises:
        ValueError: fewer than 4 channels, or an unknown or empty choice of paths.
    """

    def __init__(
        self,
        channels: int,
        paths: tuple[str, ...] = PATHS,
        width: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        unknown = set(paths) - set(PATHS)
        if unknown or not paths:
            raise ValueError(f"paths must be some of {PATHS}, got {tuple(paths)}")
        if channels < 4:
            raise ValueError(
                f"channels must be at least 4, got {channels}: widen the network or use a plain convolution"
            )
        self.names = tuple(name for name in PATHS if name in paths)
        self.active = set(self.names)
        width = width or max(2, channels // 4)
        self.reduce = Conv2d(channels, width * len(self.names), 1)
        self.paths = nn.ModuleDict({name: make_path(name, width) for name in self.names})
        self.fuse = Conv2d(width * len(self.names), channels, 1)
        self.gate = ChannelGate(channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.2))
        draw_weights(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W), any height and width."""
        joined = torch.cat(list(self.responses(x).values()), dim=1)
        return x + self.scale * self.gate(self.fuse(joined))

    def responses(self, x: Tensor) -> dict[str, Tensor]:
        """What each path answers, {name: (B, width, H, W)}; zeros from a silenced path.

        The next path then hears the last active one before it.
        """
        dealt = dict(zip(self.names, self.reduce(x).chunk(len(self.names), dim=1), strict=True))
        if "texture" in dealt:
            dealt["texture"] = high_pass(dealt["texture"])
        responses, handed_on = {}, 0.0
        for name in self.names:
            if name in self.active:
                handed_on = self.paths[name](dealt[name] + handed_on)
                responses[name] = handed_on
            else:
                responses[name] = torch.zeros_like(dealt[name])
        return responses


class ChannelGate(nn.Module):
    """Weigh channels by what the whole picture shows: mean -> two 1x1 layers -> sigmoid (squeeze and excitation)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(4, channels // 8)
        self.squeeze = Conv2d(channels, hidden, 1)
        self.excite = Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) times weights in (0, 2), near 1 at the start of training."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * 2 * torch.sigmoid(self.excite(F.leaky_relu(self.squeeze(mean), 0.2)))


def high_pass(x: Tensor) -> Tensor:
    """What a 3x3 mean does not explain: x minus its local mean, zero on flat areas; no padding is counted."""
    return x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def make_path(name: str, width: int) -> nn.Module:
    """The layers of the path `name`, one of `PATHS`: (B, width, H, W) -> the same shape, leaky ReLU at the end."""
    layers = {
        "point": [Conv2d(width, width, 1)],
        "local": [Conv2d(width, width, 3, padding=1)],
        "wide": [Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), Conv2d(width, width, 3, padding=1)],
        "dilated": [Conv2d(width, width, 3, padding=2, dilation=2)],
        "texture": [Conv2d(width, width, 3, padding=1)],
    }[name]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))
