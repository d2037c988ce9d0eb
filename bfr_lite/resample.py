"""Shrinking, enlarging and round blur as products with matrices: banded ones on a CPU, whole ones for a batch on a GPU.

Each pixel of a resized picture depends on a few neighbours, so the matrix that makes a column of them is zero but for a
band along its diagonal. Here it is cut into blocks of rows, each with its part of the band. A round Gaussian is a
product of two such matrices, as shrinking is; the product of both is one more, and blurs only where a pixel remains.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bfr_lite.blur import check_radius, gaussian_taps

BLOCK = 64  # pixels that a block of rows spans, before or after: few hold few zeros, many keep a core busy
WHOLE = 128  # pixels up to which zeros cost less than several blocks do


class Block(NamedTuple):
    """Rows of a banded matrix: `weights` (rows, columns) of the inputs from `start` on; all others weigh nothing."""

    start: int
    weights: Tensor


Bands = tuple[Block, ...]


def bicubic_matrices(before: Tensor, after: Tensor, columns: int, rows: int) -> Tensor:
    """Matrices (B, rows, columns) that resample `before` (B,) values to `after` (B,): antialiased bicubic.

    The weights of `F.interpolate(..., mode="bicubic", antialias=True)`: Keys' cubic with a = -1/2, as wide as the
    pixels of the smaller picture. Rows beyond `after` and columns beyond `before` are zero.
    """
    if before.is_mps:  # which has no 64 bits
        before, after = before.cpu(), after.cpu()
    before, after = before.double()[:, None, None], after.double()[:, None, None]
    here = torch.arange(columns, device=before.device, dtype=before.dtype)
    there = torch.arange(rows, device=before.device, dtype=before.dtype)[:, None]
    weights = _keys_cubic(here, there, before / after) * (here < before) * (there < after)
    return (weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)).float()


@lru_cache(maxsize=512)  # of 512 px a few dozen KiB each
@torch.inference_mode(False)  # kept for later calls, which may train
def bicubic_bands(before: int, after: int) -> Bands:
    """Bands that resample `before` >= 1 pixels to `after` >= 1, with the weights of `bicubic_matrices`."""
    scale, blocks = torch.tensor(before / after, dtype=torch.float64), []
    reach = 2 * max(scale.item(), 1)
    longer = max(before, after)
    rows = after if longer <= WHOLE else max(1, BLOCK * after // longer)
    for there in torch.arange(after, dtype=scale.dtype).split(rows):
        first, last = (scale * (there[[0, -1]] + 0.5)).tolist()
        start, stop = max(0, math.floor(first - reach)), min(before, math.ceil(last + reach))
        weights = _keys_cubic(torch.arange(start, stop, dtype=scale.dtype), there[:, None], scale)
        blocks.append(Block(start, (weights / weights.sum(dim=1, keepdim=True)).float()))
    return tuple(blocks)


def blurring_bands(before: int, after: int, sigma: float) -> Bands:
    """As `bicubic_bands`, after a Gaussian blur by `sigma` >= 0, in pixels of `before`, reflected at both ends.

    Raises `BlurError` where the blur reaches beyond a mirror image of the picture.
    """
    taps = gaussian_taps(sigma)
    radius = len(taps) // 2
    check_radius(radius, before)
    bands = bicubic_bands(before, after)
    widest = max(block.weights.shape[1] for block in bands)
    # one row a pixel, each with all taps, each one pixel further: the blur of `widest` pixels, whichever they are
    shifted = torch.cat([taps, taps.new_zeros(widest)]).repeat(widest)
    shifted = shifted[: widest * (widest + 2 * radius)].view(widest, -1)
    blurred = []
    for start, weights in bands:
        count = weights.shape[1]
        wide = weights @ shifted[:count, : count + 2 * radius]
        blurred.append(_reflected(start - radius, wide, before))
    return tuple(blurred)


def resample(images: Tensor, rows: Bands, columns: Bands) -> Tensor:
    """Resample (..., H, W) to (..., H', W') by bands for its rows (H to H') and columns (W to W'); differentiable."""
    parts = [weights.to(images) @ images[..., start : start + weights.shape[1], :] for start, weights in rows]
    images = _joined(parts, dim=-2)
    parts = [images[..., start : start + weights.shape[1]] @ weights.T.to(images) for start, weights in columns]
    return _joined(parts, dim=-1)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]  # one part needs no copy


def _keys_cubic(here: Tensor, there: Tensor, scale: Tensor) -> Tensor:
    """What pixels `here`, before, weigh in those `there`, after, not yet normalised; `scale` is before / after."""
    x = (here + 0.5 - scale * (there + 0.5)).abs() / scale.clamp(min=1)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _reflected(start: int, wide: Tensor, length: int) -> Block:
    """Fold back what of `wide` (rows, columns), from column `start` on, lies outside of `length` columns."""
    left, right = max(0, -start), max(0, start + wide.shape[1] - length)
    if left:
        wide[:, left + 1 : 2 * left + 1] += wide[:, :left].flip(1)
    if right:
        wide[:, -2 * right - 1 : -right - 1] += wide[:, -right:].flip(1)
    return Block(start + left, wide[:, left : wide.shape[1] - right])
