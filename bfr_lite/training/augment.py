"""Random changes for real and drawn pictures alike, so that no discriminator learns a small set by heart.

The changes are DiffAugment's (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", arXiv
2006.10738): colour, translation and cutout, the policy of its low-data experiments. How often they come is ADA's idea
(Karras et al., "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676): only as often as the
discriminator has begun to know the portraits. All of them all the time leave a narrow discriminator nearly blind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.jpeg import rgb_to_ycbcr, ycbcr_to_rgb
from bfr_lite.pose import MOST_PITCH, MOST_YAW, turn
from bfr_lite.rows import draw_rows


def diff_augment(images: Tensor, rng: torch.Generator, p: float = 1.0) -> Tensor:
    """Augment pictures (B, 3, S, S) in [0, 1], each in its own way; differentiable in `images`.

    p: chance of each of the three changes, for each picture.
    """
    for change in (_colour, _translate, _cutout):
        changed = change(images, rng)
        if p < 1:
            chosen = _uniform(images, rng) < p
            changed = torch.where(chosen[:, None, None, None], changed, images)
        images = changed
    return images


class AdaptiveAugment(nn.Module):
    """`diff_augment` with a chance `p` that follows how sure the discriminator is of the pictures it trains on.

    The measure is ADA's r_t, the mean sign of its scores at real pictures: 0 where it cannot tell, 1 where it knows
    them all. Above `TARGET` p rises, below it falls. Both are buffers, so that a checkpoint holds them.
    """

    TARGET = 0.6
    MOST = 0.8  # pictures beyond that chance would be drawn as if the changes were part of them (ADA, figure 4)
    PICTURES = 100_000  # in which p can cross from 0 to 1: a fifth of ADA's, for runs a fiftieth as long
    MEMORY = 500  # pictures over which signs are averaged

    def __init__(self):
        super().__init__()
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("sign_real", torch.zeros(()))

    def forward(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """As `diff_augment`, with the chance as it now is."""
        return diff_augment(images, rng, self.p.item())

    @torch.no_grad()
    def adapt(self, real_scores: Tensor) -> None:
        """Take note of the scores (B, ...) of a step's real pictures, and move the chance."""
        count = len(real_scores)
        self.sign_real.lerp_(real_scores.sign().mean(), min(1.0, count / self.MEMORY))
        self.p.add_(torch.sign(self.sign_real - self.TARGET) * count / self.PICTURES).clamp_(0, self.MOST)


def random_flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each picture of (B, 3, H, W) with probability one half."""
    flip = _uniform(images, rng) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def random_turn(images: Tensor, landmarks: Tensor | None, rng: torch.Generator, share: float) -> Tensor:
    """Turn `share` of the aligned faces (B, 3, H, H) by any angles that `pose.turn` allows; see there for landmarks."""
    chosen = _uniform(images, rng) < share
    yaw, pitch = (most * (2 * _uniform(images, rng) - 1) for most in (MOST_YAW, MOST_PITCH))
    if not chosen.any():
        return images
    points = None if landmarks is None else landmarks[chosen]
    turned = images.clone()
    turned[chosen] = turn(images[chosen], yaw[chosen], pitch[chosen], points).clamp(0, 1)
    return turned


@dataclass(frozen=True)
class Misalignment:
    """How far a face may be from the FFHQ position, each way: `turn` in degrees, `zoom` a factor, `move` in sides."""

    turn: float
    zoom: float
    move: float


# About twice the standard error of `photos.find_faces` on badly damaged portraits. A detector sees the damaged photo
# and errs; a restorer that has only seen faces in place draws one in place, and pastes it beside the one in the photo.
AS_DETECTED = Misalignment(turn=4.0, zoom=1.06, move=0.02)


def random_similarity(
    images: Tensor, points: Tensor, rng: torch.Generator, most: Misalignment
) -> tuple[Tensor, Tensor]:
    """Turn, zoom and move each picture (B, 3, H, H) about its centre by up to `most`, and points (B, N, 2) along."""
    turn, zoom, *shift = draw_rows(lambda n: torch.rand(4, n, generator=rng).T, len(images), rng).T
    size = images.shape[-1]
    angle, scale = torch.deg2rad(most.turn * (2 * turn - 1)), most.zoom ** (2 * zoom - 1)
    shift = most.move * size * (2 * torch.stack(shift, dim=1) - 1)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
    centre = (size - 1) / 2
    moved = scale[:, None, None] * (points - centre) @ rotation.mT + centre + shift[:, None]
    # grid_sample wants, for each new pixel, the place it comes from: the inverse, in units of half the side
    back = rotation.mT / scale[:, None, None]
    offset = -(back @ shift[:, :, None]) * (2 / size)
    where = F.affine_grid(torch.cat([back, offset], dim=2), list(images.shape), align_corners=False)
    sampled = F.grid_sample(images, where, mode="bicubic", padding_mode="reflection", align_corners=False)
    return sampled.clamp(0, 1), moved


def vary(images: Tensor, rng: torch.Generator, recoloured: float = 0.25, repainted: float = 0.25) -> Tensor:
    """Mirror half of the portraits (B, 3, H, W) in [0, 1], change light and colour: so that few stand for many.

    A share `recoloured` has colours that no portrait has: whoever learns which colours are likely paints dark suits
    over whatever a stranger wears; whoever meets any colour learns to read it off the input. A share `repainted` hangs
    before a wall of another colour: whoever has seen blue ones alone takes any other for a fault of the photo, and
    corrects the face. (Were it all, the restorer would not know the usual wall, which is worth knowing.)
    """
    images = _repaint_wall(random_flip(images, rng), rng, repainted)
    return _recolour(_colour(images, rng, strength=0.5), rng, recoloured).clamp(0, 1)


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    """A number in [0, 1) for each picture."""
    drawn = draw_rows(lambda n: torch.rand(n, generator=rng, device=rng.device), len(images), rng)
    return drawn.to(images.device)


def _colour(images: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Brightness +-0.25 (half of [-1, 1] scaled to [0, 1]), saturation 0 to 2, contrast 0.5 to 1.5, at strength 1."""
    draws = (_uniform(images, rng)[:, None, None, None] for _ in range(3))
    brightness, saturation, contrast = (0.5 + strength * (draw - 0.5) for draw in draws)
    images = images + (brightness - 0.5) / 2
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _repaint_wall(images: Tensor, rng: torch.Generator, share: float) -> Tensor:
    """In `share` of aligned portraits, make each colour of the wall up to exp(0.5) times as strong, or as weak.

    The wall is what has the colour of the upper corners, brightness counting less, outside of an ellipse in the face;
    so grey clothes before a grey wall, or a neck before a beige one, take a little of it. Pictures without colour stay.
    """
    gains = torch.stack([torch.exp(0.5 * (2 * _uniform(images, rng) - 1)) for _ in range(3)], dim=1)
    height, width = images.shape[-2:]
    colours = rgb_to_ycbcr(images) * torch.tensor([0.3, 1, 1], device=images.device)[:, None, None]
    top, side = max(1, height // 8), max(1, width // 8)
    wall = torch.stack([colours[:, :, :top, :side], colours[:, :, :top, width - side :]]).mean(dim=(0, 3, 4))
    apart = (colours - wall[:, :, None, None]).norm(dim=1, keepdim=True)
    behind = F.avg_pool2d(((0.1 - apart) / 0.05).clamp(0, 1), 3, 1, 1, count_include_pad=False)
    y, x = (torch.linspace(-1, 1, length, device=images.device) for length in (height, width))
    # inside of the cheeks, which have a colour of their own: `paste.face_mask` would leave a rim of the old wall
    from_face = ((x / 0.6).square() + (y / 0.8).square()[:, None]).sqrt()
    chosen = (_uniform(images, rng) < share) & (colours[:, 1:].abs().amax(dim=(1, 2, 3)) > 0.02)
    behind = behind * ((from_face - 0.7) / 0.3).clamp(0, 1) * chosen[:, None, None, None]
    return images * (1 + behind * (gains[:, :, None, None] - 1))


def _recolour(images: Tensor, rng: torch.Generator, share: float) -> Tensor:
    """In `share` of the pictures, turn all hues by the same angle, any, and make colours up to twice as strong or weak.

    Brightness stays, but for colours that a picture cannot hold.
    """
    chosen, turned, strength = (_uniform(images, rng) for _ in range(3))
    turned, strength = 2 * math.pi * turned, 4 ** (strength - 0.5)
    cos, sin = (part[:, None, None] for part in (strength * turned.cos(), strength * turned.sin()))
    brightness, blue, red = rgb_to_ycbcr(images).unbind(dim=1)
    recoloured = torch.stack([brightness, cos * blue - sin * red, sin * blue + cos * red], dim=1)
    return torch.where((chosen < share)[:, None, None, None], ycbcr_to_rgb(recoloured), images)


def _translate(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift by up to an eighth of the side along both axes; what comes in from outside is mid-grey (0 in [-1, 1])."""
    size = images.shape[-1]
    reach = int(size / 8 + 0.5)
    shift_y, shift_x = ((_uniform(images, rng) * (2 * reach + 1)).long() - reach for _ in range(2))
    padded = F.pad(images - 0.5, (reach,) * 4)
    along = torch.arange(size, device=images.device) + reach
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    rows = (along + shift_y[:, None])[:, :, None]
    columns = (along + shift_x[:, None])[:, None, :]
    # indexing moves the channel axis last, which is the memory layout the convolutions prefer anyway
    return padded.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2) + 0.5


def _cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """Grey out a square of half the side, centred anywhere."""
    size = images.shape[-1]
    half = int(size / 2 + 0.5) // 2
    centre_y, centre_x = ((_uniform(images, rng) * size).long() for _ in range(2))
    along = torch.arange(size, device=images.device)
    inside_y = (along >= centre_y[:, None] - half) & (along < centre_y[:, None] + half)
    inside_x = (along >= centre_x[:, None] - half) & (along < centre_x[:, None] + half)
    keep = ~(inside_y[:, :, None] & inside_x[:, None, :])
    return (images - 0.5) * keep[:, None] + 0.5
