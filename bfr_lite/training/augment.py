"""DiffAugment: random changes for real and drawn pictures alike, so that no discriminator memorises a small set.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv 2006.10738): colour, translation and
cutout, the policy of its low-data experiments. The discriminator never sees an unaugmented picture, yet the generator
does not learn the augmentations, since a gradient flows through them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def diff_augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Augment pictures (B, 3, H, W) in [0, 1], each in its own way; differentiable in `images`."""
    return _cutout(_translate(_colour(images, rng), rng), rng)


def random_flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each picture of (B, 3, H, W) with probability one half."""
    flip = _uniform(images, rng) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(len(images), generator=rng, device=rng.device).to(images.device)


def _colour(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness +-0.25 (half of [-1, 1] scaled to [0, 1]), saturation 0 to 2, contrast 0.5 to 1.5."""
    brightness, saturation, contrast = (_uniform(images, rng)[:, None, None, None] for _ in range(3))
    images = images + (brightness - 0.5) / 2
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: Tensor, rng: torch.Generator, ratio: float = 1 / 8) -> Tensor:
    """Shift by up to an eighth of the side along both axes; what comes in from outside is mid-grey (0 in [-1, 1])."""
    size = images.shape[-1]
    reach = int(size * ratio + 0.5)
    shift_y, shift_x = ((_uniform(images, rng) * (2 * reach + 1)).long() - reach for _ in range(2))
    padded = torch.nn.functional.pad(images - 0.5, (reach,) * 4)
    along = torch.arange(size, device=images.device) + reach
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    rows = (along + shift_y[:, None])[:, :, None]
    columns = (along + shift_x[:, None])[:, None, :]
    # indexing moves the channel axis last, which is the memory layout the convolutions prefer anyway
    return padded.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2) + 0.5


def _cutout(images: Tensor, rng: torch.Generator, ratio: float = 0.5) -> Tensor:
    """Grey out a square of half the side, centred anywhere."""
    size = images.shape[-1]
    half = int(size * ratio + 0.5) // 2
    centre_y, centre_x = ((_uniform(images, rng) * size).long() for _ in range(2))
    along = torch.arange(size, device=images.device)
    inside_y = (along >= centre_y[:, None] - half) & (along < centre_y[:, None] + half)
    inside_x = (along >= centre_x[:, None] - half) & (along < centre_x[:, None] + half)
    keep = ~(inside_y[:, :, None] & inside_x[:, None, :])
    return (images - 0.5) * keep[:, None] + 0.5
