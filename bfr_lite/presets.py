"""The three sizes of the system: `tiny` to learn with, `lite` to use, `full` for FFHQ and GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bfr_lite.codec import CodecConfig
from bfr_lite.stylegan2 import GANConfig


@dataclass(frozen=True)
class Preset:
    """Sizes of one system: pictures of `size` pixels, a prior, a codec that fits it."""

    name: str
    size: int
    gan: GANConfig
    codec: CodecConfig

    def enlarging(self, bilinear: bool) -> Preset:
        """The same sizes for a generator that enlarges bilinearly, or with StyleGAN2's filter."""
        gan = replace(self.gan, bilinear=bilinear)
        return replace(self, gan=gan, codec=replace(self.codec, gan=gan))


TINY = GANConfig(32, z_dim=64, w_dim=64, mapping_layers=2, channel_base=512, channel_max=32)
# Of four widths the best after equal time: data/benchmarks/prior_width.md.
LITE = GANConfig(128, z_dim=128, w_dim=128, mapping_layers=2, channel_base=2048, channel_max=96)
FULL = GANConfig(512)  # the official configuration F

PRESETS = {
    one.name: one
    for one in (
        Preset("tiny", 32, TINY, CodecConfig(TINY, channel_base=512, channel_max=32, depth=1)),
        Preset("lite", 128, LITE, CodecConfig(LITE, channel_base=2048, channel_max=96, depth=1)),
        Preset("full", 512, FULL, CodecConfig(FULL, channel_base=16384, channel_max=256, depth=2)),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name: "tiny" (32 px), "lite" (128 px) or "full" (512 px). Raises `ValueError` otherwise."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]
