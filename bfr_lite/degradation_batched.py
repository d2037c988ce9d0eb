"""Shrink, noise, JPEG and enlarge for a whole batch at once, for devices that would wait for Python.

Each picture of a batch shrinks to a size of its own. On a CPU, `degradation` takes them one after the other; a GPU
would spend its time waiting for the next small task. Here all lie on one canvas, as large as the largest of them
needs. Shrinking and enlarging are products with one matrix a picture, and beyond a picture's own size the canvas
repeats its last row and column, as JPEG fills its blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bfr_lite.degradation_params import DegradationParams
from bfr_lite.jpeg import MCU, jpeg_differentiable, repeat_last
from bfr_lite.resample import bicubic_matrices


def low_resolution_stages(images: Tensor, params: DegradationParams, sizes: Tensor) -> Tensor:
    """What the low-resolution stages make of blurred `images` (B, 3, H, W): the same shape, differentiable.

    sizes: (B, 2), rows and columns of each picture when it is small.
    """
    sizes, full = sizes.to(images.device), torch.tensor(images.shape[-2:], device=images.device).expand(len(sizes), 2)
    canvas = [-(-int(side) // MCU) * MCU for side in sizes.amax(dim=0)]
    small = _resize(images, full, sizes, canvas)
    noise = images.new_zeros(small.shape)
    for pattern, one, (height, width) in zip(noise, params, sizes.tolist(), strict=True):
        pattern[:, :height, :width] = one.noise_pattern(height, width)[0].to(pattern)
    strength = params.noise.to(images)[:, None, None, None] / 255
    coded = repeat_last((small + strength * noise).clamp(0, 1), sizes)
    if params.quality.any():
        lossy = jpeg_differentiable(coded, params.quality.clamp(min=1), sizes)
        coded = torch.where(params.quality.to(coded.device)[:, None, None, None] > 0, lossy, coded)
    return _resize(coded, sizes, full, images.shape[-2:])


def _resize(images: Tensor, before: Tensor, after: Tensor, canvas: list[int]) -> Tensor:
    """Pictures of `before` (B, 2) pixels within `images`, resized to `after` (B, 2) pixels within `canvas`."""
    rows, columns = (
        bicubic_matrices(before[:, axis], after[:, axis], images.shape[2 + axis], canvas[axis]).to(images)
        for axis in (0, 1)
    )
    return (rows[:, None] @ images @ columns[:, None].mT).clamp(0, 1)
