"""Write our networks as rosinality/stylegan2-pytorch does, so that other people's tools open them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from bfr_lite.checkpoints import network_path
from bfr_lite.discriminator import Discriminator
from bfr_lite.layers import FILTER
from bfr_lite.official import WeightsError
from bfr_lite.official_names import rosinality_discriminator_name, rosinality_generator_name
from bfr_lite.stylegan2 import GANConfig, Generator, resolutions

_CONV_PARTS = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias")
_RGB_PARTS = ("bias", "conv.weight", "conv.modulation.weight", "conv.modulation.bias")
_BLOCK_PARTS = ("conv1.0.weight", "conv1.1.bias", "conv2.1.weight", "conv2.2.bias", "skip.1.weight")


def export_rosinality(path: Path, generator: Generator, discriminator: Discriminator | None = None) -> None:
    """Write `path` (.pt) with `g_ema`, `latent_avg` and, if given, `d`, float32, under their names and in their shapes.

    Their `Generator(size, w_dim, mapping_layers)` loads it strictly where its channels are the same; it knows one
    width, 512 at coarse resolutions, and wants z_dim = w_dim.

    Raises `WeightsError` for a generator that enlarges bilinearly, which their format cannot say.
    """
    if generator.config.bilinear:
        raise WeightsError(
            "this generator enlarges bilinearly, as GFPGAN's `clean` ones do, and rosinality's cannot: its "
            "weights would draw other pictures there; save it with `save_weights` instead"
        )
    content = {"g_ema": _generator_entries(generator), "latent_avg": generator.w_avg.detach().cpu().clone()}
    if discriminator is not None:
        content["d"] = _discriminator_entries(discriminator)
    with network_path(Path(path)) as temporary:
        torch.save(content, temporary)


def _generator_entries(generator: Generator) -> dict[str, Tensor]:
    ours = _on_cpu(generator)
    entries = {name: ours[rosinality_generator_name(name)] for name in _generator_names(generator.config)}
    for name, tensor in entries.items():
        if name == "input.input" or name.endswith("conv.weight"):
            entries[name] = tensor[None]
        elif re.fullmatch(r"to_rgb1\.bias|to_rgbs\.\d+\.bias", name):
            entries[name] = tensor.view(1, -1, 1, 1)
        elif name.endswith("noise.weight"):
            entries[name] = tensor.view(1)
        elif name.startswith("noises."):
            entries[name] = tensor[None, None]
    levels = len(generator.resolutions) - 1
    kernels = [f"convs.{2 * k}.conv.blur.kernel" for k in range(levels)]
    kernels += [f"to_rgbs.{k}.upsample.kernel" for k in range(levels)]
    return entries | {name: 4 * _kernel() for name in kernels}  # times 4: zeros lie between the pixels


def _generator_names(config: GANConfig) -> Iterator[str]:
    levels = len(resolutions(config.size)) - 1  # above 4
    for layer in range(config.mapping_layers):
        yield from (f"style.{layer + 1}.{kind}" for kind in ("weight", "bias"))
    yield "input.input"
    for place in ("conv1", *(f"convs.{k}" for k in range(2 * levels))):
        yield from (f"{place}.{part}" for part in _CONV_PARTS)
    for place in ("to_rgb1", *(f"to_rgbs.{k}" for k in range(levels))):
        yield from (f"{place}.{part}" for part in _RGB_PARTS)
    yield from (f"noises.noise_{k}" for k in range(2 * levels + 1))


def _discriminator_entries(discriminator: Discriminator) -> dict[str, Tensor]:
    ours, size = _on_cpu(discriminator), discriminator.config.size
    blocks = range(1, len(discriminator.resolutions))
    names = ["convs.0.0.weight", "convs.0.1.bias", "final_conv.0.weight", "final_conv.1.bias"]
    names += [f"final_linear.{k}.{kind}" for k in (0, 1) for kind in ("weight", "bias")]
    names += [f"convs.{k}.{part}" for k in blocks for part in _BLOCK_PARTS]
    kernels = {f"convs.{k}.{part}.0.kernel": _kernel() for k in blocks for part in ("conv2", "skip")}
    return {name: ours[rosinality_discriminator_name(name, size)] for name in names} | kernels


def _kernel() -> Tensor:
    along = torch.tensor(FILTER)
    return along[:, None] * along


def _on_cpu(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().float() for name, tensor in module.state_dict().items()}
