"""Training a picture-to-picture network by pixels alone: what most restorers were before GANs, and a rival of ours."""

from __future__ import annotations

import copy

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from bfr_lite.degradation import Degradation
from bfr_lite.face_sets import FaceDataset
from bfr_lite.images import grid, resize
from bfr_lite.training.augment import vary
from bfr_lite.training.batches import damaged, draw_portraits
from bfr_lite.training.configs import RestorerConfig
from bfr_lite.training.loop import ema_decay, ema_update, optimise, step_rng
from bfr_lite.training.losses import charbonnier


class PixelTask:
    """A network from damaged to restored pictures, (B, 3, size, size) both, and its average, trained by L1 alone.

    Portraits, their variation, learning rate and average are as `RestorerConfig` has them, so that both compare.

    Args:
        network: to be trained.
        faces: training portraits, of the size the network takes.
        batch: pictures a step.
        accelerator: place and precision.
        degradations: what damages the pictures; each step draws one.
    """

    def __init__(
        self,
        network: nn.Module,
        faces: FaceDataset,
        batch: int,
        accelerator: Accelerator,
        degradations: tuple[Degradation, ...],
    ):
        self.faces, self.batch, self.accelerator, self.degradations = faces, batch, accelerator, degradations
        network.to(accelerator.device, memory_format=torch.channels_last)
        average = copy.deepcopy(network).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"network": network, "network_ema": average}
        self.optimizers = {"network": torch.optim.Adam(network.parameters(), lr=RestorerConfig.lr, betas=(0.9, 0.99))}

    def step(self, step: int, indices: Tensor, rng: torch.Generator) -> dict[str, float]:
        """One update on the portraits at `indices`."""
        size, device = self.degradations[0].size, self.accelerator.device
        portraits = draw_portraits(self.faces, indices, size, rng, RestorerConfig.turned, RestorerConfig.misalignment)
        clean = vary(portraits, rng, RestorerConfig.recoloured, RestorerConfig.repainted)
        degradation = self.degradations[int(torch.randint(len(self.degradations), (), generator=rng))]
        lq, _ = damaged(clean, degradation, rng)
        with self.accelerator.autocast():
            output = self.modules["network"](lq.to(device, memory_format=torch.channels_last))
        loss = charbonnier(output, clean.to(device)).mean()
        optimise(self.accelerator, self.optimizers["network"], loss)
        decay = ema_decay(self.batch, step * self.batch, RestorerConfig.ema_half_life)
        ema_update(self.modules["network_ema"], self.modules["network"], decay)
        return {"pixel": loss.item()}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Rows of eight: damaged, restored, clean; always the same faces and damage."""
        degradation = self.degradations[0]
        clean = resize(self.faces.batch(torch.arange(8) % len(self.faces)), degradation.size)
        lq = degradation.apply(clean, degradation.sample(8, step_rng(0, -1)))
        restored = self.modules["network_ema"](lq.to(self.accelerator.device)).clamp(0, 1).cpu()
        return grid(torch.cat([lq, restored, clean]), 8)
