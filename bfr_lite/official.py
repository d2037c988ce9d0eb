"""Names of the official StyleGAN2 weights, and ours.

Three layouts are in wide use: NVIDIA's stylegan2-ada-pytorch ("ada"), rosinality/stylegan2-pytorch ("rosinality") and
BasicSR's, which GFPGAN has inside it ("basicsr"). All hold the same network under other names and with some singleton
axes; here each of their names is turned into ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from bfr_lite.stylegan2 import GANConfig

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
_GFPGAN = "stylegan_decoder."  # where GFPGAN's restorer has its prior
_BASICSR = (  # BasicSR's generator is rosinality's with other words in the names: pattern, rosinality's spelling
    (r"^style_mlp\.", "style."),
    (r"^constant_input\.weight$", "input.input"),
    (r"^style_conv(1|s\.\d+)\.weight$", r"conv\1.noise.weight"),
    (r"^style_conv", "conv"),
    (r"\.modulated_conv\.", ".conv."),
    (r"^noises\.noise", "noises.noise_"),
)
_ADA_LAYER = {"conv0": "conv_up", "conv1": "conv", "torgb": "to_rgb"}


class WeightsError(ValueError):
    """Weights that do not fit; the message names what is missing or of another shape, and what would work."""


def layout(state: Mapping[str, Tensor]) -> str:
    """Which layout a generator's or discriminator's state has: "ours", "ada", "rosinality" or "basicsr".

    Raises `WeightsError` when it is none of them.
    """
    names = set(state)
    if {"synthesis.b4.const", "b4.out.weight"} & names:
        return "ada"
    if {"input.input", "final_linear.1.weight"} & names:
        return "rosinality"
    if {"blocks.4.const", "from_rgb.weight"} & names:
        return "ours"
    if {"constant_input.weight", f"{_GFPGAN}constant_input.weight"} & names:
        if {"style_conv1.bias", f"{_GFPGAN}style_conv1.bias"} & names:
            raise WeightsError(
                "these are weights of GFPGAN's `clean` architecture, which enlarges bilinearly, as StyleGAN2 does not: "
                "take a file of the original one, such as GFPGANv1.pth"
            )
        return "basicsr"
    known = "our safetensors, stylegan2-ada-pytorch, rosinality's stylegan2-pytorch, BasicSR and GFPGAN"
    raise WeightsError(
        f"no StyleGAN2 network among these entries ({', '.join(sorted(names)[:3])}, ...); known: {known}"
    )


def generator_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's state under our names, from any known layout."""
    return _convert(
        state, {"ada": _ada_generator, "rosinality": rosinality_generator_name, "basicsr": _basicsr_generator}
    )


def discriminator_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A discriminator's state under our names, from any known layout."""
    size = 4 * 2 ** sum(bool(re.fullmatch(r"convs\.\d+\.skip\.1\.weight", name)) for name in state)
    return _convert(
        state, {"ada": _ada_discriminator, "rosinality": lambda name: rosinality_discriminator_name(name, size)}
    )


def infer_config(generator: Mapping[str, Tensor]) -> GANConfig:
    """Read the sizes of a network off its generator's state (our names)."""
    widths = {
        int(match[1]): tensor.shape[0]
        for name, tensor in generator.items()
        if (match := re.fullmatch(r"blocks\.(\d+)\.conv\.bias", name))
    }
    if "w_avg" not in generator:
        raise WeightsError("no generator among these entries: is it a discriminator?")
    size = max(widths)
    fc = [name for name in generator if re.fullmatch(r"mapping\.layers\.\d+\.weight", name)]
    w_dim, z_dim = generator["w_avg"].shape[0], generator["mapping.layers.0.weight"].shape[1]
    config = GANConfig(size, z_dim, w_dim, len(fc), widths[size] * size, max(widths.values()))
    wrong = {r: c for r, c in widths.items() if config.channels(r) != c}
    if wrong:
        raise WeightsError(f"channels {widths} do not follow min(channel_base / resolution, channel_max)")
    return config


def _convert(state: Mapping[str, Tensor], rules: Mapping[str, Callable[[str], str | None]]) -> dict[str, Tensor]:
    rule = rules.get(layout(state), lambda name: name)
    converted = {}
    for name, tensor in state.items():
        ours = rule(name)
        if ours is not None:
            converted[ours] = _without_singletons(ours, tensor)
    if "blocks.4.const" in converted:
        converted.setdefault("w_avg", converted["mapping.layers.0.bias"].new_zeros(_w_dim(converted)))
    return converted


def _w_dim(state: Mapping[str, Tensor]) -> int:
    return state["blocks.4.conv.conv.affine.weight"].shape[1]


def _without_singletons(name: str, tensor: Tensor) -> Tensor:
    """Drop the axes of length one that rosinality stores for broadcasting."""
    kind = name.rsplit(".", 1)[-1]
    if kind == "weight" and tensor.ndim == 5:
        return tensor[0]
    if kind == "const" and tensor.ndim == 4:
        return tensor[0]
    if kind == "noise_const":
        return tensor.reshape(tensor.shape[-2:])
    if kind in ("bias", "noise_strength"):
        return tensor.reshape(()) if kind == "noise_strength" else tensor.reshape(-1)
    return tensor


def _ada_generator(name: str) -> str | None:
    if name == "mapping.w_avg":
        return "w_avg"
    if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
        return f"mapping.layers.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"synthesis\.b(\d+)\.const", name):
        return f"blocks.{match[1]}.const"
    if match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
        part = _ADA_CONV.get(match[3])
        return part and f"blocks.{match[1]}.{_ADA_LAYER[match[2]]}.{part}"
    return None


def _ada_discriminator(name: str) -> str | None:
    parts = {"conv0": "conv", "conv1": "conv_down", "skip": "skip"}
    ends = {"conv": "conv", "fc": "dense", "out": "out"}
    if match := re.fullmatch(r"b4\.(conv|fc|out)\.(weight|bias)", name):
        return f"{ends[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"b\d+\.fromrgb\.(weight|bias)", name):
        return f"from_rgb.{match[1]}"
    if match := re.fullmatch(r"b(\d+)\.(conv0|conv1|skip)\.(weight|bias)", name):
        return f"blocks.{match[1]}.{parts[match[2]]}.{match[3]}"
    return None


def rosinality_generator_name(name: str) -> str | None:
    """Our name of an entry of rosinality's generator; None for what we have no need of."""
    if name == "input.input":
        return "blocks.4.const"
    if name == "latent_avg":
        return "w_avg"
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.layers.{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"{_rosinality_conv(int(match[1]) - 1)}.noise_const"
    if match := re.fullmatch(r"(conv1|convs\.(\d+)|to_rgb1|to_rgbs\.(\d+))\.(.+)", name):
        part = _CONV.get(match[4])
        if match[1].startswith("to_rgb"):
            level = 0 if match[3] is None else int(match[3]) + 1
            place = f"blocks.{4 * 2**level}.to_rgb"
        else:
            place = _rosinality_conv(-1 if match[2] is None else int(match[2]))
        return part and f"{place}.{part}"
    return None


def _basicsr_generator(name: str) -> str | None:
    name = name.removeprefix(_GFPGAN)
    for pattern, spelling in _BASICSR:
        name = re.sub(pattern, spelling, name)
    return rosinality_generator_name(name)


def _rosinality_conv(index: int) -> str:
    """Index in `convs` (-1 for conv1) to our place: pairs of (conv_up, conv) from 8 px on."""
    if index < 0:
        return "blocks.4.conv"
    return f"blocks.{8 * 2 ** (index // 2)}.{'conv' if index % 2 else 'conv_up'}"


def rosinality_discriminator_name(name: str, size: int) -> str | None:
    """Our name of an entry of rosinality's discriminator for pictures of `size` px; None as above."""
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
    match = re.fullmatch(r"convs\.(\d+)\.(.+)", name)
    if match and match[2] in parts:
        return f"blocks.{size // 2 ** (int(match[1]) - 1)}.{parts[match[2]]}"
    return None
