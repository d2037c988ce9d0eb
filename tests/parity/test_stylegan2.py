"""Our networks against the two reference implementations, through the loader, from files in their formats."""

import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bfr_lite.checkpoints import load_discriminator, load_generator
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


@pytest.fixture
def build(nvidia, tmp_path):
    """layout -> generator, discriminator and reference arrays; the networks come from a file as that code writes it."""

    def write_and_load(layout: str) -> tuple[Generator, Discriminator, dict[str, torch.Tensor]]:
        entries = json.loads((HERE / f"{layout}_32.json").read_text())
        generator, discriminator = (
            {name: fill(layout, name, shape) for name, shape in entries[part].items() if not name.endswith(BUILT_IN)}
            for part in ("generator", "discriminator")
        )
        if layout == "ada":
            path = tmp_path / "ada.pkl"
            path.write_bytes(pickle.dumps({"G_ema": nvidia(generator), "D": nvidia(discriminator)}))
        else:
            path = tmp_path / "rosinality.pt"
            torch.save({"g_ema": generator, "d": discriminator}, path)
        reference = {name: torch.from_numpy(array) for name, array in np.load(HERE / f"{layout}_32.npz").items()}
        return load_generator(path), load_discriminator(path), reference

    return write_and_load


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


@pytest.mark.parametrize("layout", ["rosinality", "ada"])
@torch.no_grad()
def test_network_equals_reference(build, layout):
    generator, discriminator, reference = build(layout)
    ws = generator.map(reference["z"])
    w = ws if reference["w"].ndim == 3 else ws[:, 0]
    image = generator(ws) * 2 - 1
    assert relative_error(w, reference["w"]) < 1e-4
    assert relative_error(image, reference["image"]) < 1e-4
    assert relative_error(discriminator(reference["image"] / 2 + 0.5), reference["score"]) < 1e-4


@torch.no_grad()
def test_truncation_equals_reference(build):
    generator, _, reference = build("ada")
    ws = generator.map(reference["z"], truncation=0.7)
    assert relative_error(ws, reference["w_psi07"]) < 1e-4
    assert relative_error(generator(ws) * 2 - 1, reference["image_psi07"]) < 1e-4
