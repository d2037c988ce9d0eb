"""StyleGAN2's discriminator, which taught the generator: real or drawn?

The residual network of configuration F (arXiv 1912.04958), numerically equal to the official one. Pictures are in
[0, 1] outside this module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bfr_lite.layers import ConvAct, EqualLinear, full_precision, to_minus_one_one
from bfr_lite.stylegan2 import GANConfig, initialise, resolutions


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the resolution (StyleGAN2, figure 7c)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = ConvAct(in_channels, in_channels, 3)
        self.conv_down = ConvAct(in_channels, out_channels, 3, down=True)
        self.skip = ConvAct(in_channels, out_channels, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv_down(self.conv(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """The StyleGAN2 residual discriminator with minibatch standard deviation: real or drawn?"""

    def __init__(self, config: GANConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.resolutions = resolutions(config.size)[::-1]
        last = config.channels(4)
        self.from_rgb = ConvAct(3, config.channels(config.size), 1)
        self.blocks = nn.ModuleDict(
            {str(r): DiscriminatorBlock(config.channels(r), config.channels(r // 2)) for r in self.resolutions[:-1]}
        )
        self.conv = ConvAct(last + 1, last, 3)
        self.dense = EqualLinear(last * 16, last, activate=True)
        self.out = EqualLinear(last, 1)
        initialise(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 1) of pictures (B, 3, size, size) in [0, 1]; higher is more real. No sigmoid."""
        return self.score(self.features(images)[4])

    def score(self, x: Tensor) -> Tensor:
        """Scores (B, 1) from the 4x4 features that `features` gave."""
        with full_precision(x):
            x = self.conv(self._with_minibatch_std(x.to(self.conv.weight.dtype)))
            return self.out(self.dense(x.flatten(1)))

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Features {resolution: (B, C, r, r)} from the picture down to 4x4, for feature-matching losses."""
        size = self.config.size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"images must have shape (B, 3, {size}, {size}), got {tuple(images.shape)}")
        x = self.from_rgb(to_minus_one_one(images))
        features = {size: x}
        for resolution in self.resolutions[:-1]:
            x = self.blocks[str(resolution)](x)
            features[resolution // 2] = x
        return features

    def _with_minibatch_std(self, x: Tensor) -> Tensor:
        """Append how much pictures of a group differ: a collapsed generator gives itself away (Progressive GAN, 3)."""
        batch, _, height, width = x.shape
        group = compared(batch, self.config.mbstd_group)
        grouped = x.reshape(group, batch // group, *x.shape[1:])
        std = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        return torch.cat([x, std.repeat(group)[:, None, None, None].expand(-1, 1, height, width)], dim=1)


def compared(batch: int, most: int) -> int:
    """How many pictures minibatch standard deviation compares: all of a small batch, else what shares it evenly."""
    return batch if batch <= most else math.gcd(batch, most)
