"""Turn the head on an aligned portrait, so that a set of frontal faces also holds faces seen from aside.

A portrait is a relief: each place of the picture has a depth, and the head turns as a solid body before a distant
camera. The relief is one for all faces in the FFHQ position, a smooth dome, with a nose where the landmarks have it.
What is behind the head does not turn, and stretches to fill what the head uncovers. A hidden ear cannot come to light
in this way, so angles are small.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.alignment import similarity, template

MOST_YAW, MOST_PITCH = 20.0, 10.0  # degrees; beyond, the relief folds over itself
# In shares of the picture's side. The dome: centre, half width and height, and how far it stands out from the axis
# that the head turns about: the depth at which YuNet sees the yaw that was asked for. The nose on it, likewise.
DOME_CENTRE, DOME_RADIUS, DOME_DEPTH = (0.5, 0.54), (0.36, 0.46), 0.36
NOSE_RADIUS, NOSE_DEPTH = (0.075, 0.11), 0.09
HEAD = 1.15  # the dome's radius times this: what lies beyond stays where it is
STEPS = 8


def turn(images: Tensor, yaw: Tensor, pitch: Tensor, landmarks: Tensor | None = None) -> Tensor:
    """Aligned faces (B, 3, S, S) turned by `yaw` and `pitch` (B,), in degrees, and aligned anew: (B, 3, S, S).

    Signs are those of `alignment.estimate_yaw` and `estimate_pitch`: positive turns to the right side of the picture,
    and up. Angles of 0 give the picture itself. Differentiable in `images`.

    landmarks: (B, 5, 2) in pixels; None takes those of the FFHQ position for all. Raises ValueError for angles beyond
    `MOST_YAW` or `MOST_PITCH`.
    """
    for name, angle, most in (("yaw", yaw, MOST_YAW), ("pitch", pitch, MOST_PITCH)):
        if angle.shape != images.shape[:1] or not (angle.abs() <= most).all():
            raise ValueError(f"{name} must hold {len(images)} angles of at most {most:g} degrees, got {angle.tolist()}")
    size = images.shape[-1]
    points = torch.from_numpy(template(size)).expand(len(images), -1, -1) if landmarks is None else landmarks
    points = (points.to(images) + 0.5) / size
    relief = _Relief(points[:, 2], *(torch.deg2rad(angle.to(images)) for angle in (yaw, pitch)))
    along = (torch.arange(size, device=images.device) + 0.5) / size
    seen = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
    wanted = _before(seen.expand(len(images), -1, -1, -1), points, points + relief.move(points))
    source = wanted
    for _ in range(STEPS):  # which place moves to `wanted`? A fixed point, found at once where the relief is smooth
        source = wanted - relief.move(source)
    return F.grid_sample(images, source * 2 - 1, mode="bicubic", padding_mode="reflection", align_corners=False)


class _Relief:
    """The heads of a batch, each turned by its own angles. nose: (B, 2). yaw, pitch: (B,) in radians."""

    def __init__(self, nose: Tensor, yaw: Tensor, pitch: Tensor):
        self.nose, self.yaw, self.pitch = nose, yaw, pitch

    def move(self, places: Tensor) -> Tensor:
        """How far places (B, ..., 2) = (x, y) in [0, 1] move; what is not of the head stays."""
        ones = [1] * (places.ndim - 2)
        yaw, pitch, nose = self.yaw.view(-1, *ones), self.pitch.view(-1, *ones), self.nose.view(-1, *ones, 2)
        from_axis = places - places.new_tensor(DOME_CENTRE)
        x, y = from_axis.unbind(-1)
        r2 = (from_axis / places.new_tensor(DOME_RADIUS)).square().sum(dim=-1)
        on_nose = torch.exp(-((places - nose) / places.new_tensor(NOSE_RADIUS)).square().sum(dim=-1))
        z = DOME_DEPTH * (1 - r2).clamp(min=0).square() + NOSE_DEPTH * on_nose
        move_x = x * (yaw.cos() - 1) + z * yaw.sin()
        move_y = y * (pitch.cos() - 1) - (z * yaw.cos() - x * yaw.sin()) * pitch.sin()
        of_head = (2 - 2 * r2 / HEAD**2).clamp(0, 1)
        return torch.stack([move_x, move_y], dim=-1) * of_head[..., None]


def _before(seen: Tensor, points: Tensor, moved: Tensor) -> Tensor:
    """Where places (B, H, W, 2) of the aligned picture were before it: the similarity from `points` back to `moved`."""
    pairs = zip(points.double().cpu().numpy(), moved.double().cpu().numpy(), strict=True)
    back = torch.from_numpy(np.stack([similarity(*pair) for pair in pairs])).to(seen)
    return torch.einsum("bhwk,bjk->bhwj", seen, back[:, :, :2]) + back[:, None, None, :, 2]
