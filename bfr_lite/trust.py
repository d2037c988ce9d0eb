"""The trust map: where the codec's own picture is nearer to the truth than any drawing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.codec import CodecConfig
from bfr_lite.layers import EqualConv2d
from bfr_lite.stylegan2 import resolutions

# An untrained map says sigmoid(-3) = 5 % everywhere: the picture is the generator's until training finds a gain.
UNTRAINED = -3.0


class TrustMap(nn.Module):
    """Decoder features of every resolution -> one map, built up from coarse to fine like StyleGAN2's RGB skips.

    Coarse features know how damaged the face is as a whole, fine ones where. A map read off the finest alone, our first
    one, hardly told mild damage from severe: it sees a few pixels of eight channels.

    Args:
        config: sizes of the codec whose decoder is read.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        sizes = resolutions(config.gan.size)[1:]
        self.levels = nn.ModuleDict({str(r): EqualConv2d(config.decoder_channels(r), 1, 1) for r in sizes})
        for level in self.levels.values():
            nn.init.zeros_(level.weight)
        nn.init.constant_(self.levels[str(sizes[-1])].bias, UNTRAINED)

    def forward(self, stages: dict[str, Tensor]) -> Tensor:
        """Read `decoder.R` of a codec's stages: (B, 1, size, size) in (0, 1)."""
        logits = stages["decoder.8"].new_zeros(1, 1, 4, 4, dtype=torch.float32)
        for resolution, level in self.levels.items():
            wider = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
            logits = wider + level(stages[f"decoder.{resolution}"])
        return logits.sigmoid()
