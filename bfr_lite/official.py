"""The official StyleGAN2 weights, turned into ours.

Four layouts are in wide use: NVIDIA's stylegan2-ada-pytorch ("ada"), rosinality/stylegan2-pytorch ("rosinality"),
BasicSR's, which GFPGAN has inside it ("basicsr"), and the one of GFPGAN's later releases ("clean"). The first three
hold the same network under other names and with some singleton axes. The fourth enlarges in another way, and has the
constants of the equalised learning rate multiplied into its weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from bfr_lite.official_names import (
    ada_discriminator_name,
    ada_generator_name,
    basicsr_generator_name,
    clean_generator_name,
    rosinality_discriminator_name,
    rosinality_generator_name,
)
from bfr_lite.stylegan2 import GANConfig, resolutions

_GFPGAN = "stylegan_decoder."  # where GFPGAN's restorer has its prior
_SIGNS = {  # how names of each layout begin; several of each, so that one lost entry does not hide the layout
    "clean": r"style_conv(1|s\.\d+)\.bias",
    "basicsr": r"style_conv|style_mlp\.|constant_input\.",
    "ada": r"synthesis\.b\d+\.|b4\.|b\d+\.(conv0|fromrgb)\.",
    "ours": r"blocks\.\d+\.|from_rgb\.",
    "rosinality": r"input\.input|to_rgb|convs\.\d+\.|final_linear\.\d\.",
}
_BUILT_IN = r"(.+\.)?(kernel|resample_filter)"  # the filter, which we have in the code


LARGEST = 1024  # pixels that any published StyleGAN2 draws


class WeightsError(ValueError):
    """Weights that do not fit; the message names what is missing or of another shape, and what would work."""


def layout(state: Mapping[str, Tensor]) -> str:
    """Which layout a generator's or discriminator's state has: "ours", "ada", "rosinality", "basicsr" or "clean".

    Raises `WeightsError` when it is none of them.
    """
    for name, sign in _SIGNS.items():
        if any(re.match(sign, entry) for entry in state):
            return name
    if any(entry.startswith("codec.") for entry in state):
        raise WeightsError("these are a whole restorer's weights, for `Restorer.from_pretrained`; needed are a prior's")
    known = "our safetensors, stylegan2-ada-pytorch, rosinality's stylegan2-pytorch, BasicSR and GFPGAN"
    raise WeightsError(
        f"no StyleGAN2 network among these entries ({', '.join(sorted(state)[:3])}, ...); known: {known}"
    )


def generator_from_official(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A generator's state under our names, from any known layout, and for each of them the name it has in the file.

    Names that nobody knows stay as they are. Raises `WeightsError` for an unknown layout, or two entries in one place.
    """
    # GFPGAN has more in its files: the half that reads the damaged face.
    prefix = _GFPGAN if any(name.startswith(_GFPGAN) for name in state) else ""
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    found = layout(state)
    rules = {
        "ada": ada_generator_name,
        "rosinality": rosinality_generator_name,
        "basicsr": basicsr_generator_name,
        "clean": clean_generator_name,
    }
    ours, names = _renamed(state, rules.get(found))
    if found == "clean":
        ours = {name: tensor / _folded_in(name, tensor.shape) for name, tensor in ours.items()}
        ours["enlarges_bilinearly"] = torch.ones(())
    if found != "ours" and "mapping.layers.0.bias" in ours:  # not all of these files have an average
        ours.setdefault("w_avg", torch.zeros_like(ours["mapping.layers.0.bias"]))
    return ours, {place: prefix + name for place, name in names.items()}


def discriminator_from_official(state: Mapping[str, Tensor], size: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `generator_from_official`, a discriminator's state, of pictures of `size` px."""
    rules = {"ada": ada_discriminator_name, "rosinality": partial(rosinality_discriminator_name, size=size)}
    return _renamed(state, rules.get(layout(state)))


def infer_config(generator: Mapping[str, Tensor], names: Mapping[str, str]) -> GANConfig:
    """Read the sizes of a network off its generator's state (our names; `names` has the file's, for what is said).

    Raises `WeightsError` that names the entry from which they cannot be read, or the channels that do not fit.
    """
    matches = [re.match(r"(?:blocks\.(\d+)|mapping\.layers\.(\d+))\.", name) for name in generator]
    sizes = {int(match[1]) for match in matches if match and match[1]}
    layers = {int(match[2]) for match in matches if match and match[2]}
    if not layers:
        raise WeightsError("no mapping network among these entries, so no generator: is it a discriminator?")
    if max(layers) >= len(layers):
        raise WeightsError(f"mapping layers {sorted(layers)[:9]}, where a generator has 0, 1, 2, ... without a gap")
    w_dim, z_dim = _shape(generator, "mapping.layers.0.weight", 2, names)
    widths = {size: _shape(generator, _wide(size), 4, names)[0] for size in sorted(sizes)}
    if not widths or sorted(widths) != resolutions(max(widths)):
        raise WeightsError(f"blocks of {sorted(widths)} px, where a generator has 4, 8, 16, ... up to its size")
    if max(widths) > LARGEST or not all((z_dim, w_dim, *widths.values())):
        raise WeightsError(f"a generator of {max(widths)} px, {z_dim}, {w_dim} and {widths} numbers is none we know")
    size, bilinear = max(widths), "enlarges_bilinearly" in generator
    config = GANConfig(size, z_dim, w_dim, len(layers), widths[size] * size, max(widths.values()), bilinear=bilinear)
    for resolution, width in widths.items():
        if width != (fits := config.channels(resolution)):
            raise WeightsError(
                f"{names[_wide(resolution)]} has {width} channels where {fits} would fit those of the other "
                f"blocks, {widths}: min(channel_base / resolution, channel_max)"
            )
    # else a few numbers could announce a network that fills the memory before its entries are compared
    for layer in range(len(layers)):
        _check_shape(generator, f"mapping.layers.{layer}.weight", (w_dim, w_dim if layer else z_dim), names)
    for resolution, width in widths.items():
        _check_shape(generator, _wide(resolution), (width, width, 3, 3), names)
    return config


def _wide(resolution: int) -> str:
    """The entry that says how wide a block is."""
    return f"blocks.{resolution}.conv.conv.weight"


def _shape(state: Mapping[str, Tensor], name: str, axes: int, names: Mapping[str, str]) -> tuple[int, ...]:
    """The shape of an entry from which sizes are read."""
    if name not in state:
        raise WeightsError(f"missing {name} (our name), from which the generator's sizes are read")
    if state[name].ndim != axes:
        raise WeightsError(f"{names[name]} is {tuple(state[name].shape)}, needs {axes} axes")
    return tuple(state[name].shape)


def _check_shape(state: Mapping[str, Tensor], name: str, needed: tuple[int, ...], names: Mapping[str, str]) -> None:
    if (found := _shape(state, name, len(needed), names)) != needed:
        raise WeightsError(f"{names[name]} is {found}, needs {needed}")


def _renamed(
    state: Mapping[str, Tensor], rule: Callable[[str], str | None] | None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state under our names, and for each of them the name it had."""
    ours: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, tensor in state.items():
        if rule is not None and re.fullmatch(_BUILT_IN, name):
            continue
        place = (rule and rule(name)) or name
        if place in ours:
            raise WeightsError(f"{name} and {names[place]} are one entry ({place}): this is another network")
        ours[place] = _without_singletons(place, tensor) if rule else tensor
        names[place] = name
    return ours, names


def _folded_in(name: str, shape: torch.Size) -> float:
    """The constant that the clean layout has multiplied into a weight, and our layers multiply by at run time.

    Those are the equalised learning rate's and, where a leaky ReLU follows, its factor sqrt(2).
    """
    if name.endswith(("noise_strength", "conv.bias", "conv_up.bias")):
        return math.sqrt(2)
    gain = 1 / math.sqrt(max(1, math.prod(shape[1:]))) if name.endswith("weight") else 1.0
    return gain * 0.01 * math.sqrt(2) if name.startswith("mapping.") else gain


def _without_singletons(name: str, tensor: Tensor) -> Tensor:
    """Drop the axes of length one that are stored for broadcasting; a tensor of an unknown shape stays as it is."""
    kind = name.rsplit(".", 1)[-1]
    axes = {"noise_strength": 0, "bias": 1, "noise_const": 2, "const": 3}.get(kind, 4 if tensor.ndim == 5 else None)
    if axes is None:
        return tensor
    while tensor.ndim > axes and 1 in tensor.shape:
        tensor = tensor.squeeze(tensor.shape.index(1))
    return tensor
