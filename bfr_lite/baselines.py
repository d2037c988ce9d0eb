"""What a restorer must beat: resampling alone, and three classical methods of image processing, tuned like for like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, richardson_lucy
from torch import Tensor

from bfr_lite.blur import gaussian_kernels
from bfr_lite.degradation import Degradation, DegradationParams, DegradationRanges
from bfr_lite.face_sets import FaceDataset
from bfr_lite.images import check_images
from bfr_lite.metrics import psnr

Method = Callable[[Tensor], Tensor]  # damaged pictures (B, 3, H, W) in [0, 1] -> restored ones


@dataclass(frozen=True)
class TotalVariation:
    """Total-variation denoising (Rudin, Osher and Fatemi 1992; Chambolle 2004): flat areas, sharp edges.

    weight: strength. The defaults of all three methods are those `tune_all` found for the congress train split under
    the GFPGAN degradation at 128 px.
    """

    weight: float = 0.02

    def __call__(self, images: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]."""
        return _each(images, lambda image: denoise_tv_chambolle(image, self.weight, channel_axis=-1))


@dataclass(frozen=True)
class NonLocalMeans:
    """Non-local means (Buades, Coll and Morel, CVPR 2005): average what looks alike elsewhere in the picture.

    strength: how unlike two patches may be, in units of the pixels. Patches of 5 px, searched up to 6 px away.
    """

    strength: float = 0.04

    def __call__(self, images: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]."""
        return _each(
            images,
            lambda image: denoise_nl_means(
                image, patch_size=5, patch_distance=6, h=self.strength, fast_mode=True, channel_axis=-1
            ),
        )


@dataclass(frozen=True)
class RichardsonLucy:
    """Richardson–Lucy deconvolution (Richardson 1972, Lucy 1974) of a round Gaussian blur, guessed the same for all.

    sigma: of the blur, in pixels. iterations: more sharpen more, and draw rings and noise.
    """

    sigma: float = 1.5
    iterations: int = 3

    def __call__(self, images: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]."""
        sigma = torch.tensor([self.sigma])
        kernel = gaussian_kernels(sigma, sigma, torch.zeros(1))[0, :, :, None].numpy()
        margin = 2 * len(kernel)
        pad = ((margin, margin), (margin, margin), (0, 0))

        def deconvolve(image: np.ndarray) -> np.ndarray:
            # scikit-image takes what lies outside for black: mirrored margins keep that away from the picture.
            padded = np.pad(image, pad, mode="symmetric")
            sharp = richardson_lucy(padded, kernel, self.iterations, filter_epsilon=1e-6)
            return sharp[margin:-margin, margin:-margin]

        return _each(images, deconvolve)


# What `tune_all` chooses from.
CANDIDATES: Mapping[str, tuple[Method, ...]] = {
    "total variation": tuple(TotalVariation(weight) for weight in (0.01, 0.02, 0.04, 0.08)),
    "non-local means": tuple(NonLocalMeans(strength) for strength in (0.01, 0.02, 0.04, 0.08)),
    "Richardson–Lucy": tuple(RichardsonLucy(sigma, count) for sigma in (1.0, 1.5, 2.0) for count in (1, 3, 6)),
}
DEFAULTS: Mapping[str, Method] = {
    "total variation": TotalVariation(),
    "non-local means": NonLocalMeans(),
    "Richardson–Lucy": RichardsonLucy(),
}


def tune(candidates: Sequence[Method], clean: Tensor, degraded: Tensor) -> tuple[Method, Tensor]:
    """The candidate with the highest mean PSNR on pairs (B, 3, H, W), and the mean PSNR of each, in dB."""
    scores = torch.stack([psnr(method(degraded), clean).mean() for method in candidates])
    return candidates[int(scores.argmax())], scores


def tune_all(faces: FaceDataset, degradation: Degradation, seed: int = 0) -> dict[str, Method]:
    """Every classical method, with the parameters that do best on `faces`, which must not be the ones tested on."""
    clean = faces.batch(range(len(faces)))
    degraded = degradation.apply(clean, degradation.sample(len(clean), torch.Generator().manual_seed(seed)))
    return {name: tune(candidates, clean, degraded)[0] for name, candidates in CANDIDATES.items()}


def resampled(images: Tensor, degradation: Degradation, params: DegradationParams) -> dict[str, Tensor]:
    """The low-resolution pictures brought up to size without any restoration, in two ways.

    "input, pixels repeated": every pixel becomes a block. "input, bicubic": the degradation as it is, whose last
    enlargement is bicubic: what every method is given, and the baseline papers call input or bicubic. Both show the
    same blur, noise, JPEG and colour.
    """
    stages = degradation.apply(images, params, return_stages=True)
    zero = torch.zeros_like(params.noise)
    # nothing but the colour step, which comes after the enlargement
    colour = replace(params, sigma_x=zero, sigma_y=zero, down=zero + 1, noise=zero, quality=zero.long())
    blocks = Degradation(DegradationRanges(), size=None).apply(stages["jpeg"], colour)
    return {"input, pixels repeated": blocks, "input, bicubic": stages["output"]}


def _each(images: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """`function` of every picture as a float32 array (H, W, 3), clamped to [0, 1] as a batch like `images`."""
    check_images(images)
    arrays = images.permute(0, 2, 3, 1).float().cpu().numpy()
    restored = np.stack([function(array) for array in arrays]).astype(np.float32)
    return torch.from_numpy(restored).permute(0, 3, 1, 2).clamp(0, 1).contiguous().to(images)
