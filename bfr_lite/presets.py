"""The three sizes of the system: `tiny` to learn with, `lite` to use, `full` for FFHQ and GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from bfr_lite.codec import CodecConfig
from bfr_lite.stylegan2 import GANConfig


@dataclass(frozen=True)
class Preset:
    """Sizes of one system: pictures of `size` pixels, a prior, a codec that fits it."""

    name: str
    size: int
    gan: GANConfig
    codec: CodecConfig


def _preset(name: str, gan: GANConfig, codec_base: int, codec_max: int) -> Preset:
    codec = CodecConfig(gan, channel_base=codec_base, channel_max=codec_max)
    return Preset(name, gan.size, gan, codec)


PRESETS = {
    one.name: one
    for one in (
        _preset("tiny", GANConfig(32, 64, 64, 2, channel_base=512, channel_max=32), codec_base=512, codec_max=32),
        _preset("lite", GANConfig(128, 128, 128, 2, channel_base=2048, channel_max=96), codec_base=3072, codec_max=96),
        _preset(
            "full", GANConfig(512, 512, 512, 8, channel_base=32768, channel_max=512), codec_base=16384, codec_max=256
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name: "tiny" (32 px), "lite" (128 px) or "full" (512 px). Raises `ValueError` otherwise."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]
