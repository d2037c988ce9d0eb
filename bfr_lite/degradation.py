"""How a face picture goes bad: blur, shrink, noise, JPEG, enlarge, and colour.

The classic model of blind face restoration (Li et al., *Blind Face Restoration via Deep Multi-scale Component
Dictionaries*, ECCV 2020; Wang et al., *GFPGAN*, CVPR 2021, section 4.1):

    y = enlarge( JPEG( shrink( x * blur kernel ) + noise ) )

Drawing and doing are apart: `Degradation.sample` draws explicit parameters, `Degradation.apply` has no chance
in it. Where published code shrinks and enlarges bilinearly without antialiasing and cuts blur kernels at 41
pixels, this one resamples by antialiased bicubic interpolation and lets kernels reach as far as their sigma
needs.

Who computes it, from the same parameters:

                               on a CPU, picture by picture         on a GPU, all at once
    `apply`                    `_degrade`, JPEG by a real codec     `_degrade_together`, JPEG in tensors
    `apply_differentiable`     `_degrade`, JPEG in tensors          `_degrade_together`, JPEG in tensors
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.blur import blur, gaussian_kernels
from bfr_lite.degradation_batched import low_resolution_stages
from bfr_lite.degradation_params import NAMED_RANGES, DegradationError, DegradationParams, DegradationRanges
from bfr_lite.images import check_images
from bfr_lite.jpeg import jpeg_differentiable, luma, through_file
from bfr_lite.layers import at_least_float32, full_precision
from bfr_lite.resample import bicubic_bands, blurring_bands, resample

PUBLISHED_SIZE = 512  # published blur sigmas and landmark distances are in pixels of a picture this large
SMALLEST_SIDE = 4  # pixels; no picture is shrunk below this
MILDEST_JPEG = 95
Codec = Callable[[Tensor, float], Tensor]
DRAWS = 13  # random numbers per picture, always all drawn, so that ranges can change and the luck stay


@dataclass(frozen=True)
class Degradation:
    """The degradation of square pictures of `size` pixels, by `ranges`.

    `size` may be None where there is no blur: then any height and width will do. Raises `DegradationError`.
    """

    ranges: DegradationRanges
    size: int | None

    def __post_init__(self) -> None:
        if self.size is None and self.ranges.blur[1] > 0:
            raise DegradationError("blur is in 512 px units: give the size of the pictures, in pixels")
        if self.size is not None and self.size < 2 * SMALLEST_SIDE:
            raise DegradationError(f"size must be at least {2 * SMALLEST_SIDE} pixels, got {self.size}")

    @classmethod
    def named(cls, name: str, size: int) -> Degradation:
        """The published ranges `gfpgan`, `codeformer` (its stage 2, the severe one) or `diffbir`; `shrunk`; or `none`.

        `shrunk` only shrinks, by 1 to 16; `none` leaves pictures as they are.
        """
        if name not in NAMED_RANGES:
            raise DegradationError(f"no degradation named {name!r}; there are {', '.join(NAMED_RANGES)}")
        return cls(NAMED_RANGES[name], size)

    @classmethod
    def super_resolution(cls, scale: float, size: int | None = None) -> Degradation:
        """Face super-resolution: shrink by exactly `scale` (2 to 16) and enlarge again, nothing else.

        Without `size`, pictures of any size will do; but no picture is shrunk below 4 pixels.
        """
        if not 2 <= scale <= 16:
            raise DegradationError(f"scale must be from 2 to 16, got {scale}")
        if size is not None and size / scale < SMALLEST_SIDE:
            raise DegradationError(f"x{scale} leaves under {SMALLEST_SIDE} pixels of {size}: lower the scale")
        return cls(DegradationRanges(down=(scale, scale)), size)

    @classmethod
    def of_severity(cls, severity: float, size: int) -> Degradation:
        """Ranges from nearly clean (0: JPEG 95 and no more) to CodeFormer's stage 2 (1).

        Both ends of each range move together: blur, noise and quality linearly, the shrink factor
        geometrically (its steps are seen as ratios). From one seed, no picture's parameter ever gets milder
        as `severity` grows.
        """
        if not 0 <= severity <= 1:
            raise DegradationError(f"severity must lie in [0, 1], got {severity}")
        worst = NAMED_RANGES["codeformer"]
        ranges = replace(
            worst,
            blur=tuple(severity * sigma for sigma in worst.blur),
            down=tuple(factor**severity for factor in worst.down),
            noise=tuple(severity * sigma for sigma in worst.noise),
            jpeg=tuple(round(MILDEST_JPEG + severity * (quality - MILDEST_JPEG)) for quality in worst.jpeg),
        )
        return cls(ranges, size)

    def sample(self, batch: int, generator: torch.Generator) -> DegradationParams:
        """Draw parameters for `batch` pictures, on the CPU; the same `generator` state gives the same.

        The luck does not depend on the ranges, and a smaller batch is a prefix of a larger one.
        """
        draws = torch.rand(batch, DRAWS, generator=generator, device=generator.device, dtype=torch.float64)
        u, ranges = draws.cpu().unbind(dim=1), self.ranges
        pixels = (self.size or 0) / PUBLISHED_SIZE
        sigma_x, sigma_y = _between(ranges.blur, u[0]) * pixels, _between(ranges.blur, u[1]) * pixels
        low, high = ranges.jpeg or (0, 0)
        shift = ranges.shift * (2 * torch.stack(u[7:10], dim=1) - 1) * (u[10] < ranges.shift_share)[:, None]
        return DegradationParams(
            sigma_x=sigma_x.float(),
            sigma_y=torch.where(u[2] < ranges.isotropic, sigma_x, sigma_y).float(),
            angle=(math.pi * u[3]).float(),
            down=_between(ranges.down, u[4]).float(),
            noise=_between(ranges.noise, u[5]).float(),
            quality=low + ((1 + high - low) * u[6]).long(),
            shift=shift.float(),
            grey=u[11] < ranges.grey_share,
            seed=(2**31 * u[12]).long(),
        )

    @torch.no_grad()
    def apply(
        self, images: Tensor, params: DegradationParams, return_stages: bool = False
    ) -> Tensor | dict[str, Tensor]:
        """Degrade (B, 3, H, W) pictures in [0, 1]: same parameters, same bits, same dtype; no gradient passes.

        On a CPU by the real JPEG codec; elsewhere all pictures at once, by its tensor form.

        With `return_stages`, a dict of every stage in order: `input`, `blur`, `down`, `noise`, `jpeg`, `up`,
        `output`, each (B, 3, H, W); `down`, `noise` and `jpeg`, whose true size is `low_size`, are enlarged
        to it by repeating pixels. Raises `ImageError`, `DegradationError` and `BlurError`.
        """
        check_images(images, self.size)
        if not (images.is_cpu or return_stages):
            return self.apply_differentiable(images, params)
        wide = at_least_float32(images)
        with full_precision(images):
            stages = _degrade(wide, params, _file_codec)
        if not return_stages:
            return torch.cat(stages["output"]).to(images)
        shown = {
            name: torch.cat([F.interpolate(picture, images.shape[-2:], mode="nearest-exact") for picture in pictures])
            for name, pictures in stages.items()
        }
        blurred = [_blur(picture, one) for picture, one in zip(wide.split(1), params, strict=True)]
        return {name: x.to(images) for name, x in {"input": images, "blur": torch.cat(blurred), **shown}.items()}

    def apply_differentiable(self, images: Tensor, params: DegradationParams) -> Tensor:
        """As `apply`, by the differentiable JPEG: gradients reach `images`, except through clamped pixels.

        A generator's output may be given as it is: it need not lie in [0, 1] exactly.
        """
        check_images(images.detach().clamp(0, 1), self.size)
        with full_precision(images):
            if images.is_cpu:
                stages = _degrade(at_least_float32(images), params, jpeg_differentiable)
                return torch.cat(stages["output"]).to(images)
            return _degrade_together(at_least_float32(images), params).to(images)


def degrade(images: Tensor, severity: float = 0.5, generator: torch.Generator | None = None) -> Tensor:
    """Degrade square pictures (B, 3, size, size) in [0, 1] by a `severity` in [0, 1].

    See `Degradation.of_severity`. Without a `generator`, each call starts from seed 0. Raises `ImageError`
    and `DegradationError`.
    """
    check_images(images)
    degradation = Degradation.of_severity(severity, images.shape[-1])
    generator = generator or torch.Generator().manual_seed(0)
    return degradation.apply(images, degradation.sample(len(images), generator))


def low_size(side: int, down: float) -> int:
    """Pixels left of a `side` after shrinking by `down`: rounded, and never under 4."""
    return max(SMALLEST_SIDE, round(side / down))


def _degrade(images: Tensor, params: DegradationParams, codec: Codec) -> dict[str, list[Tensor]]:
    """The stages from `down` on, in order, each a list of pictures (1, 3, height, width).

    Small pictures differ in size, so each goes by itself; but all through one stage before the next, for a stage runs
    faster while its code and tables are in the processor's cache.
    """
    _check_fit(images, params)
    pictures, ones = images.split(1), list(params)
    small = [_shrink(picture, one) for picture, one in zip(pictures, ones, strict=True)]
    noisy = [_add_noise(picture, one) for picture, one in zip(small, ones, strict=True)]
    coded = [
        codec(picture, quality) if quality else picture
        for picture, quality in zip(noisy, params.quality.tolist(), strict=True)
    ]
    up = [_resize(picture, images.shape[-2:]) for picture in coded]
    output = [_colour(picture, one) for picture, one in zip(up, ones, strict=True)]
    return {"down": small, "noise": noisy, "jpeg": coded, "up": up, "output": output}


def _add_noise(picture: Tensor, one: DegradationParams) -> Tensor:
    pattern = one.noise_pattern(*picture.shape[-2:]).to(picture)
    return picture.add(pattern, alpha=one.noise.item() / 255).clamp(0, 1)


def _file_codec(picture: Tensor, quality: float) -> Tensor:
    return through_file(picture[0], int(quality))[None].to(picture)


def _shrink(picture: Tensor, one: DegradationParams) -> Tensor:
    """Blur and shrink one picture (1, 3, H, W).

    A round kernel goes by rows and columns, like shrinking, and both go in one; a turned ellipse does not.
    """
    size, sigma = picture.shape[-2:], one.sigma_x.item()
    low = tuple(low_size(side, one.down.item()) for side in size)
    if sigma != one.sigma_y.item():
        return _resize(_blur(picture, one), low)
    if sigma == 0:
        return _resize(picture, low)
    rows = blurring_bands(size[0], low[0], sigma)
    columns = rows if size[0] == size[1] else blurring_bands(size[1], low[1], sigma)
    return resample(picture, rows, columns).clamp(0, 1)


def _degrade_together(images: Tensor, params: DegradationParams) -> Tensor:
    """`Degradation.apply_differentiable` without a task for each picture, so that a GPU is kept busy."""
    _check_fit(images, params)
    sizes = torch.tensor([[low_size(side, down) for side in images.shape[-2:]] for down in params.down.tolist()])
    return _colour(low_resolution_stages(_blur(images, params), params, sizes), params)


def _check_fit(images: Tensor, params: DegradationParams) -> None:
    if len(params) != len(images):
        raise DegradationError(f"parameters for {len(params)} pictures do not fit {len(images)} pictures")
    if not all(0 <= one <= 100 and one == round(one) for one in params.quality.tolist()):
        raise DegradationError(f"JPEG quality must be whole, 1 to 100, or 0 for none; got {params.quality.tolist()}")


def _blur(images: Tensor, params: DegradationParams) -> Tensor:
    return blur(images, gaussian_kernels(params.sigma_x, params.sigma_y, params.angle))


def _colour(images: Tensor, params: DegradationParams) -> Tensor:
    # Most pictures keep their colours, and then there is no need to go over them.
    shifted = images
    if params.shift.any():
        shifted = (images + params.shift.to(images)[:, :, None, None] / 255).clamp(0, 1)
    if not params.grey.any():
        return shifted
    grey = params.grey.to(images.device)[:, None, None, None]
    return torch.where(grey, luma(shifted), shifted)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    return resample(images, *(bicubic_bands(*sides) for sides in zip(images.shape[-2:], size, strict=True))).clamp(0, 1)


def _between(limits: tuple[float, float], u: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * u
