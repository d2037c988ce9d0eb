"""How prior and restorer are trained: every number of the two recipes, with its reason or source."""

from __future__ import annotations

from dataclasses import dataclass, field

from bfr_lite.presets import Preset
from bfr_lite.stylegan2 import GANConfig
from bfr_lite.training.augment import AS_DETECTED, Misalignment
from bfr_lite.training.losses import LossWeights


@dataclass(frozen=True)
class PriorConfig:
    """How the prior is trained; values from StyleGAN2-ADA's `auto` setting for small pictures unless said otherwise.

    Attributes:
        gan: sizes of both networks; `gan.size` is the resolution trained.
        lr: Adam's learning rate for both networks.
        r1_gamma: weight of the R1 penalty; None is a rule, see `auto_r1_gamma`.
        r1_every: steps between two R1 penalties (lazy regularisation, StyleGAN2 B).
        style_mixing: share of pictures whose codes come from two faces, so that the scales stay apart (StyleGAN, 3.1:
            0.9).
        ema_half_life: of the averaged generator, in pictures.
        noise: train StyleGAN's noise inputs. Off here (they stay as found, 0 in a new prior): in short runs the finest
            layer answers a critical discriminator with grain instead of detail (seen at 64 px after 20,000 pictures),
            and a restorer wants none.
        critics: weight of what the critics say beside the discriminator, see `critics`; 0 trains without them.
        turned: share of the portraits that are turned by `pose.turn`, for there are few that look aside.
        grey: show black-and-white portraits too. Off here: where they are few, a narrow generator draws ghosts of them
            (seen after 300,000 pictures, 54 of 709 portraits). A restorer sees them all.
        seed: of the initial weights.
    """

    gan: GANConfig
    lr: float = 2.5e-3
    r1_gamma: float | None = None
    r1_every: int = 16
    style_mixing: float = 0.5
    ema_half_life: float = 10_000
    noise: bool = False
    critics: float = 1.0
    turned: float = 0.5
    grey: bool = False
    seed: int = 0


@dataclass(frozen=True)
class RestorerConfig:
    """How the restorer is trained.

    Attributes:
        preset: sizes.
        weights: of the losses.
        degradations: named ranges; each step draws one of them.
        lr, generator_lr, discriminator_lr: Adam's learning rates. The prior moves slower than the codec, which
            starts from nothing (GPEN, arXiv 2105.06070, trains the prior too).
        adversarial_after: pictures seen before the discriminator joins with its two losses, which cost as much as all
            others: while pictures are mush, those say enough.
        mixed_in: share of the batch that the frozen prior draws in place of portraits, rounded. It is worth as much as
            the prior: from a good one, more people than a few hundred portraits show; a poor one's faults are learnt.
        synthetic: faces that the frozen prior draws beside the batch, in shares of it, when `weights.latent` is not
            zero. The encoder alone sees them, to find their codes.
        turned: share of the portraits that are turned by `pose.turn`.
        misalignment: of the portraits, see `AS_DETECTED`.
        recoloured, repainted: shares of the portraits that get any colours, and another wall, see `vary`.
        emphasis: of landmarks in `weights.pixel`, see `landmark_weight`.
        r1_gamma, r1_every, ema_half_life: as in `PriorConfig`.
        seed: of the initial weights.
    """

    preset: Preset
    weights: LossWeights = field(default_factory=LossWeights)
    degradations: tuple[str, ...] = ("gfpgan",) * 4 + ("codeformer",) * 2 + ("shrunk", "none")
    lr: float = 1e-3
    generator_lr: float = 5e-4
    discriminator_lr: float = 1e-3
    adversarial_after: int = 0
    mixed_in: float = 0.0
    synthetic: float = 0.25
    turned: float = 0.5
    misalignment: Misalignment = AS_DETECTED
    recoloured: float = 0.25
    repainted: float = 0.25
    emphasis: float = 6.0
    r1_gamma: float | None = None
    r1_every: int = 16
    ema_half_life: float = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.mixed_in <= 1:
            raise ValueError(f"mixed_in must be a share of the batch, 0 to 1, got {self.mixed_in}")
