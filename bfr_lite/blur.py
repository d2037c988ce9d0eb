"""Gaussian blur, round or stretched and turned, with another kernel for each picture of a batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIGMA = 0.01  # pixels; a kernel of less is a single dot all the same
REACH = 4  # a kernel extends this many sigmas each way


class BlurError(ValueError):
    """A blur kernel too wide for the picture."""


def gaussian_kernels(sigma_x: Tensor, sigma_y: Tensor, angle: Tensor) -> Tensor:
    """Rotated Gaussian kernels (B, K, K) that sum to 1, from sigmas (pixels) and angles (radians), each (B,).

    K is odd and common to all: the largest sigma sets it. A kernel is 0 beyond four of its own sigmas, so
    that it does not depend on its neighbours in the batch.
    """
    reach = (REACH * torch.maximum(sigma_x, sigma_y)).ceil()[:, None]
    radius = int(reach.max())
    steps = torch.arange(-radius, radius + 1, device=sigma_x.device, dtype=sigma_x.dtype)
    cos, sin = angle.cos(), angle.sin()
    axes = torch.stack([cos, sin, -sin, cos], dim=1).view(-1, 2, 2)  # along the ellipse, across it
    axes = axes / torch.stack([sigma_x, sigma_y], dim=1).clamp(min=SMALLEST_SIGMA)[:, :, None]
    x, y = (part * steps for part in axes.split(1, dim=2))  # (B, 2, K) each
    along_across = x[:, :, None] + y[..., None]  # (B, 2, K, K), in sigmas
    kernels = (along_across.square().sum(dim=1) / -2).exp()
    inside = steps.abs() <= reach
    kernels = kernels * (inside[:, :, None] & inside[:, None])
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def gaussian_taps(sigma: float) -> Tensor:
    """The row through the middle of a round kernel of `sigma` pixels, (2 ceil(4 sigma) + 1,), brought to the sum 1.

    The kernel is its product with itself.
    """
    radius = math.ceil(REACH * sigma)
    taps = torch.exp(-(torch.arange(-radius, radius + 1.0) / max(sigma, SMALLEST_SIGMA)).square() / 2)
    return taps / taps.sum()


def check_radius(radius: int, side: int) -> None:
    """Raise `BlurError` unless a kernel that reaches `radius` pixels finds that many to reflect in `side` pixels."""
    if radius >= side:
        raise BlurError(f"a kernel of radius {radius} is too wide for {side} pixels: lower sigma")


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each of (B, 3, H, W) pictures, reflected at its borders, with its own kernel (B, K, K), K odd.

    A product of Fourier transforms: unlike a sliding window, its cost hardly grows with the kernel.
    """
    radius = kernels.shape[-1] // 2
    if radius == 0:
        return images
    check_radius(radius, min(images.shape[-2:]))
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    height, width = padded.shape[-2:]
    size = (fast_length(height), fast_length(width))
    spectrum = torch.fft.rfft2(padded, s=size).mul_(torch.fft.rfft2(kernels[:, None].to(images), s=size))
    return torch.fft.irfft2(spectrum, s=size)[..., 2 * radius : height, 2 * radius : width]


def fast_length(least: int) -> int:
    """The first multiple of 8 from `least` on with no prime factor above 5: its Fourier transform is fast.

    Other factors make it several times slower (592 is 16 times 37), and so do odd lengths (135 against 144).
    """
    length = -(-least // 8) * 8
    while 30**20 % length:  # 2, 3 and 5, each up to twenty times
        length += 8
    return length
