"""Training the restorer: codec and prior together, with three self-supervised signals.

The signals, each with its own weight and so with its own switch (zero turns it off and saves its work):

1. `latent`: faces the frozen prior draws are damaged, and the encoder must find their codes, which are known
   (unlimited labels, no photos);
2. `teacher`: an averaged copy of the codec sees the clean face, and the codec of the damaged one follows it;
3. `redegradation`: damaging the restored face in the same way must give the input back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from bfr_lite.checkpoints import fit
from bfr_lite.degradation import Degradation
from bfr_lite.discriminator import Discriminator
from bfr_lite.face_sets import FaceDataset
from bfr_lite.imagenet import ImageNetFeatures, perceptual_distance
from bfr_lite.images import grid, resize
from bfr_lite.restorer import Restorer, RestorerOutput
from bfr_lite.rows import draw_rows
from bfr_lite.stylegan2 import Generator
from bfr_lite.training.adversarial import auto_r1_gamma, check_groups, frozen, train_discriminator
from bfr_lite.training.augment import AdaptiveAugment, vary
from bfr_lite.training.batches import Batch, draw_batch, draw_fidelity, draw_portraits, replace_some
from bfr_lite.training.configs import RestorerConfig
from bfr_lite.training.loop import ema_decay, ema_update, optimise, step_rng
from bfr_lite.training.losses import (
    TAUGHT,
    LossWeights,
    charbonnier,
    feature_distance,
    landmark_weight,
    look_closer,
    nearer,
    trust_distance,
)


class RestorerTask:
    """Restorer, its average, discriminator and frozen prior, with the step that trains them.

    Args:
        config: see `RestorerConfig`.
        faces: training portraits of at least the preset's size.
        batch: pictures a step, over all processes.
        accelerator: places and precision.
        prior: trained generator to start from; None trains the generator from scratch, without synthetic faces.
        discriminator: trained discriminator to start from; it is trained on, in place.
        make: `make(preset, generator=rng)` builds the restorer; another design, when it is to be compared.
    """

    def __init__(
        self,
        config: RestorerConfig,
        faces: FaceDataset,
        batch: int,
        accelerator: Accelerator,
        prior: Generator | None = None,
        discriminator: Discriminator | None = None,
        make: Callable[..., Restorer] = Restorer,
    ):
        if config.r1_gamma is None:
            config = replace(config, r1_gamma=auto_r1_gamma(config.preset.size, batch))
        if config.weights.adversarial:
            judged = discriminator.config if discriminator else config.preset.gan
            check_groups(batch, accelerator.num_processes, judged.mbstd_group)
        latent_pairs = prior is not None and config.weights.latent and config.synthetic
        self.drawn = max(1, round(batch * config.synthetic)) if latent_pairs else 0
        if config.mixed_in and prior is None:
            raise ValueError("no face of a prior can be mixed in without one: give one, or leave `mixed_in` at 0")
        self.mixed_in = round(batch * config.mixed_in)
        for count, where in ((self.drawn, "beside"), (self.mixed_in, "in")):
            if count % accelerator.num_processes:
                shared = f"{accelerator.num_processes} processes cannot share the {count} faces drawn {where} it"
                raise ValueError(f"use another batch than {batch}: {shared}")
        self.config, self.faces, self.batch, self.accelerator = config, faces, batch, accelerator
        init = torch.Generator().manual_seed(config.seed)
        restorer = make(config.preset, generator=init)
        if prior is not None:
            restorer.adopt_prior(prior)
        # Learnt, the noise would be one grain on every face, for it is the same for all. What a prior brings stays.
        restorer.generator.freeze_noise()
        self.modules: dict[str, nn.Module] = {
            "restorer": restorer,
            "restorer_ema": copy.deepcopy(restorer).requires_grad_(False),
            "prior": copy.deepcopy(restorer.generator).requires_grad_(False),
            "discriminator": discriminator or Discriminator(config.preset.gan, init),
            "augment": AdaptiveAugment(),
        }
        for module in self.modules.values():
            module.to(accelerator.device, memory_format=torch.channels_last)
        self.landmark_weight = landmark_weight(config.preset.size, config.emphasis).to(accelerator.device)
        self.eye = ImageNetFeatures().to(accelerator.device) if config.weights.perceptual else None
        groups = [
            {"params": list(restorer.codec.parameters()), "lr": config.lr},
            {"params": list(restorer.generator.parameters()), "lr": config.generator_lr},
            {"params": list(restorer.trust.parameters()), "lr": 10 * config.lr},  # few numbers, with far to go
        ]
        self.optimizers = {
            "restorer": torch.optim.Adam(groups, betas=(0.9, 0.99)),
            "discriminator": torch.optim.Adam(
                self.modules["discriminator"].requires_grad_(True).parameters(),
                lr=config.discriminator_lr,
                betas=(0.0, 0.99),
            ),
        }

    def start_from(self, source: str) -> None:
        """Begin with the weights of a trained restorer, whatever `Restorer.from_pretrained` opens.

        Raises `WeightsError` when it is of other sizes.
        """
        state = Restorer.from_pretrained(source).state_dict()
        for name in ("restorer", "restorer_ema"):
            fit(self.modules[name], state, source)

    def step(self, step: int, indices: Tensor, rng: torch.Generator) -> dict[str, float]:
        """One update of all networks on the portraits at `indices`."""
        weights = self._weights(step)
        batch = self._draw_batch(indices, rng)
        fidelity = draw_fidelity(len(batch.clean), rng).to(batch.clean.device)
        with self.accelerator.autocast():
            output, stages = self.modules["restorer"].forward_features(batch.lq, fidelity)
        report = {}
        if weights.adversarial:
            report |= train_discriminator(self, batch.clean, stages["drawn"], step, rng)
        with frozen(self.modules["discriminator"]):
            losses = self._losses(weights, batch, output, stages, fidelity, rng)
            optimise(self.accelerator, self.optimizers["restorer"], sum(losses.values()))
        decay = ema_decay(self.batch, step * self.batch, self.config.ema_half_life)
        ema_update(self.modules["restorer_ema"], self.modules["restorer"], decay)
        return report | {name: loss.item() for name, loss in losses.items()}

    def _weights(self, step: int) -> LossWeights:
        waiting = step * self.batch < self.config.adversarial_after
        return replace(self.config.weights, adversarial=0.0, feature=0.0) if waiting else self.config.weights

    def _draw_batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        config, size, prior = self.config, self.config.preset.size, self.modules["prior"]
        drawn, mixed_in = (count // self.accelerator.num_processes for count in (self.drawn, self.mixed_in))
        faces = draw_portraits(self.faces, indices, size, rng, config.turned, config.misalignment)
        faces = vary(faces, rng, config.recoloured, config.repainted)
        if mixed_in:
            faces = replace_some(faces, prior, mixed_in, rng)
        return draw_batch(faces, prior, drawn, config.degradations, rng, self.accelerator.device)

    def _losses(
        self,
        weights: LossWeights,
        batch: Batch,
        output: RestorerOutput,
        stages: dict[str, Tensor],
        fidelity: Tensor,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Every term with a weight, already weighted, by name.

        They ask of what the generator draws, as if nothing were blended into it; the trust map has a question of its
        own, see `nearer`. Trained on the blend, the map poured the input in, for the mean of two wrong pictures has the
        smaller error, and the generator drew what made up for it.
        """
        drawn = stages["drawn"]
        with self.accelerator.autocast():
            losses = {"pixel": weights.pixel * charbonnier(drawn, batch.clean, weight=self.landmark_weight).mean()}
            if weights.trust:
                wanted = nearer(output.pyramid[self.config.preset.size], drawn, batch.clean)
                losses["trust"] = weights.trust * (fidelity * trust_distance(stages["trust"], wanted)).mean()
            if weights.pyramid:
                targets = {r: F.adaptive_avg_pool2d(batch.clean, r) for r in output.pyramid}
                terms = [charbonnier(picture, targets[r]) for r, picture in output.pyramid.items()]
                losses["pyramid"] = weights.pyramid * torch.stack(terms).mean()
            if self.eye:
                every_second = draw_rows(lambda n: torch.arange(n) % 2 == 1, len(drawn), rng).to(drawn.device)
                looks = [look_closer(faces, every_second) for faces in (drawn, batch.clean)]
                distance = perceptual_distance(self.eye, *looks)
                losses["perceptual"] = weights.perceptual * distance.mean()
            if weights.adversarial or weights.feature:
                losses |= self._judged(weights, batch.clean, drawn, fidelity, rng)
            if len(batch.ws):
                read, _ = self.modules["restorer"].codec.encode(batch.invented)
                losses["latent"] = weights.latent * F.mse_loss(read, batch.ws)
            if weights.teacher:
                losses["teacher"] = weights.teacher * self._teacher_distance(batch.clean, output.ws, stages)
            if weights.redegradation:
                again = batch.degradation.apply_differentiable(drawn.clamp(0, 1), batch.params)
                # weighed by fidelity: whoever trusts the prior alone is not asked what the input was
                losses["redegradation"] = weights.redegradation * (fidelity * charbonnier(again, batch.lq)).mean()
        return losses

    def _judged(
        self, weights: LossWeights, clean: Tensor, image: Tensor, fidelity: Tensor, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """What the discriminator says: looks real (less asked at high fidelity), has the features of the clean face."""
        discriminator, augment = self.modules["discriminator"], self.modules["augment"]
        state = rng.get_state()
        features = discriminator.features(augment(image, rng))
        judged = {}
        if weights.adversarial:
            scores = discriminator.score(features[4])[:, 0]
            judged["adversarial"] = weights.adversarial * (F.softplus(-scores) * (1.5 - fidelity)).mean()
        if weights.feature:
            rng.set_state(state)  # the clean face is augmented alike, so that features compare place by place
            with torch.no_grad():
                wanted = discriminator.features(augment(clean, rng))
            judged["feature"] = weights.feature * feature_distance(features.values(), wanted.values())
        return judged

    def _teacher_distance(self, clean: Tensor, ws: Tensor, stages: dict[str, Tensor]) -> Tensor:
        """How far codes and coarse features are from those that the averaged codec reads off the clean face."""
        with torch.no_grad():
            taught_ws, taught = self.modules["restorer_ema"].codec.encode(clean)
        features = feature_distance([stages[f"encoder.{r}"] for r in TAUGHT], [taught[r] for r in TAUGHT])
        return F.mse_loss(ws, taught_ws) + features

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Rows of eight: damaged, restored at fidelity 0, 0.5 and 1, clean; always the same faces and damage."""
        rng, size = step_rng(self.config.seed, -1), self.config.preset.size
        clean = resize(self.faces.batch(torch.arange(8) % len(self.faces)), size)
        degradation = Degradation.named(self.config.degradations[0], size)
        lq = degradation.apply(clean, degradation.sample(8, rng))
        average = self.modules["restorer_ema"]
        # few at a time: at 512 px all at once need more memory than a training step
        restored = [average.restore(lq, fidelity, batch_size=2) for fidelity in (0.0, 0.5, 1.0)]
        return grid(torch.cat([lq, *restored, clean]), 8)
