"""Critics that look through the eyes of a network that can see already: what a few hundred portraits cannot teach.

A discriminator that starts from nothing must first learn what an eye is before it can miss one. EfficientNet-Lite0 has
learnt edges, textures and parts from ImageNet. Its features stay as they are; fixed random matrices mix them, so that
no channel can be left out, and small heads judge the mixtures at four scales: a Projected GAN (Sauer et al., "Projected
GANs Converge Faster", arXiv 2111.01007), without its mixing of scales. StyleGAN2's discriminator stays beside them, as
in Kumari et al., "Ensembling Off-the-shelf Models for GAN Training", arXiv 2112.09130.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bfr_lite.imagenet import SMALLEST_SIDE
from bfr_lite.training.augment import diff_augment
from bfr_lite.training.loop import optimise

SEEN = (16, 24, 40, 112)  # channels of EfficientNet-Lite0 at 1/2, 1/4, 1/8 and 1/16 of a picture
SPREAD = 8.0  # of those features on portraits: standard deviations of 5.6 to 8.6
WIDTH = 64


class Critics(nn.Module):
    """A critic for each scale of EfficientNet-Lite0's features: real or drawn?

    Spectral norm keeps them from being surer than they can be (Miyato et al., arXiv 1802.05957). `seed` is that of the
    fixed matrices and of the initial weights.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # leaves the global random state alone
            torch.manual_seed(seed)
            for scale, channels in enumerate(SEEN):
                self.register_buffer(f"mixing_{scale}", torch.randn(WIDTH, channels, 1, 1) / channels**0.5 / SPREAD)
            self.heads = nn.ModuleList(_head(len(SEEN) - 1 - scale) for scale in range(len(SEEN)))

    def forward(self, seen: list[Tensor]) -> list[Tensor]:
        """Scores (B, 1, h, w) for each scale of `ImageNetFeatures`; higher is more real."""
        mixed = [F.conv2d(features, self.get_buffer(f"mixing_{scale}")) for scale, features in enumerate(seen)]
        return [head(features) for head, features in zip(self.heads, mixed, strict=True)]


def _head(halvings: int) -> nn.Sequential:
    """Convolutions that bring all scales to the coarsest one, and a score for each of its places."""
    steps = [spectral_norm(nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1)) for _ in range(halvings)]
    steps = steps or [spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))]
    score = spectral_norm(nn.Conv2d(WIDTH, 1, 3, padding=1))
    return nn.Sequential(*(layer for step in steps for layer in (step, nn.LeakyReLU(0.2))), score)


class CritiquedTask(Protocol):
    """A task with a module and an optimiser named "critics", and the eye they look through."""

    eye: Callable[[Tensor], list[Tensor]]
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    accelerator: Accelerator


def look(task: CritiquedTask, pictures: Tensor, rng: torch.Generator) -> list[Tensor]:
    """What the critics see of pictures (B, 3, H, H), always augmented: such eyes soon know a few hundred by heart."""
    augmented = diff_augment(pictures, rng)
    if pictures.shape[-1] < SMALLEST_SIDE:
        augmented = F.interpolate(augmented, (SMALLEST_SIDE, SMALLEST_SIDE), mode="bilinear", align_corners=False)
    with task.accelerator.autocast():
        return task.eye(augmented)


def train_critics(task: CritiquedTask, real: Tensor, seen_fake: list[Tensor], rng: torch.Generator) -> dict[str, float]:
    """One update of the task's critics: real pictures (B, 3, H, H), and what they see of drawn ones, left alone.

    The loss is the hinge: real scores above 1 and drawn ones below -1 are good enough.
    """
    critics = task.modules["critics"]
    with torch.no_grad():
        seen_real = look(task, real, rng)
    with task.accelerator.autocast():
        right = critics(seen_real)
        wrong = critics([features.detach() for features in seen_fake])
        losses = [F.relu(1 - r).mean() + F.relu(1 + w).mean() for r, w in zip(right, wrong, strict=True)]
        loss = torch.stack(losses).mean()
    optimise(task.accelerator, task.optimizers["critics"], loss)
    return {"loss_critics": loss.item()}


def displeasure(critics: Critics, seen: list[Tensor]) -> Tensor:
    """What drawn pictures lack in the critics' eyes: minus the mean score."""
    return -torch.stack([scores.mean() for scores in critics(seen)]).mean()
