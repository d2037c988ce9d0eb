"""Test-time adaptation: let one photo teach the restorer about itself, by the re-degradation loss alone.

Nothing is known but the photo, so the damage must be guessed first; then the latent codes of this one face are moved
until the restored face, damaged again in the guessed way, gives the photo back. Weights stay as they are, and so do the
conditions: free to move, they learn the photo's noise by heart, while codes can only draw faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bfr_lite.degradation import Degradation
from bfr_lite.degradation_params import DegradationParams
from bfr_lite.images import check_images
from bfr_lite.restorer import Restorer
from bfr_lite.training.losses import charbonnier

GUESSES = 128  # draws of the damage that are tried
BATCH = 32  # of them at a time
LEARNING_RATE = 0.02


@dataclass(frozen=True)
class Adaptation:
    """What became of one face.

    Attributes:
        before, after: (1, 3, size, size) in [0, 1], restored without and with adaptation.
        damage: the guess.
        distances: of the re-degraded face from the photo, before each step and after the last.
    """

    before: Tensor
    after: Tensor
    damage: DegradationParams
    distances: tuple[float, ...]


@torch.no_grad()
def guess_damage(
    restored: Tensor, lq: Tensor, degradation: Degradation, rng: torch.Generator
) -> tuple[DegradationParams, float]:
    """Of many draws, the damage that brings `restored` (1, 3, S, S) nearest to `lq`, with that distance.

    Noise is left out of the draws: its pattern cannot be guessed, and a wrong pattern is farther off than none. So are
    tints: a face may have any, and a wrong guess would stain it.
    """
    drawn = degradation.sample(GUESSES, rng)
    for part in (drawn.noise, drawn.shift, drawn.grey):
        part.zero_()
    distances = []
    for start in range(0, GUESSES, BATCH):
        params = drawn[start : start + BATCH]
        again = degradation.apply(restored.expand(len(params), -1, -1, -1), params)
        distances.append(charbonnier(again, lq.expand_as(again)))
    distance, best = torch.cat(distances).min(dim=0)
    return drawn[int(best)], distance.item()


def adapt(
    restorer: Restorer,
    lq: Tensor,
    fidelity: float = 0.5,
    steps: int = 20,
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Adaptation:
    """Restore one damaged face (1, 3, size, size) in [0, 1], and go on until it explains the photo better.

    Args:
        restorer: left as it is.
        fidelity: of the face that is adapted.
        steps: of Adam, on the face's codes.
        generator: of the damages that are tried; seed 0 without one.
        on_step: called with the number of steps done, for a progress bar.

    Raises `ImageError` for another shape, `ValueError` for fewer than one step.
    """
    check_images(lq, restorer.preset.size, name="lq")
    if len(lq) != 1 or steps < 1:
        raise ValueError(f"one face is adapted, in at least one step; got {len(lq)} faces and {steps} steps")
    degradation = Degradation.named("gfpgan", restorer.preset.size)
    with torch.no_grad():
        read, stages = restorer.read(lq)
        before = restorer.draw(read, stages["trust"], fidelity)[0].image.clamp(0, 1)
    damage, _ = guess_damage(before, lq, degradation, generator or torch.Generator().manual_seed(0))
    free = replace(read, ws=read.ws.clone().requires_grad_(True))
    optimizer = torch.optim.Adam([free.ws], LEARNING_RATE)
    distances = []

    @torch.enable_grad()
    def distance() -> Tensor:
        image = restorer.draw(free, stages["trust"], fidelity)[0].image.clamp(0, 1)
        return charbonnier(degradation.apply_differentiable(image, damage), lq).mean()

    for step in range(steps):
        loss = distance()
        distances.append(loss.item())
        (free.ws.grad,) = torch.autograd.grad(loss, free.ws)  # and none for the restorer's own weights
        optimizer.step()
        if on_step:
            on_step(step + 1)
    with torch.no_grad():
        distances.append(distance().item())
        after = restorer.draw(free, stages["trust"], fidelity)[0].image.clamp(0, 1)
    return Adaptation(before, after, damage, tuple(distances))
