"""Training the prior: StyleGAN2 on a few hundred portraits, grown from 32 pixels up."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from bfr_lite.checkpoints import fit, load_discriminator, load_generator
from bfr_lite.discriminator import Discriminator
from bfr_lite.face_sets import FaceDataset
from bfr_lite.imagenet import ImageNetFeatures
from bfr_lite.images import grid
from bfr_lite.rows import draw_rows
from bfr_lite.stylegan2 import Generator
from bfr_lite.torch_files import read_checkpoint
from bfr_lite.training.adversarial import auto_r1_gamma, check_groups, frozen, train_discriminator
from bfr_lite.training.augment import AdaptiveAugment, random_flip
from bfr_lite.training.batches import draw_portraits
from bfr_lite.training.configs import PriorConfig
from bfr_lite.training.critics import Critics, displeasure, look, train_critics
from bfr_lite.training.loop import ema_decay, ema_update, optimise, step_rng
from bfr_lite.training.losses import generator_loss


class PriorTask:
    """Generator, its average, discriminator and critics, with the step that trains them.

    Args:
        config: see `PriorConfig`.
        faces: training portraits, of any size not below `config.gan.size`.
        batch: pictures a step, over all processes.
        accelerator: places and precision.
    """

    def __init__(self, config: PriorConfig, faces: FaceDataset, batch: int, accelerator: Accelerator):
        check_groups(batch, accelerator.num_processes, config.gan.mbstd_group)
        if config.r1_gamma is None:
            config = replace(config, r1_gamma=auto_r1_gamma(config.gan.size, batch))
        self.config, self.faces, self.batch, self.accelerator = config, faces, batch, accelerator
        init = torch.Generator().manual_seed(config.seed)
        generator, discriminator = Generator(config.gan, init), Discriminator(config.gan, init)
        self.modules: dict[str, nn.Module] = {
            "generator": generator,
            "generator_ema": copy.deepcopy(generator).requires_grad_(False),
            "discriminator": discriminator,
            "augment": AdaptiveAugment(),
        }
        if config.critics:
            self.eye = ImageNetFeatures().to(accelerator.device, memory_format=torch.channels_last)
            self.modules["critics"] = Critics(config.seed)
        for module in self.modules.values():
            module.to(accelerator.device, memory_format=torch.channels_last)
        if not config.noise:
            generator.freeze_noise()
        trained = [p for p in generator.parameters() if p.requires_grad]
        self.optimizers = {
            "generator": torch.optim.Adam(trained, lr=config.lr, betas=(0.0, 0.99), eps=1e-8),
            "discriminator": self._lazy_adam(discriminator),
        }
        if config.critics:
            critics = self.modules["critics"].parameters()
            self.optimizers["critics"] = torch.optim.Adam(critics, lr=0.8 * config.lr, betas=(0.0, 0.99), eps=1e-8)

    def _lazy_adam(self, discriminator: nn.Module) -> torch.optim.Adam:
        """Adam for a network whose penalty comes only every `r1_every` steps: lr and betas corrected (StyleGAN2, B).

        The official code gives the penalty a step of its own; here it shares one, and the correction is slight.
        """
        ratio = self.config.r1_every / (self.config.r1_every + 1)
        return torch.optim.Adam(
            discriminator.parameters(), lr=self.config.lr * ratio, betas=(0.0, 0.99**ratio), eps=1e-8
        )

    def start_from(self, source: str) -> None:
        """Begin with the weights of a trained prior of the same sizes, whatever `load_generator` opens.

        Raises `WeightsError` when they are of other sizes.
        """
        generator, discriminator = load_generator(source), load_discriminator(source)
        for name in ("generator", "generator_ema"):
            fit(self.modules[name], generator.state_dict(), source)
        if discriminator is not None:
            fit(self.modules["discriminator"], discriminator.state_dict(), source)

    def grow_from(self, path: Path) -> None:
        """Take over the weights of a run at half the size, so that both networks begin as the functions they were.

        The new resolution's RGB layer starts at zero: the generator first draws the smaller run's pictures, enlarged.
        The discriminator's new block starts as a halving, see `insert_halving`.
        """
        smaller = read_checkpoint(path)["modules"]
        for name, module in self.modules.items():
            own = module.state_dict()
            taken = {k: v for k, v in smaller[name].items() if k in own and "from_rgb" not in k}
            module.load_state_dict({**own, **taken})
            if isinstance(module, Generator):
                nn.init.zeros_(module.blocks[str(module.size)].to_rgb.conv.weight)
        below = {name: smaller["discriminator"][f"from_rgb.{name}"] for name in ("weight", "bias")}
        insert_halving(self.modules["discriminator"], **below)

    def step(self, step: int, indices: Tensor, rng: torch.Generator) -> dict[str, float]:
        """One update of all networks on the portraits at `indices`."""
        config = self.config
        shown = draw_portraits(self.faces, indices, config.gan.size, rng, config.turned, grey=config.grey)
        real = random_flip(shown, rng).to(self.accelerator.device, memory_format=torch.channels_last)
        with self.accelerator.autocast():
            fake = self._draw(len(real), rng)
        report = train_discriminator(self, real, fake, step, rng)
        seen = look(self, fake, rng) if config.critics else None
        if seen:
            report |= train_critics(self, real, seen, rng)
        report |= self._train_generator(fake, rng, seen)
        generator, average = self.modules["generator"], self.modules["generator_ema"]
        ema_update(average, generator, ema_decay(self.batch, step * self.batch, config.ema_half_life))
        return report

    def _draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Pictures of random faces, some of two codes mixed; the mean code is tracked on the way."""
        generator = self.modules["generator"]
        pairs = draw_rows(lambda n: torch.randn(2, n, generator.z_dim, generator=rng).transpose(0, 1), count, rng)
        z = pairs.transpose(0, 1).to(self.accelerator.device)
        first, second = generator.mapping(z.flatten(0, 1)).unflatten(0, (2, count))
        generator.w_avg.lerp_(self.accelerator.reduce(first.detach().mean(dim=0), "mean"), 0.005)
        mixed = draw_rows(lambda n: torch.rand(n, generator=rng), count, rng) < self.config.style_mixing
        crossover = draw_rows(lambda n: torch.randint(1, generator.num_ws, (n,), generator=rng), count, rng)
        use_second = mixed[:, None] & (torch.arange(generator.num_ws) >= crossover[:, None])
        ws = torch.where(use_second[:, :, None].to(z.device), second[:, None], first[:, None])
        return generator(ws, noise=rng)

    def _train_generator(
        self, fake: Tensor, rng: torch.Generator, seen: list[Tensor] | None = None
    ) -> dict[str, float]:
        """Follow the updated judges. The pictures they saw serve again; new ones cost more than they bring."""
        discriminator, critics = self.modules["discriminator"], self.modules.get("critics")
        with frozen(*filter(None, (discriminator, critics))):
            with self.accelerator.autocast():
                loss = generator_loss(discriminator(self.modules["augment"](fake, rng)))
                report = {"loss_g": loss.item()}
                if seen:
                    lacking = displeasure(critics, seen)
                    report["displeasure"] = lacking.item()
                    loss = loss + self.config.critics * lacking
            optimise(self.accelerator, self.optimizers["generator"], loss)
        return report

    @torch.no_grad()
    def samples(self) -> Tensor:
        """A grid of 32 faces of the averaged generator, always the same latents, truncation 0.8."""
        average = self.modules["generator_ema"]
        ws = average.sample(32, step_rng(self.config.seed, -1), truncation=0.8).to(self.accelerator.device)
        # a few at a time: at 512 px the whole grid would need more memory than a training step
        return grid(torch.cat([average(few).cpu() for few in ws.split(4)]), 8).clamp(0, 1)


def stage_config(config: PriorConfig, size: int) -> PriorConfig:
    """The configuration of the same prior trained at a lower resolution."""
    return replace(config, gan=replace(config.gan, size=size))


@torch.no_grad()
def insert_halving(discriminator: Discriminator, weight: Tensor, bias: Tensor) -> None:
    """Make a discriminator's first block halve the picture and apply the first layer of a discriminator half its size.

    A grown discriminator with a random first block feeds nonsense to its trained layers; the R1 penalty then explodes
    at once and presses it flat, and it does not recover (seen: its loss stays at 2 log 2). Here RGB travels
    through three channels, offset by 2 so that leaky ReLU passes it unbent; the third convolution undoes the offset and
    does what `from_rgb` (weight (C, 3, 1, 1) and bias (C,)) did. All other channels start random and unread.
    """
    first, block = discriminator.from_rgb, discriminator.blocks[str(discriminator.config.size)]
    offset, root = 2.0, math.sqrt(2)
    below = weight[:, :, 0, 0] / math.sqrt(3)
    eye = torch.eye(3, device=weight.device)
    first.weight[:3, :, 0, 0] = eye / first.gain
    first.bias[:3] = offset
    block.conv.weight[:3] = 0
    block.conv.weight[:3, :3, 1, 1] = eye / root / block.conv.gain
    block.conv_down.weight.zero_()
    block.conv_down.weight[:, :3, 1, 1] = below / block.conv_down.gain
    block.conv_down.bias.copy_(root * (bias - offset * below.sum(dim=1)))
    block.skip.weight.zero_()
