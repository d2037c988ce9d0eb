"""StyleGAN2's generator, which knows what faces look like; `discriminator` taught it.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958), the skip generator of
configuration F, in pure PyTorch and numerically equal to the official network. Pictures are in [0, 1] outside this
module; the network's own range [-1, 1] never leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.layers import (
    EqualLinear,
    ModulatedConv,
    apply_condition,
    full_precision,
    to_zero_one,
    upsample,
    upsample_bilinear,
)
from bfr_lite.rows import draw_rows

Conditions = Mapping[int, tuple[Tensor, Tensor]]


def resolutions(size: int) -> list[int]:
    """The resolutions of a network of `size` pixels: 4, 8, ... size. Raises `ValueError` unless a power of two >= 8."""
    if size < 8 or size & (size - 1):
        raise ValueError(f"size must be a power of two and at least 8, got {size}: use 32, 64, 128, 256, 512 or 1024")
    return [2**level for level in range(2, int(math.log2(size)) + 1)]


@dataclass(frozen=True)
class GANConfig:
    """Sizes of a generator and its discriminator: resolution r has min(channel_base // r, channel_max) channels, at
    least one; minibatch standard deviation compares up to `mbstd_group` pictures.

    A generator with `bilinear` enlarges features and pictures by linear interpolation, without StyleGAN2's filter, as
    GFPGAN's `clean` networks do. No other size or shape tells the two apart, so its state has an entry that says it.
    """

    size: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    mbstd_group: int = 4
    bilinear: bool = False

    def channels(self, resolution: int) -> int:
        """Feature channels at a resolution."""
        return max(1, min(self.channel_base // resolution, self.channel_max))


class MappingNetwork(nn.Module):
    """z (B, z_dim) -> w (B, w_dim): normalise, then dense layers at 1/100 of the learning rate (StyleGAN, C)."""

    def __init__(self, config: GANConfig):
        super().__init__()
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            EqualLinear(fan_in, fan_out, lr_multiplier=0.01, activate=True) for fan_in, fan_out in pairwise(widths)
        )

    def forward(self, z: Tensor) -> Tensor:
        w = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            w = layer(w)
        return w


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU (StyleGAN2, figure 2d); doubles the resolution when `up`."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool = False):
        super().__init__()
        self.resolution = resolution
        self.conv = ModulatedConv(in_channels, out_channels, 3, w_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.zeros(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        # leaky_relu(x) * sqrt(2) = leaky_relu(x * sqrt(2)), and multiplying what is small costs next to nothing
        added = (self._noise(len(x), noise) * self.noise_strength + self.bias) * math.sqrt(2)
        # with a pixel's channels side by side, as x has them: adding across two layouts takes several times as long
        return F.leaky_relu_(self.conv(x, w, added.movedim(-1, 1), math.sqrt(2)), 0.2)

    def _noise(self, batch: int, noise: torch.Generator | None) -> Tensor:
        """Noise maps (1 or B, r, r, 1)."""
        shape = (self.resolution, self.resolution, 1)
        if noise is None:
            return self.noise_const.view(1, *shape)
        drawn = draw_rows(lambda n: torch.randn(n, *shape, generator=noise, device=noise.device), batch, noise)
        return drawn.to(self.noise_const)


class ToRGB(nn.Module):
    """Features -> RGB contribution of one resolution: a modulated 1x1 convolution without demodulation."""

    def __init__(self, in_channels: int, w_dim: int):
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w).to(self.bias.dtype) + self.bias[:, None, None]


class SynthesisBlock(nn.Module):
    """One resolution: two styled convolutions (one at 4x4) and a picture added to the enlarged picture below it."""

    def __init__(self, config: GANConfig, resolution: int):
        super().__init__()
        below, here = config.channels(resolution // 2), config.channels(resolution)
        self.resolution = resolution
        self.first = resolution == 4
        self.bilinear = config.bilinear
        if self.first:
            self.const = nn.Parameter(torch.zeros(here, 4, 4))
        else:
            self.conv_up = StyledConv(below, here, config.w_dim, resolution, up=not config.bilinear)
        self.conv = StyledConv(here, here, config.w_dim, resolution)
        self.to_rgb = ToRGB(here, config.w_dim)

    def forward(
        self,
        x: Tensor | None,
        rgb: Tensor | None,
        ws: Tensor,
        condition: tuple[Tensor, Tensor] | None,
        noise: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """`ws` is (B, 2, w_dim) at 4x4 and (B, 3, w_dim) above; the last code also opens the next resolution."""
        codes = list(ws.unbind(dim=1))
        if self.first:
            # The layout spreads from here through the whole network: a CPU convolves faster in it.
            x = self.const.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        else:
            x = self.conv_up(upsample_bilinear(x) if self.bilinear else x, codes.pop(0), noise)
        if condition is not None:
            x = apply_condition(x, *condition)
        x = self.conv(x, codes[0], noise)
        picture = self.to_rgb(x, codes[1])
        if rgb is not None:
            with full_precision(x):
                picture = picture + (upsample_bilinear(rgb) if self.bilinear else upsample(rgb))
        return x, picture


class Generator(nn.Module):
    """The StyleGAN2 generator.

    Args:
        config: sizes.
        generator: random source of the initial weights; the same seed gives the same network.

    Attributes:
        num_ws: number of latent codes a picture takes, 2 log2(size) - 2.
        w_avg: (w_dim,) running mean of w, the average face; truncation pulls toward it.
    """

    def __init__(self, config: GANConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.size, self.z_dim, self.w_dim = config.size, config.z_dim, config.w_dim
        self.resolutions = resolutions(config.size)
        self.num_ws = 2 * len(self.resolutions)
        self.mapping = MappingNetwork(config)
        self.blocks = nn.ModuleDict({str(r): SynthesisBlock(config, r) for r in self.resolutions})
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        if config.bilinear:
            self.register_buffer("enlarges_bilinearly", torch.ones(()))  # tells it apart wherever the state goes
        initialise(self, generator)

    def freeze_noise(self) -> None:
        """Train the strengths of the noise inputs no further."""
        for name, parameter in self.named_parameters():
            if name.endswith("noise_strength"):
                parameter.requires_grad_(False)

    def map(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Latents z (B, z_dim) ~ N(0, 1) to codes (B, num_ws, w_dim); truncation 0 is the average face, 1 cuts none."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must have shape (B, {self.z_dim}), got {tuple(z.shape)}")
        w = self.w_avg + truncation * (self.mapping(z) - self.w_avg) if truncation != 1 else self.mapping(z)
        return w[:, None].expand(-1, self.num_ws, -1)

    def sample(self, count: int, generator: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Codes (count, num_ws, w_dim) of random faces drawn from `generator`."""
        z = torch.randn(count, self.z_dim, generator=generator, device=generator.device)
        return self.map(z.to(self.w_avg), truncation)

    def forward(self, ws: Tensor, conditions: Conditions | None = None, noise: torch.Generator | None = None) -> Tensor:
        """Draw pictures (B, 3, size, size) in about [0, 1].

        Args:
            ws: (B, num_ws, w_dim) latent codes in W+.
            conditions: {resolution >= 8: (scale, shift)}, each (B, C, r, r). They change the last C channels, half of
                them in our restorer, between the two convolutions of that resolution, h -> h (1 + scale) + shift: the
                spatial feature transform of GFPGAN (arXiv 2101.04061, 3.4).
            noise: None uses the stored noise maps (the same picture every time), a generator draws fresh ones.

        Raises:
            ValueError: `ws` of another shape, or a condition for a resolution the network does not have.
        """
        return self.forward_features(ws, conditions, noise)[0]

    def forward_features(
        self, ws: Tensor, conditions: Conditions | None = None, noise: torch.Generator | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `forward`, with the features (B, C, r, r) of every resolution."""
        self._check(ws, conditions or {})
        x = rgb = None
        features = {}
        for level, resolution in enumerate(self.resolutions):
            codes = ws[:, max(0, 2 * level - 1) : 2 * level + 2]
            condition = conditions.get(resolution) if conditions else None
            x, rgb = self.blocks[str(resolution)](x, rgb, codes, condition, noise)
            features[resolution] = x
        return to_zero_one(rgb), features

    def _check(self, ws: Tensor, conditions: Conditions) -> None:
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws must have shape (B, {self.num_ws}, {self.w_dim}), got {tuple(ws.shape)}")
        unknown = set(conditions) - set(self.resolutions[1:])
        if unknown:
            raise ValueError(f"no condition can act at {sorted(unknown)} px: this network has {self.resolutions[1:]}")
        for resolution, pair in conditions.items():
            most = self.config.channels(resolution)
            for tensor in pair:
                if tensor.ndim != 4 or tensor.shape[1] > most or tensor.shape[2:] != (resolution, resolution):
                    shapes = f"(B, up to {most}, {resolution}, {resolution}), got {tuple(tensor.shape)}"
                    raise ValueError(f"scale and shift at {resolution} px must have shape {shapes}")


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw every weight from N(0, 1) (equalised learning rate scales at run time); biases keep their start values."""
    generator = generator or torch.Generator().manual_seed(0)
    for name, tensor in sorted(module.state_dict().items()):
        if name.endswith(("weight", "const")):
            layer = module.get_submodule(name.rpartition(".")[0])
            multiplier = getattr(layer, "lr_multiplier", 1.0)  # slow layers start the larger, to be as loud as others
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / multiplier)
