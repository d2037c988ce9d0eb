"""Directions in W along which a prior's faces turn, nod and smile: found by drawing faces and measuring them.

InterFaceGAN (Shen et al., arXiv 1907.10786) separates labelled samples by a plane in W. Here the labels are numbers
that a landmark network measures, so plain regression serves, with no one to label anything.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bfr_lite.alignment import estimate_pitch, estimate_yaw, mouth_width
from bfr_lite.landmarks import LandmarkNet
from bfr_lite.stylegan2 import Generator

ATTRIBUTES = ("yaw", "pitch", "smile")
RIDGE = 5e-4  # of the mean variance of a code's numbers: some hardly vary, and would be trusted too far
BATCH = 32


def measure_attributes(images: Tensor, landmarks: Callable[[Tensor], Tensor]) -> Tensor:
    """Yaw and pitch in degrees, and smile, of aligned faces (B, 3, S, S) in [0, 1]: (B, 3).

    The signs are those of `alignment.estimate_yaw` and `estimate_pitch`. Smile is the width of the mouth in percent of
    the distance of the eyes: it widens as the corners are drawn back. `landmarks`: a `LandmarkNet`.
    """
    points = landmarks(images).cpu().numpy()
    measured = (estimate_yaw(points), estimate_pitch(points), 100 * mouth_width(points))
    return torch.stack([torch.as_tensor(values, dtype=torch.float32) for values in measured], dim=1)


def find_directions(generator: Generator, count: int = 512, seed: int = 0) -> dict[str, Tensor]:
    """What to add to w for one unit more of each of `ATTRIBUTES`, by name: (w_dim,) each.

    Args:
        generator: a prior of aligned faces.
        count: faces drawn to find the directions, at least twice the size of w; more give truer ones.
        seed: of those faces.
    """
    return regress(*sample_attributes(generator, LandmarkNet.from_pretrained("lite"), count, seed))


@torch.no_grad()
def sample_attributes(
    generator: Generator, landmarks: Callable[[Tensor], Tensor], count: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Codes w (count, w_dim) of random faces, and what was measured of each, (count, 10): `ATTRIBUTES`, then light."""
    ws = generator.sample(count, torch.Generator().manual_seed(seed))
    faces = (generator(part).clamp(0, 1) for part in ws.split(BATCH))
    measured = [torch.cat([measure_attributes(one, landmarks), _light(one)], dim=1) for one in faces]
    return ws[:, 0], torch.cat(measured)


def regress(codes: Tensor, measured: Tensor) -> dict[str, Tensor]:
    """The directions (w_dim,), by name, that codes (N, w_dim) and what `sample_attributes` measured (N, 10) tell.

    Codes are regressed on attributes and light, all at once, so that each direction leaves the others alone: without
    colours and contrast a nod also changes the light. Then the lengths are set so that the best linear guess of the
    attributes from w sees one unit. Raises `ValueError` for an N below twice `w_dim`, too few to guess from.
    """
    count, size = codes.shape
    if count < 2 * size:
        raise ValueError(f"at least {2 * size} faces are needed, twice the size of w, got {count}")
    codes, measured = (values - values.mean(dim=0) for values in (codes, measured))
    directions = torch.linalg.lstsq(measured, codes).solution
    covariance = codes.T @ codes
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(size)
    seen = directions @ torch.linalg.solve(covariance + ridge, codes.T @ measured)
    return dict(zip(ATTRIBUTES, torch.linalg.solve(seen, directions), strict=False))


def _light(images: Tensor) -> Tensor:
    """Mean colours of the picture and of its middle, and the middle's contrast, in percent: (B, 7)."""
    quarter = images.shape[-1] // 4
    middle = images[..., quarter:-quarter, quarter:-quarter]
    contrast = middle.std(dim=(1, 2, 3), keepdim=True)[..., 0, 0]
    return 100 * torch.cat([images.mean(dim=(2, 3)), middle.mean(dim=(2, 3)), contrast], dim=1)
