"""PyTorch's own files, opened without running code, and what other projects keep in them and where."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from bfr_lite.official import WeightsError


def read_checkpoint(path: Path) -> dict:
    """Read a training checkpoint or a `.pt` file of tensors and plain containers; code in it never runs.

    An `argparse.Namespace` may be among them, for rosinality's training keeps its options in its checkpoints.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        # given a name, torch would judge by its suffix
        with Path(path).open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            _check_stored(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in the reader
        lines = (str(error) or type(error).__name__).splitlines()
        # PyTorch opens with the advice to load without this protection; what it found comes below.
        first = "it asks for more than tensors" if "weights_only" in lines[0] else lines[0]
        reason = next((line.strip() for line in lines if line.strip().startswith("WeightsUnpickler error")), first)
        raise WeightsError(f"{path} is no whole checkpoint of plain tensors and was not opened ({reason})") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, where a checkpoint is a dictionary")
    return content


def _check_stored(file: BinaryIO) -> None:
    """Raise `ValueError` for a zip with packed entries: `torch.save` packs none, and little can unpack to very much."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are packed, which no checkpoint's are")
    file.seek(0)


def generator_state(content: Mapping) -> Mapping[str, Tensor]:
    """The generator among what a file holds: NVIDIA's, our checkpoint's, rosinality's, BasicSR's, or all there is."""
    modules = content.get("modules")
    if isinstance(modules, Mapping):
        content = modules
    for key in ("G_ema", "generator_ema", "g_ema", "params_ema", "params"):
        if key in content:
            average = content.get("latent_avg")  # rosinality and what BasicSR converted keep it beside the network
            beside = {"latent_avg": average} if key in ("g_ema", "params_ema") and isinstance(average, Tensor) else {}
            state = content[key]
            return tensors({**state, **beside} if isinstance(state, Mapping) else state, f"`{key}`")
    return tensors(content, "a state dict, or `G_ema`, `generator_ema`, `g_ema`, `params_ema` or `params`")


def discriminator_state(content: Mapping) -> Mapping[str, Tensor] | None:
    """The discriminator among what a file holds: NVIDIA's, our checkpoint's, rosinality's."""
    modules = content.get("modules")
    if isinstance(modules, Mapping):
        return modules.get("discriminator")
    return content.get("D", content.get("d"))


def larger_than_its_data(tensor: Tensor) -> bool:
    """Whether its numbers stand for one another, so that a file of few bytes makes very many of them."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def check_distinct(state: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` where entries share their numbers: each would become a copy, and a small file gigabytes."""
    stored = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in state.values()}
    if sum(one.numel() * one.element_size() for one in state.values()) > sum(stored.values()):
        raise WeightsError(f"its {len(state)} entries share their numbers with one another, as no network's do")


def tensors(state: object, expected: str) -> Mapping[str, Tensor]:
    """`state`, when it is a dictionary of named tensors of numbers that are all there."""
    if not isinstance(state, Mapping) or not state:
        held = "an empty one" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise WeightsError(f"expected {expected}, a dictionary of tensors, found {held}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"expected {expected}, a dictionary of tensors, found {name!r}: {type(value).__name__}")
        if value.layout != torch.strided or value.is_meta or not value.is_floating_point():
            raise WeightsError(f"{name} is {value.dtype}, {value.layout}, on {value.device}; needs plain float numbers")
        if larger_than_its_data(value):
            raise WeightsError(f"{name} {tuple(value.shape)} is larger than its data: a file of few bytes may say so")
    check_distinct(state)
    return state
