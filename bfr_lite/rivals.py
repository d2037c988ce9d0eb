"""What each part of the system is compared with: other blocks at equal parameters, other ways to join codec and prior.

The comparisons themselves are `data/benchmarks/ablations.py`; notebook 07 reads its table. GFPGAN and GPEN are networks
of our own after the papers, not the published code or weights, and are called "GFPGAN-like" and "GPEN-like".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.codec import AsymmetricCodec, Block, CodecConfig, CodecOutput
from bfr_lite.layers import Conv2d, EqualConv2d, draw_weights
from bfr_lite.mmrb import MMRB, PATHS
from bfr_lite.presets import Preset
from bfr_lite.restorer import Restorer, RestorerOutput
from bfr_lite.stylegan2 import Generator


class ResidualBlock(nn.Module):
    """The plain residual block (He et al., arXiv 1512.03385) without normalisation, as EDSR has it (arXiv 1707.02921).

    (B, channels, H, W) -> the same: 3x3, leaky ReLU, 3x3, times a small learnable scale, added to the input.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.body = nn.Sequential(
            Conv2d(channels, hidden, 3, padding=1), nn.LeakyReLU(0.2), Conv2d(hidden, channels, 3, padding=1)
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.2))
        draw_weights(self, None)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.body(x)


def parameters(module: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def plain_block(channels: int) -> ResidualBlock:
    """A plain residual block with as many parameters as `MMRB(channels)`, as near as whole channels allow."""
    return ResidualBlock(channels, _matching(ResidualBlock, channels, MMRB(channels)))


def mmrb_without(path: str) -> Block:
    """Makes MMRBs that lack one path, the others widened until the parameters are those of a whole MMRB."""
    kept = tuple(name for name in PATHS if name != path)

    def make(channels: int, width: int) -> MMRB:
        return MMRB(channels, kept, width)

    return lambda channels: make(channels, _matching(make, channels, MMRB(channels)))


def full_block(channels: int) -> ResidualBlock:
    """The residual block as published: two 3x3 convolutions between `channels` and as many."""
    return ResidualBlock(channels, channels)


def mmrb_for_full_block(channels: int) -> MMRB:
    """An MMRB with as many parameters as `full_block(channels)`: its paths are wider than a quarter."""

    def make(channels: int, width: int) -> MMRB:
        return MMRB(channels, PATHS, width)

    return make(channels, _matching(make, channels, full_block(channels)))


def _matching(make: Callable[[int, int], nn.Module], channels: int, pattern: nn.Module) -> int:
    """The width at which `make(channels, width)` comes nearest to the parameters of `pattern`."""
    return _nearest(range(1, 2 * channels + 1), lambda width: parameters(make(channels, width)), parameters(pattern))


def _at_equal_parameters(config: CodecConfig, make: Callable[[CodecConfig], nn.Module]) -> CodecConfig:
    """Sizes at which the codec that `make` builds comes nearest to the parameters of the asymmetric one of `config`."""

    def resized(percent: int) -> CodecConfig:
        base, most = config.channel_base * percent // 100, config.channel_max * percent // 100
        return replace(config, channel_base=base, channel_max=most)

    wanted = parameters(AsymmetricCodec(replace(config, symmetric=False)))
    return resized(_nearest(range(50, 160), lambda percent: parameters(make(resized(percent))), wanted))


def _nearest(sizes: range, count: Callable[[int], int], wanted: int) -> int:
    """Of `sizes`, the one whose `count`, which grows with it, comes nearest to `wanted`."""
    above = min(bisect_left(sizes, wanted, key=count), len(sizes) - 1)
    return min(sizes[max(0, above - 1) : above + 1], key=lambda size: abs(count(size) - wanted))


def symmetric_restorer(preset: Preset, generator: torch.Generator | None = None) -> Restorer:
    """A restorer whose decoder is as wide as its encoder and has the same blocks; narrower, at equal parameters."""
    codec = _at_equal_parameters(replace(preset.codec, symmetric=True), AsymmetricCodec)
    return Restorer(replace(preset, codec=codec), generator=generator)


class NoTrust(nn.Module):
    """Stands where `TrustMap` does, and trusts nothing: the picture is the generator's."""

    def forward(self, stages: dict[str, Tensor]) -> Tensor:
        """The stages of a codec -> zeros (B, 1, size, size)."""
        return torch.zeros_like(next(iter(stages.values()))[:, :1])  # the first stage has the picture's size


class GfpganLike(Restorer):
    """After GFPGAN (Wang et al., arXiv 2101.04061): plain blocks, conditions always in full, no knob, no trust map.

    GFPGAN's U-Net, its codes and its channel-split feature transform are what our codec does, too; what differs is the
    block, and that nothing but the generator's drawing is shown. Its prior stays as it is: train with `generator_lr` 0.
    """

    def __init__(self, preset: Preset, generator: torch.Generator | None = None):
        super().__init__(preset, plain_block, generator)
        self.trust = NoTrust()

    def draw(
        self, read: CodecOutput, trust: Tensor, fidelity: float | Tensor = 1.0, noise: torch.Generator | None = None
    ) -> tuple[RestorerOutput, dict[str, Tensor]]:
        """As `Restorer.draw` at fidelity 1, whatever `fidelity` says."""
        return super().draw(read, trust, 1.0, noise)


class GpenLike(GfpganLike):
    """After GPEN (Yang et al., arXiv 2105.06070): no decoder; the encoder's features themselves enter the generator.

    GPEN joins them to the generator's features as more channels, where StyleGAN2 has its noise. A convolution of
    joined channels is the sum of two, so here a 3x3 convolution of the encoder's features is added to all channels.
    The whole network is trained.
    """

    def __init__(self, preset: Preset, generator: torch.Generator | None = None):
        super().__init__(preset, generator)
        self.codec = EncoderOnly(_at_equal_parameters(preset.codec, EncoderOnly), generator)


class EncoderOnly(AsymmetricCodec):
    """A codec whose conditions are shifts, read off the encoder by one convolution each; its pyramid is the input."""

    def __init__(self, config: CodecConfig, generator: torch.Generator | None = None):
        super().__init__(config, plain_block, generator)
        read = {int(r): (config.channels(int(r)), config.gan.channels(int(r))) for r in self.decoder}
        self.decoder = nn.ModuleDict({str(r): EqualConv2d(*channels, 3, padding=1) for r, channels in read.items()})

    def forward_features(self, lq: Tensor) -> tuple[CodecOutput, dict[str, Tensor]]:
        """As `AsymmetricCodec.forward_features`, without features of a decoder."""
        ws, encoded = self.encode(lq)
        shifts = {int(r): layer(encoded[int(r)]) for r, layer in self.decoder.items()}
        conditions = {r: (torch.zeros_like(shift), shift) for r, shift in shifts.items()}
        return CodecOutput(ws, conditions, {lq.shape[-1]: lq}), {f"encoder.{r}": x for r, x in encoded.items()}


class UNet(nn.Module):
    """A plain U-Net (Ronneberger et al., arXiv 1505.04597): damaged pictures (B, 3, S, S) -> restored ones.

    Args:
        block: makes the block of each of its levels, going down and coming up.
        width: channels at full size, doubled at each of `depth` halvings.
        generator: random source of the initial weights.
    """

    def __init__(self, block: Block, width: int, depth: int = 3, generator: torch.Generator | None = None):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        pairs = list(pairwise(widths))
        self.stem = Conv2d(3, width, 3, padding=1)
        self.before = nn.ModuleList(block(w) for w in widths)
        self.down = nn.ModuleList(Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.up = nn.ModuleList(Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.join = nn.ModuleList(Conv2d(2 * fine, fine, 1) for fine, _ in pairs)
        self.after = nn.ModuleList(block(fine) for fine, _ in pairs)
        self.out = EqualConv2d(width, 3, 3, padding=1)
        draw_weights(self, generator)

    def forward(self, lq: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to about [0, 1]; S is a multiple of 2 ** depth."""
        x = self.stem(lq * 2 - 1)
        skips = []
        for block, down in zip(self.before, self.down, strict=False):
            skips.append(block(x))
            x = F.leaky_relu(down(skips[-1]), 0.2)
        x = self.before[-1](x)
        for block, up, join in list(zip(self.after, self.up, self.join, strict=True))[::-1]:
            wider = F.interpolate(up(x), scale_factor=2, mode="nearest")
            x = block(F.leaky_relu(join(torch.cat([wider, skips.pop()], dim=1)), 0.2))
        return lq + self.out(x)


class SRResNet(nn.Module):
    """After SRResNet (Ledig et al., arXiv 1609.04802), without normalisation: blocks at low resolution, pixel shuffle.

    Args:
        block: makes each of its `count` blocks.
        width: channels. scale: of the enlargement.
        generator: random source of the initial weights.
    """

    def __init__(self, block: Block, width: int, count: int, scale: int, generator: torch.Generator | None = None):
        super().__init__()
        self.scale = scale
        self.stem = Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(block(width) for _ in range(count)), Conv2d(width, width, 3, padding=1))
        self.out = EqualConv2d(width, 3 * scale**2, 3, padding=1)
        draw_weights(self, generator)

    def forward(self, lq: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [0, 1], enlarged to S bicubically before, to about [0, 1]."""
        x = F.leaky_relu(self.stem(F.avg_pool2d(lq, self.scale) * 2 - 1), 0.2)
        return lq + F.pixel_shuffle(self.out(x + self.body(x)), self.scale)


@dataclass(frozen=True)
class LatentSearch:
    """After PULSE (Menon et al., arXiv 2003.03808): search the prior's codes for a face that shrinks to the input.

    Codes in W+ start at the average face and follow Adam; what is compared are both pictures at `1 / scale` of their
    size, for the damage is not known. PULSE keeps its codes on a sphere; here a penalty holds them near the average,
    in units of how far w spreads. The face is the prior's own, however little it is like the input.

    prior: trained generator. scale: of the comparison. steps, lr: of Adam. spread: weight of the penalty.
    """

    prior: Generator
    scale: int = 4
    steps: int = 100
    lr: float = 0.1
    spread: float = 1e-3

    @torch.enable_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Restore (B, 3, size, size) in [0, 1]."""
        wanted = F.avg_pool2d(images, self.scale)
        deviation = self.prior.sample(512, torch.Generator().manual_seed(0)).std(dim=0)
        free = torch.zeros(len(images), *deviation.shape, requires_grad=True)
        optimizer = torch.optim.Adam([free], self.lr)
        for _ in range(self.steps):
            drawn = self.prior(self.prior.w_avg + free * deviation)
            error = (F.avg_pool2d(drawn, self.scale) - wanted).square().mean(dim=(1, 2, 3))
            loss = (error + self.spread * free.square().mean(dim=(1, 2))).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return self.prior(self.prior.w_avg + free * deviation).clamp(0, 1)
