"""What prior and restorer share in training against a discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from bfr_lite.discriminator import compared
from bfr_lite.training.loop import optimise
from bfr_lite.training.losses import discriminator_loss, r1_penalty


class R1Config(Protocol):
    """r1_gamma: weight of the R1 penalty. r1_every: steps between two of them (lazy regularisation, StyleGAN2 B)."""

    r1_gamma: float
    r1_every: int


def auto_r1_gamma(size: int, batch: int) -> float:
    """Weight of R1 for `batch` pictures a step of `size` px: 0.0004 size^2 / batch.

    Twice StyleGAN2-ADA's `auto`; once and eight times that were worse in short runs at 32 px.
    """
    return 0.0004 * size**2 / batch


def check_groups(batch: int, processes: int, group: int) -> None:
    """Raise `ValueError` where minibatch standard deviation has no groups to compare, or processes make them others.

    Of pictures alone it is always zero. One picture a step is all that some machines hold, and may have none.
    """
    if batch > group > 1 and compared(batch, group) == 1:
        raise ValueError(
            f"a discriminator compares pictures in groups that divide {group} and the batch: of {batch} each would be "
            f"alone; use a multiple of {group}"
        )
    if batch % processes == 0 and compared(batch // processes, group) != compared(batch, group):
        raise ValueError(
            f"with {processes} processes a discriminator would not compare pictures in groups of {group}: "
            f"use a batch of {group * processes} or a multiple of it, not {batch}"
        )


class AdversarialTask(Protocol):
    """A task with a module and an optimiser named "discriminator", and an `AdaptiveAugment` named "augment"."""

    config: R1Config
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    accelerator: Accelerator


def train_discriminator(
    task: AdversarialTask, real: Tensor, fake: Tensor, step: int, rng: torch.Generator
) -> dict[str, float]:
    """One update of the task's discriminator on pictures (B, 3, H, W); no gradient reaches what drew `fake`.

    Returns its loss, how sure it is of real pictures, how often they are augmented, and R1 in the steps that have it.
    """
    discriminator, augment, config = task.modules["discriminator"], task.modules["augment"], task.config
    regularise = step % config.r1_every == 0
    real = real.detach().requires_grad_(regularise)
    with task.accelerator.autocast():
        real_scores = discriminator(augment(real, rng))
        loss = discriminator_loss(real_scores, discriminator(augment(fake.detach(), rng)))
    augment.adapt(task.accelerator.gather(real_scores.detach()))
    report = {"loss_d": loss.item(), "sign_real": augment.sign_real.item(), "augment_p": augment.p.item()}
    if regularise:
        penalty = r1_penalty(real_scores, real)
        report["r1"] = penalty.item()
        loss = loss + penalty * (config.r1_gamma / 2 * config.r1_every)
    optimise(task.accelerator, task.optimizers["discriminator"], loss)
    return report


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients pass through `modules` and stop at none of their weights, which saves a third of the work."""
    weights = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    try:
        for weight in weights:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
