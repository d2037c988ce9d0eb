"""Our networks in rosinality's format."""

import json
import re
from pathlib import Path

import pytest
import torch

from bfr_lite.checkpoints import load_discriminator, load_generator
from bfr_lite.discriminator import Discriminator
from bfr_lite.export import export_rosinality
from bfr_lite.official import WeightsError
from bfr_lite.stylegan2 import GANConfig, Generator

ENTRIES = json.loads((Path(__file__).parents[1] / "parity" / "rosinality_32.json").read_text())


def networks(config: GANConfig) -> tuple[Generator, Discriminator]:
    rng = torch.Generator().manual_seed(0)
    generator, discriminator = Generator(config, rng), Discriminator(config, rng)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.normal_(generator=rng)
        generator.w_avg.normal_(generator=rng)
    return generator, discriminator


def test_names_and_shapes_are_theirs(tmp_path):
    config = GANConfig(32, z_dim=512, w_dim=512, mapping_layers=8, channel_base=16384, channel_max=512)
    export_rosinality(tmp_path / "out.pt", *networks(config))
    content = torch.load(tmp_path / "out.pt", weights_only=True)
    for part, key in (("generator", "g_ema"), ("discriminator", "d")):
        assert {name: list(tensor.shape) for name, tensor in content[key].items()} == ENTRIES[part]
    assert content["g_ema"]["convs.0.conv.blur.kernel"].sum() == pytest.approx(4)
    assert content["d"]["convs.1.skip.0.kernel"].sum() == pytest.approx(1)


@pytest.mark.parametrize("size", [16, 64])
def test_what_is_written_is_read_back(tmp_path, size):
    config = GANConfig(size, z_dim=16, w_dim=24, mapping_layers=3, channel_base=256, channel_max=16)
    generator, discriminator = networks(config)
    export_rosinality(tmp_path / "out.pt", generator, discriminator)
    loaded, judge = load_generator(tmp_path / "out.pt"), load_discriminator(tmp_path / "out.pt")
    assert loaded.config.channels(size) == config.channels(size)
    for ours, theirs in ((generator, loaded), (discriminator, judge)):
        wanted = ours.state_dict()
        assert set(wanted) == set(theirs.state_dict())
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in theirs.state_dict().items())


def basicsr(entries: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """rosinality's entries under BasicSR's names."""
    renamed = {}
    for name, tensor in entries.items():
        name = re.sub(r"^style\.", "style_mlp.", name).replace("input.input", "constant_input.weight")
        name = re.sub(r"^conv", "style_conv", name).replace("noises.noise_", "noises.noise")
        name = name.replace(".conv.blur.", ".conv.smooth.").replace(".conv.", ".modulated_conv.")
        renamed[name.replace(".noise.weight", ".weight")] = tensor
    return renamed


@pytest.mark.parametrize("prefix", ["", "stylegan_decoder."])
def test_basicsr_and_gfpgan_files_open(tmp_path, prefix):
    generator, _ = networks(GANConfig(32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16))
    export_rosinality(tmp_path / "theirs.pt", generator)
    entries = basicsr(torch.load(tmp_path / "theirs.pt", weights_only=True)["g_ema"])
    assert "style_convs.0.modulated_conv.modulation.weight" in entries and "style_conv1.activate.bias" in entries
    content = {prefix + name: tensor for name, tensor in entries.items()}
    if prefix:
        content["final_linear.weight"] = torch.zeros(2)  # of the half of GFPGAN that reads the damaged face
    torch.save({"params_ema": content}, tmp_path / "gfpgan.pth")
    loaded = load_generator(tmp_path / "gfpgan.pth")
    ws = generator.sample(2, torch.Generator().manual_seed(1))
    assert torch.equal(loaded(ws), generator(ws))
    with torch.no_grad():
        mean = generator.mapping(torch.randn(20_000, 16, generator=torch.Generator().manual_seed(9))).mean(dim=0)
    torch.testing.assert_close(loaded.w_avg, mean, atol=0.05, rtol=0.05)


def test_a_bilinear_generator_is_not_written_as_one_with_the_filter(tmp_path):
    generator = Generator(GANConfig(16, 8, 8, 2, 64, 8, bilinear=True))
    with pytest.raises(WeightsError, match=r"enlarges bilinearly.*save_weights"):
        export_rosinality(tmp_path / "out.pt", generator)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.pt"
    path.write_text("old")

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        export_rosinality(path, *networks(GANConfig(16, 8, 8, 2, 64, 8)))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
