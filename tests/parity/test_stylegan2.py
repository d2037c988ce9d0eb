"""Our networks against the two reference implementations, through the loader that opens their files."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bfr_lite.official import discriminator_from_official, generator_from_official, infer_config
from bfr_lite.stylegan2 import Discriminator, Generator

HERE = Path(__file__).parent
BUILT_IN = ("kernel", "resample_filter")


def fill(layout: str, name: str, shape: list[int]) -> torch.Tensor:
    """The reference weights, rebuilt from an entry's name (README.md beside this file)."""
    state = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    values = state.standard_normal(shape).astype(np.float32)
    mapping = "style." if layout == "rosinality" else "mapping."
    if name == "mapping.w_avg":
        values *= 0.1
    elif name.startswith(mapping):
        values *= 100 if name.endswith("weight") else 10
    elif name.endswith(("modulation.bias", "affine.bias")):
        values = 1 + 0.1 * values
    elif name.endswith(("bias", "noise.weight", "noise_strength")):
        values = 0.1 * values
    return torch.from_numpy(np.asarray(values))


def build(layout: str) -> tuple[Generator, Discriminator, dict[str, torch.Tensor]]:
    entries = json.loads((HERE / f"{layout}_32.json").read_text())
    states = {
        part: {name: fill(layout, name, shape) for name, shape in entries[part].items() if not name.endswith(BUILT_IN)}
        for part in ("generator", "discriminator")
    }
    ours = generator_from_official(states["generator"])
    config = infer_config(ours)
    generator, discriminator = Generator(config), Discriminator(config)
    generator.load_state_dict(ours)
    discriminator.load_state_dict(discriminator_from_official(states["discriminator"]))
    reference = {name: torch.from_numpy(array) for name, array in np.load(HERE / f"{layout}_32.npz").items()}
    return generator, discriminator, reference


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


@pytest.mark.parametrize("layout", ["rosinality", "ada"])
@torch.no_grad()
def test_network_equals_reference(layout):
    generator, discriminator, reference = build(layout)
    ws = generator.map(reference["z"])
    w = ws if reference["w"].ndim == 3 else ws[:, 0]
    image = generator(ws) * 2 - 1
    assert relative_error(w, reference["w"]) < 1e-4
    assert relative_error(image, reference["image"]) < 1e-4
    assert relative_error(discriminator(reference["image"] / 2 + 0.5), reference["score"]) < 1e-4


@torch.no_grad()
def test_truncation_equals_reference():
    generator, _, reference = build("ada")
    ws = generator.map(reference["z"], truncation=0.7)
    assert relative_error(ws, reference["w_psi07"]) < 1e-4
    assert relative_error(generator(ws) * 2 - 1, reference["image_psi07"]) < 1e-4
