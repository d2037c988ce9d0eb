"""A second judge for the prior, who has seen the world: discriminators on features of a network trained on ImageNet.

Sauer et al., "Projected GANs Converge Faster" (arXiv 2111.01007). A discriminator that starts from nothing must first
learn to see, from few pictures. This one sees through a frozen EfficientNet-Lite, as in that paper: features of four
sizes are mixed by random, frozen convolutions, across channels and from coarse to fine, so that no few channels can be
satisfied alone; a small trained head at each size says real or drawn, place by place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bfr_lite.layers import Conv2d, draw_weights

LOOKED_AT = 128  # pixels; smaller pictures are enlarged to it, for the network knows photos
WIDTH = 64


class ProjectedDiscriminator(nn.Module):
    """Features of pictures, as `see` gives them -> scores (B, S): S places over all sizes; higher is more real.

    Args:
        eye: the frozen network, asked here for the shapes of its features and no part of this one.
        generator: random source of the frozen mixing and of the heads' initial weights.
    """

    def __init__(self, eye: nn.Module, generator: torch.Generator):
        super().__init__()
        with torch.no_grad():
            shapes = [feature.shape[1:] for feature in eye(torch.zeros(1, 3, LOOKED_AT, LOOKED_AT))]
        self.across_channels = nn.ModuleList(Conv2d(shape[0], WIDTH, 1, bias=False) for shape in shapes)
        self.across_sizes = nn.ModuleList(Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False) for _ in shapes)
        self.heads = nn.ModuleList(_head(shape[-1]) for shape in shapes)
        draw_weights(self, generator)
        for mixing in (self.across_channels, self.across_sizes):
            mixing.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):  # spectral norm draws its first vectors from the global source
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for layer in self.heads.modules():
                if isinstance(layer, Conv2d):
                    spectral_norm(layer)

    def forward(self, features: list[Tensor]) -> Tensor:
        mixed, coarser = [], None
        for feature, channels, sizes in zip(
            features[::-1], self.across_channels[::-1], self.across_sizes[::-1], strict=True
        ):
            x = channels(feature)
            if coarser is not None:
                x = x + F.interpolate(coarser, x.shape[-2:], mode="bilinear", align_corners=False)
            coarser = _unit_scale(sizes(x))
            mixed.append(coarser)
        scores = [head(x).flatten(1) for head, x in zip(self.heads, mixed[::-1], strict=True)]
        return torch.cat(scores, dim=1)


def _unit_scale(x: Tensor) -> Tensor:
    """Each picture's features to a mean square of one, so that scores start near zero whatever the features' size."""
    return x * (x.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()


def see(eye: nn.Module, images: Tensor) -> list[Tensor]:
    """Features of pictures (B, 3, H, H) in about [0, 1] of any size; gradients pass."""
    return eye(F.interpolate(images, (LOOKED_AT, LOOKED_AT), mode="bilinear", antialias=True, align_corners=False))


def _head(size: int) -> nn.Sequential:
    """Halve to 4x4, then one score a place; spectral norm will keep every layer's slope at most one."""
    layers: list[nn.Module] = []
    while size > 4:
        layers += [Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2)]
        size //= 2
    return nn.Sequential(*layers, Conv2d(WIDTH, 1, 3, padding=1, bias=False))
