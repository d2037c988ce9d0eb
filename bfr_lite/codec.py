"""The asymmetric codec: a deep encoder that understands a damaged face, a light decoder that steers the generator.

Hu et al. (arXiv 2205.14377) name an asymmetric codec built with MMRBs; the layout is our reading, see notebook 03. The
encoder ends in W+ codes (what face this is); the decoder gives the generator a condition at each resolution (where
this face differs from what the codes alone would draw), and small pictures for a pyramid loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.images import check_images
from bfr_lite.layers import Conv2d, EqualConv2d, EqualLinear, draw_weights
from bfr_lite.mmrb import MMRB
from bfr_lite.stylegan2 import Conditions, GANConfig, initialise, resolutions

Block = Callable[[int], nn.Module]


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of a codec that steers the generator of `gan`.

    Attributes:
        gan: the generator's sizes.
        channel_base, channel_max: resolution r has min(channel_base // r, channel_max) channels in the encoder, at
            least 8, and half as many in the decoder.
        depth: MMRBs at each resolution of the encoder.
        symmetric: give the decoder the encoder's width and blocks, to see what the asymmetry is worth.
    """

    gan: GANConfig
    channel_base: int
    channel_max: int
    depth: int = 2
    symmetric: bool = False

    def channels(self, resolution: int) -> int:
        """Encoder channels at a resolution."""
        return max(8, min(self.channel_base // resolution, self.channel_max))

    def decoder_channels(self, resolution: int) -> int:
        """Decoder channels at a resolution."""
        return self.channels(resolution) if self.symmetric else self.channels(resolution) // 2


@dataclass(frozen=True)
class CodecOutput:
    """What the codec says of a batch of B damaged faces.

    Attributes:
        ws: (B, num_ws, w_dim) latent codes in W+.
        conditions: {resolution >= 8: (scale, shift)}, each (B, generator channels // 2, r, r).
        pyramid: {resolution >= 8: (B, 3, r, r)} restored pictures in about [0, 1], small to large.
    """

    ws: Tensor
    conditions: Conditions
    pyramid: dict[int, Tensor]

    def __getitem__(self, faces: slice | Tensor) -> CodecOutput:
        """The same of some of the faces."""
        conditions = {r: (scale[faces], shift[faces]) for r, (scale, shift) in self.conditions.items()}
        return CodecOutput(self.ws[faces], conditions, {r: image[faces] for r, image in self.pyramid.items()})


class Encoder(nn.Module):
    """(B, 3, size, size) -> features {resolution: (B, C, r, r)} from size down to 4, blocks at every resolution."""

    def __init__(self, config: CodecConfig, block: Block):
        super().__init__()
        sizes = resolutions(config.gan.size)[::-1]
        self.stem = Conv2d(3, config.channels(sizes[0]), 3, padding=1)
        self.levels = nn.ModuleDict(
            {str(r): nn.Sequential(*(block(config.channels(r)) for _ in range(config.depth))) for r in sizes}
        )
        self.down = nn.ModuleDict(
            {str(r): Conv2d(config.channels(r), config.channels(r // 2), 3, stride=2, padding=1) for r in sizes[:-1]}
        )

    def forward(self, lq: Tensor) -> dict[int, Tensor]:
        x = self.stem(lq * 2 - 1)
        features = {}
        for resolution, level in self.levels.items():
            x = features[int(resolution)] = level(x)
            if resolution in self.down:
                x = F.leaky_relu(self.down[resolution](x), 0.2)
        return features


class DecoderLevel(nn.Module):
    """One resolution of the decoder: enlarge, add the encoder's features, convolve, give a condition and a picture."""

    def __init__(self, config: CodecConfig, resolution: int, block: Block):
        super().__init__()
        below = config.channels(4) if resolution == 8 else config.decoder_channels(resolution // 2)
        here = config.decoder_channels(resolution)
        half = config.gan.channels(resolution) // 2
        self.enlarge = Conv2d(below, here, 1)
        self.skip = Conv2d(config.channels(resolution), here, 1)
        self.conv = Conv2d(here, here, 3, padding=1)
        self.blocks = nn.Sequential(*(block(here) for _ in range(config.depth if config.symmetric else 0)))
        self.condition = EqualConv2d(here, 2 * half, 1)
        self.to_rgb = EqualConv2d(here, 3, 1)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        x = (F.interpolate(self.enlarge(x), scale_factor=2, mode="nearest") + self.skip(encoded)) / math.sqrt(2)
        return self.blocks(F.leaky_relu(self.conv(F.leaky_relu(x, 0.2)), 0.2))


class AsymmetricCodec(nn.Module):
    """Damaged face -> W+ codes, conditions for the generator, and a pyramid of small pictures.

    Args:
        config: sizes.
        block: makes one block of the encoder from a channel count; `MMRB` unless another one is to be compared.
        generator: random source of the initial weights.

    Attributes:
        mean_ws: (num_ws, w_dim) codes the encoder's answer is added to; the prior's average face once there is one.
    """

    def __init__(self, config: CodecConfig, block: Block = MMRB, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        sizes = resolutions(config.gan.size)
        num_ws, last = 2 * len(sizes), config.channels(4)
        self.encoder = Encoder(config, block)
        self.to_ws = nn.Sequential(
            nn.Flatten(),
            EqualLinear(last * 16, 2 * last, activate=True),
            EqualLinear(2 * last, num_ws * config.gan.w_dim),
        )
        self.decoder = nn.ModuleDict({str(r): DecoderLevel(config, r, block) for r in sizes[1:]})
        self.register_buffer("mean_ws", torch.zeros(num_ws, config.gan.w_dim))
        draw_weights(self.encoder, generator)
        draw_weights(self.decoder, generator)
        initialise(self.to_ws, generator)
        # With conditions and RGB layers starting at zero, an untrained codec says: the average face, left as it is.
        nn.init.zeros_(self.to_ws[-1].weight)

    def forward(self, lq: Tensor) -> CodecOutput:
        """Read damaged faces (B, 3, size, size) in [0, 1]. Raises `ImageError` for anything else."""
        return self.forward_features(lq)[0]

    def forward_features(self, lq: Tensor) -> tuple[CodecOutput, dict[str, Tensor]]:
        """As `forward`, with the features of every stage: `encoder.128` ... `encoder.4`, `decoder.8` ... ."""
        ws, encoded = self.encode(lq)
        features = {f"encoder.{r}": value for r, value in encoded.items()}
        x = encoded[4]
        conditions, pyramid = {}, {}
        for name, level in self.decoder.items():
            resolution = int(name)
            x = features[f"decoder.{name}"] = level(x, encoded[resolution])
            scale, shift = level.condition(x).chunk(2, dim=1)
            conditions[resolution] = (scale, shift)
            pyramid[resolution] = level.to_rgb(x) + F.adaptive_avg_pool2d(lq, resolution)
        return CodecOutput(ws, conditions, pyramid), features

    def encode(self, lq: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """The encoder's half of `forward`: codes (B, num_ws, w_dim) and features {resolution: (B, C, r, r)}."""
        check_images(lq, size=self.config.gan.size, name="lq")
        encoded = self.encoder(lq)
        return self.mean_ws + self.to_ws(encoded[4]).unflatten(1, self.mean_ws.shape), encoded
