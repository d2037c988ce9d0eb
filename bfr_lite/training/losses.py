"""The losses of the prior and of the restorer, each a few lines and one idea."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.alignment import template

NEIGHBOURHOODS = 10  # that fit side by side in a face, where the two pictures are compared
SPREAD = 0.08  # standard deviation of a landmark's weight, in sides
MIDDLE = (0.36, 0.25)  # top and left of the square from brows to chin, half as wide as the picture, in sides
TAUGHT = (4, 8, 16)  # resolutions at which the student follows the teacher
CAUTION = 4.0  # what trusting wrongly costs against mistrusting wrongly: noise let in shows more than detail left out


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the restorer; zero turns a term off. Pictures are in [0, 1]."""

    pixel: float = 20.0
    pyramid: float = 5.0
    perceptual: float = 1.0
    feature: float = 0.2
    adversarial: float = 0.1
    latent: float = 0.2
    teacher: float = 0.2
    redegradation: float = 5.0
    trust: float = 1.0


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Logistic loss of the discriminator: softplus(-real) + softplus(fake) (Goodfellow et al., 2014)."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Non-saturating loss of the generator: softplus(-fake)."""
    return F.softplus(-fake_scores).mean()


def r1_penalty(real_scores: Tensor, real_images: Tensor) -> Tensor:
    """Mean squared gradient norm of the scores at real pictures (Mescheder et al., arXiv 1801.04406).

    `real_images` are in [0, 1] and require a gradient; the norm is that of pictures in [-1, 1], the unit in which
    published values of gamma are given: a step there is twice as long, so the squared gradient is a quarter.
    """
    (gradient,) = torch.autograd.grad(real_scores.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 4


def charbonnier(output: Tensor, target: Tensor, *, weight: Tensor | float = 1.0, epsilon: float = 1e-3) -> Tensor:
    """A smooth L1 distance of pictures (B, C, H, W), mean of weight * sqrt(d^2 + epsilon^2) over each: (B,).

    Forgiving to outliers, with a gradient at zero. `weight` is a number or a map (H, W)."""
    return (weight * ((output - target).square() + epsilon**2).sqrt()).mean(dim=(1, 2, 3))


def landmark_weight(size: int, emphasis: float) -> Tensor:
    """What a pixel counts, (size, size) float32: 1, and up to 1 + `emphasis` at eyes, nose and mouth corners.

    They are where the FFHQ position has them, and about where faces in training have: a face is told by a tenth of its
    pixels. GFPGAN (arXiv 2101.04061, 3.5) gives them discriminators of their own.
    """
    apart = torch.arange(size) - torch.from_numpy(template(size)).float()[:, :, None]  # (5, x and y, size)
    bumps = torch.exp(-(apart / (SPREAD * size)).square() / 2)
    across, down = bumps[:, 0, None, :], bumps[:, 1, :, None]
    return 1 + emphasis * (across * down).amax(dim=0)


def look_closer(faces: Tensor, chosen: Tensor) -> Tensor:
    """Aligned faces (B, 3, S, S), those `chosen` (B,) by their middle alone, brows to chin, at twice the scale.

    Eyes and mouth are small in the whole picture; hair and outline are not in its middle.
    """
    size = faces.shape[-1]
    top, left = (round(share * size) for share in MIDDLE)
    middle = faces[..., top : top + size // 2, left : left + size // 2]
    middle = F.interpolate(middle, (size, size), mode="bilinear", align_corners=False)
    return torch.where(chosen[:, None, None, None], middle, faces)


def feature_distance(output: Iterable[Tensor], target: Iterable[Tensor]) -> Tensor:
    """Mean over layers of the L1 distance of features normalised to unit length along channels.

    The features are those of a discriminator: a perceptual distance that needs no downloaded network. It is in the
    manner of LPIPS (arXiv 1801.03924) and of feature matching (pix2pixHD, arXiv 1711.11585), and is neither.
    """
    distances = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).abs().sum(dim=1).mean()
        for a, b in zip(output, target, strict=True)
    ]
    return torch.stack(distances).mean()


@torch.no_grad()
def nearer(one: Tensor, other: Tensor, clean: Tensor) -> Tensor:
    """Where `one` is nearer to `clean` than `other` is, all (B, 3, H, W): (B, 1, H, W) of ones and zeros.

    Errors are averaged over a neighbourhood first, so that the answer is about places and not about single pixels.
    """
    side = 2 * (clean.shape[-1] // NEIGHBOURHOODS // 2) + 1
    apart = (one - clean).abs() - (other - clean).abs()
    return (F.avg_pool2d(apart.mean(dim=1, keepdim=True), side, stride=1, padding=side // 2) < 0).to(clean.dtype)


def trust_distance(trust: Tensor, wanted: Tensor) -> Tensor:
    """How far a trust map is from what `nearer` says of it, both (B, 1, H, W): squared error, cautious, (B,)."""
    return (torch.where(wanted > 0, 1.0, CAUTION) * (trust - wanted).square()).mean(dim=(1, 2, 3))
