"""Our networks against the two reference implementations, through the loader, from files in their formats."""

import json
import pickle
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bfr_lite.checkpoints import load_discriminator, load_generator, save_weights
from bfr_lite.discriminator import Discriminator
from bfr_lite.export import export_rosinality
from bfr_lite.stylegan2 import Generator

HERE = Path(__file__).parent
BUILT_IN = ("kernel", "resample_filter")
GROUP = 2  # pictures that NVIDIA's discriminator of the references compares


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


def basicsr(entries: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """rosinality's entries under BasicSR's names."""
    renamed = {}
    for name, tensor in entries.items():
        name = re.sub(r"^style\.", "style_mlp.", name).replace("input.input", "constant_input.weight")
        name = re.sub(r"^conv", "style_conv", name).replace("noises.noise_", "noises.noise")
        renamed[name.replace(".conv.", ".modulated_conv.").replace(".noise.weight", ".weight")] = tensor
    return renamed


def official_file(kind: str, folder: Path, nvidia: type) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as that code writes it, with the reference weights, and the reference arrays."""
    layout = "ada" if kind == "ada" else "rosinality"
    entries = json.loads((HERE / f"{layout}_32.json").read_text())
    generator, discriminator = (
        {name: fill(layout, name, shape) for name, shape in entries[part].items() if not name.endswith(BUILT_IN)}
        for part in ("generator", "discriminator")
    )
    path = folder / {"ada": "ada.pkl", "rosinality": "rosinality.pt"}.get(kind, "basicsr.pth")
    if kind == "ada":
        judge, comparing = nvidia(discriminator), nvidia({})
        comparing.group_size = GROUP
        judge.b4.add_module("mbstd", comparing)
        path.write_bytes(pickle.dumps({"G_ema": nvidia(generator), "D": judge}))
    elif kind == "rosinality":
        torch.save({"g_ema": generator, "d": discriminator}, path)
    else:
        prefix = "stylegan_decoder." if kind == "gfpgan" else ""
        content = {prefix + name: tensor for name, tensor in basicsr(generator).items()}
        torch.save({"params_ema": content}, path)
    return path, {name: torch.from_numpy(array) for name, array in np.load(HERE / f"{layout}_32.npz").items()}


@pytest.fixture
def build(nvidia, tmp_path):
    """kind of file -> generator, discriminator (None where that kind has none) and reference arrays."""

    def write_and_load(kind: str) -> tuple[Generator, Discriminator | None, dict[str, torch.Tensor]]:
        path, reference = official_file(kind, tmp_path, nvidia)
        return load_generator(path), load_discriminator(path), reference

    return write_and_load


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


@torch.no_grad()
def check(generator: Generator, discriminator: Discriminator | None, reference: dict, tolerance: float = 1e-4) -> None:
    ws = generator.map(reference["z"])
    w = ws if reference["w"].ndim == 3 else ws[:, 0]
    image = generator(ws) * 2 - 1
    assert relative_error(w, reference["w"]) < tolerance
    assert relative_error(image, reference["image"]) < tolerance
    if discriminator is not None:
        assert relative_error(discriminator(reference["image"] / 2 + 0.5), reference["score"]) < tolerance


@pytest.mark.parametrize("kind", ["rosinality", "ada", "basicsr", "gfpgan"])
def test_network_equals_reference(build, kind):
    generator, discriminator, reference = build(kind)
    assert (discriminator is None) == (kind in ("basicsr", "gfpgan"))
    check(generator, discriminator, reference)
    if kind == "ada":
        assert discriminator.config.mbstd_group == GROUP


@pytest.mark.parametrize("kind", ["rosinality", "ada"])
def test_exported_network_equals_reference(build, tmp_path, kind):
    """From their file to ours to rosinality's: what was opened draws the same after it was written again."""
    generator, discriminator, reference = build(kind)
    export_rosinality(tmp_path / "again.pt", generator, discriminator)
    check(load_generator(tmp_path / "again.pt"), load_discriminator(tmp_path / "again.pt"), reference)


@pytest.mark.parametrize("kind", ["rosinality", "ada"])
def test_our_safetensors_equal_reference(build, tmp_path, kind):
    """Half precision is all that our own format changes: each weight by up to 2^-11 of itself."""
    generator, discriminator, reference = build(kind)
    save_weights(tmp_path / "prior-x.safetensors", generator, {})
    save_weights(tmp_path / "discriminator-x.safetensors", discriminator, {})
    path = tmp_path / "prior-x.safetensors"
    check(load_generator(path), load_discriminator(path), reference, tolerance=5e-3)
    exact = tmp_path / "exact.safetensors"
    save_file(generator.state_dict(), exact)
    check(load_generator(exact), None, reference)


@torch.no_grad()
def test_truncation_equals_reference(build):
    generator, _, reference = build("ada")
    ws = generator.map(reference["z"], truncation=0.7)
    assert relative_error(ws, reference["w_psi07"]) < 1e-4
    assert relative_error(generator(ws) * 2 - 1, reference["image_psi07"]) < 1e-4
