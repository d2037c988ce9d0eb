"""Names of the entries of official StyleGAN2 weights, each turned into ours; None for a name that is not theirs."""

from __future__ import annotations

import re

_CONV = {
    "conv.weight": "conv.weight",
    "conv.modulation.weight": "conv.affine.weight",
    "conv.modulation.bias": "conv.affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
_ADA_CONV = {
    "weight": "conv.weight",
    "affine.weight": "conv.affine.weight",
    "affine.bias": "conv.affine.bias",
    "noise_strength": "noise_strength",
    "noise_const": "noise_const",
    "bias": "bias",
}
_BASICSR = (  # BasicSR's generator is rosinality's with other words in the names: pattern, rosinality's spelling
    (r"^style_mlp\.", "style."),
    (r"^constant_input\.weight$", "input.input"),
    (r"^style_conv(1|s\.\d{1,2})\.weight$", r"conv\1.noise.weight"),
    (r"^style_conv", "conv"),
    (r"\.modulated_conv\.", ".conv."),
    (r"^noises\.noise", "noises.noise_"),
)
_ADA_LAYER = {"conv0": "conv_up", "conv1": "conv", "torgb": "to_rgb"}


def ada_generator_name(name: str) -> str | None:
    """Our name of an entry of NVIDIA's generator."""
    if name == "mapping.w_avg":
        return "w_avg"
    if match := re.fullmatch(r"mapping\.fc(\d{1,2})\.(weight|bias)", name):
        return f"mapping.layers.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"synthesis\.b(\d{1,4})\.const", name):
        return f"blocks.{match[1]}.const"
    if match := re.fullmatch(r"synthesis\.b(\d{1,4})\.(conv0|conv1|torgb)\.(.+)", name):
        part = _ADA_CONV.get(match[3])
        return part and f"blocks.{match[1]}.{_ADA_LAYER[match[2]]}.{part}"
    return None


def ada_discriminator_name(name: str) -> str | None:
    """Our name of an entry of NVIDIA's discriminator."""
    parts = {"conv0": "conv", "conv1": "conv_down", "skip": "skip"}
    ends = {"conv": "conv", "fc": "dense", "out": "out"}
    if match := re.fullmatch(r"b4\.(conv|fc|out)\.(weight|bias)", name):
        return f"{ends[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"b\d+\.fromrgb\.(weight|bias)", name):
        return f"from_rgb.{match[1]}"
    if match := re.fullmatch(r"b(\d{1,4})\.(conv0|conv1|skip)\.(weight|bias)", name):
        return f"blocks.{match[1]}.{parts[match[2]]}.{match[3]}"
    return None


def rosinality_generator_name(name: str) -> str | None:
    """Our name of an entry of rosinality's generator."""
    if name == "input.input":
        return "blocks.4.const"
    if name == "latent_avg":
        return "w_avg"
    if match := re.fullmatch(r"style\.(\d{1,2})\.(weight|bias)", name):
        return f"mapping.layers.{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_rosinality_conv(int(match[1]) - 1)}.noise_const"
    if match := re.fullmatch(r"(conv1|convs\.(\d{1,2})|to_rgb1|to_rgbs\.(\d{1,2}))\.(.+)", name):
        part = _CONV.get(match[4])
        if match[1].startswith("to_rgb"):
            level = 0 if match[3] is None else int(match[3]) + 1
            place = f"blocks.{4 * 2**level}.to_rgb"
        else:
            place = _rosinality_conv(-1 if match[2] is None else int(match[2]))
        return part and f"{place}.{part}"
    return None


def clean_generator_name(name: str) -> str | None:
    """Our name of an entry of GFPGAN's `clean` generator: BasicSR's, but its mapping counts the activations too."""
    return basicsr_generator_name(
        re.sub(r"^style_mlp\.(\d{1,2})", lambda at: f"style_mlp.{(int(at[1]) + 1) // 2}", name)
    )


def basicsr_generator_name(name: str) -> str | None:
    """Our name of an entry of BasicSR's generator."""
    for pattern, spelling in _BASICSR:
        name = re.sub(pattern, spelling, name)
    return rosinality_generator_name(name)


def _rosinality_conv(index: int) -> str:
    """Index in `convs` (-1 for conv1) to our place: pairs of (conv_up, conv) from 8 px on."""
    if index < 0:
        return "blocks.4.conv"
    return f"blocks.{8 * 2 ** (index // 2)}.{'conv' if index % 2 else 'conv_up'}"


def rosinality_discriminator_name(name: str, size: int) -> str | None:
    """Our name of an entry of rosinality's discriminator for pictures of `size` px."""
    ends = {
        "convs.0.0.weight": "from_rgb.weight",
        "convs.0.1.bias": "from_rgb.bias",
        "final_conv.0.weight": "conv.weight",
        "final_conv.1.bias": "conv.bias",
        "final_linear.0.weight": "dense.weight",
        "final_linear.0.bias": "dense.bias",
        "final_linear.1.weight": "out.weight",
        "final_linear.1.bias": "out.bias",
    }
    if name in ends:
        return ends[name]
    parts = {
        "conv1.0.weight": "conv.weight",
        "conv1.1.bias": "conv.bias",
        "conv2.1.weight": "conv_down.weight",
        "conv2.2.bias": "conv_down.bias",
        "skip.1.weight": "skip.weight",
    }
    match = re.fullmatch(r"convs\.(\d{1,2})\.(.+)", name)
    if match and match[2] in parts:
        return f"blocks.{size // 2 ** (int(match[1]) - 1)}.{parts[match[2]]}"
    return None
