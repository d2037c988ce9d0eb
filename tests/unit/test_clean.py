"""GFPGAN's `clean` generator: opened from its files, and drawn as it draws."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bfr_lite import Restorer, preset
from bfr_lite.checkpoints import load_discriminator, load_generator, save_weights
from bfr_lite.official import WeightsError
from bfr_lite.stylegan2 import GANConfig, Generator

SIZE, W_DIM, LAYERS, WIDTHS = 32, 64, 2, {4: 32, 8: 32, 16: 32, 32: 16}  # preset tiny's


@pytest.fixture(scope="module")
def entries() -> dict[str, torch.Tensor]:
    """A clean generator's state at the names, shapes and magnitudes that GFPGANv1.3.pth has."""
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(shape, generator=rng)

    state = {"constant_input.weight": draw(1, WIDTHS[4], 4, 4)}
    for layer in range(LAYERS):  # entry 0 normalises, every second one is an activation
        state[f"style_mlp.{2 * layer + 1}.weight"] = draw(W_DIM, W_DIM, scale=(2 / W_DIM) ** 0.5)
        state[f"style_mlp.{2 * layer + 1}.bias"] = draw(W_DIM, scale=0.2)

    def modulated(place: str, fan_in: int, fan_out: int, kernel: int) -> None:
        scale = (fan_in * kernel**2) ** -0.5
        state[f"{place}.modulated_conv.weight"] = draw(1, fan_out, fan_in, kernel, kernel, scale=scale)
        state[f"{place}.modulated_conv.modulation.weight"] = draw(fan_in, W_DIM, scale=W_DIM**-0.5)
        state[f"{place}.modulated_conv.modulation.bias"] = 1 + draw(fan_in, scale=0.1)
        state[f"{place}.bias"] = draw(1, fan_out, 1, 1, scale=0.2)

    modulated("style_conv1", WIDTHS[4], WIDTHS[4], 3)
    modulated("to_rgb1", WIDTHS[4], 3, 1)
    for level, size in enumerate((8, 16, 32)):
        modulated(f"style_convs.{2 * level}", WIDTHS[size // 2], WIDTHS[size], 3)
        modulated(f"style_convs.{2 * level + 1}", WIDTHS[size], WIDTHS[size], 3)
        modulated(f"to_rgbs.{level}", WIDTHS[size], 3, 1)
    for index, place in enumerate(("style_conv1", *(f"style_convs.{k}" for k in range(6)))):
        state[f"{place}.weight"] = draw(1, scale=0.3)
        side = 4 * 2 ** ((index + 1) // 2)
        state[f"noises.noise{index}"] = draw(1, 1, side, side)
    return state


class Clean:
    """The clean generator written plainly: weights modulated picture by picture, no gains, `nn.LeakyReLU(0.2)`."""

    def __init__(self, state: dict[str, torch.Tensor]):
        self.state = {name: tensor.double() for name, tensor in state.items()}

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        w = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        for layer in range(LAYERS):
            name = f"style_mlp.{2 * layer + 1}"
            w = F.leaky_relu(F.linear(w, self.state[f"{name}.weight"], self.state[f"{name}.bias"]), 0.2)
        return w

    def modulated(self, place: str, x: torch.Tensor, w: torch.Tensor, demodulate: bool) -> torch.Tensor:
        name = f"{place}.modulated_conv"
        style = F.linear(w, self.state[f"{name}.modulation.weight"], self.state[f"{name}.modulation.bias"])
        drawn = []
        for picture, scales in zip(x, style, strict=True):
            kernel = self.state[f"{name}.weight"][0] * scales[None, :, None, None]
            if demodulate:
                kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            drawn.append(F.conv2d(picture[None], kernel, padding=kernel.shape[-1] // 2))
        return torch.cat(drawn)

    def conv(self, place: str, index: int, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x = self.modulated(place, x, w, demodulate=True) * 2**0.5
        x = x + self.state[f"{place}.weight"] * self.state[f"noises.noise{index}"] + self.state[f"{place}.bias"]
        return F.leaky_relu(x, 0.2)

    def rgb(self, place: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.modulated(place, x, w, demodulate=False) + self.state[f"{place}.bias"]

    def draw(self, ws: torch.Tensor) -> torch.Tensor:
        """Codes (B, num_ws, w_dim) to pictures in about [-1, 1]."""
        w = ws.unbind(dim=1)
        x = self.conv("style_conv1", 0, self.state["constant_input.weight"].repeat(len(ws), 1, 1, 1), w[0])
        picture = self.rgb("to_rgb1", x, w[1])
        for level in range(3):
            x = self.conv(f"style_convs.{2 * level}", 2 * level + 1, twice(x), w[2 * level + 1])
            x = self.conv(f"style_convs.{2 * level + 1}", 2 * level + 2, x, w[2 * level + 2])
            picture = twice(picture) + self.rgb(f"to_rgbs.{level}", x, w[2 * level + 3])
        return picture


def twice(x: torch.Tensor) -> torch.Tensor:
    """Bilinear: along each axis a new pixel is 3/4 of the nearest old one and 1/4 of the next."""
    for axis in (2, 3):
        size = x.shape[axis]
        before = x.index_select(axis, (torch.arange(size) - 1).clamp(min=0))
        after = x.index_select(axis, (torch.arange(size) + 1).clamp(max=size - 1))
        x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim=axis + 1).flatten(axis, axis + 1)
    return x


def gfpgan(entries: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The generator among entries of the network that GFPGAN reads a damaged face with."""
    rest = {"conv_body_first.weight": torch.zeros(4, 3, 1, 1), "final_linear.weight": torch.zeros(2, 2)}
    return {f"stylegan_decoder.{name}": tensor for name, tensor in entries.items()} | rest


@pytest.fixture(params=["bare", "params", "gfpgan"])
def path(request, tmp_path, entries):
    content = {"bare": entries, "params": {"params": entries}, "gfpgan": {"params_ema": gfpgan(entries)}}
    torch.save(content[request.param], tmp_path / "clean.pth", _use_new_zipfile_serialization=request.param != "gfpgan")
    return tmp_path / "clean.pth"


@torch.no_grad()
def test_it_draws_what_the_clean_network_draws(path, entries):
    generator, reference = load_generator(path), Clean(entries)
    z = torch.randn(3, W_DIM, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(generator.mapping(z).double(), reference.mapping(z.double()), atol=1e-5, rtol=1e-4)
    ws = torch.randn(3, generator.num_ws, W_DIM, generator=torch.Generator().manual_seed(2))  # a code for each layer
    wanted = reference.draw(ws.double())
    error = (generator(ws).double() * 2 - 1 - wanted).norm() / wanted.norm()
    assert error < 1e-5
    assert load_discriminator(path) is None


@torch.no_grad()
def test_the_filter_would_draw_another_picture(path, entries):
    generator = load_generator(path)
    filtered = Generator(replace(generator.config, bilinear=False))
    filtered.load_state_dict({n: t for n, t in generator.state_dict().items() if n != "enlarges_bilinearly"})
    ws = generator.sample(2, torch.Generator().manual_seed(3))
    assert (filtered(ws) - generator(ws)).norm() / generator(ws).norm() > 0.02


def test_sizes_and_kind_are_read_off_the_file(path):
    assert load_generator(path).config == GANConfig(SIZE, W_DIM, W_DIM, LAYERS, 512, 32, bilinear=True)


def test_our_files_and_checkpoints_keep_its_kind(tmp_path, path):
    generator = load_generator(path)
    save_weights(tmp_path / "prior-mine.safetensors", generator, {})
    torch.save({"modules": {"generator_ema": generator.state_dict()}}, tmp_path / "checkpoint.pt")
    for name in ("prior-mine.safetensors", "checkpoint.pt"):
        assert load_generator(tmp_path / name).config == generator.config


@torch.no_grad()
def test_a_restorer_draws_with_it(tmp_path, path, restorer):
    prior = load_generator(path)
    with pytest.raises(WeightsError, match=r"the prior does not fit.*unknown enlarges_bilinearly"):
        Restorer(preset("tiny")).adopt_prior(prior)
    ours = Restorer(preset("tiny").enlarging(bilinear=True)).eval()
    ours.adopt_prior(prior)
    ws = prior.sample(2, torch.Generator().manual_seed(3))
    assert torch.equal(ours.generator(ws), prior(ws))
    save_weights(tmp_path / "mine.safetensors", ours, {"preset": "tiny"})
    opened = Restorer.from_pretrained(tmp_path / "mine.safetensors")
    assert opened.preset == ours.preset and opened.generator.config.bilinear
    assert Restorer.from_pretrained("lite").preset == preset("lite")
    face = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    assert opened.restore(face).shape == face.shape
    torch.testing.assert_close(opened.restore(face), ours.restore(face), atol=0.02, rtol=0)  # half-precision weights


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("style_conv1.bias", r"missing blocks\.4\.conv\.bias"),
        ("style_mlp.1.weight", r"missing mapping\.layers\.0\.weight"),
        ("style_convs.3.modulated_conv.weight", r"missing blocks\.16\.conv\.conv\.weight"),
        ("to_rgbs.1.modulated_conv.modulation.bias", r"missing blocks\.16\.to_rgb\.conv\.affine\.bias"),
    ],
)
def test_a_lost_entry_is_named(tmp_path, entries, name, message):
    torch.save({"params_ema": {n: t for n, t in entries.items() if n != name}}, tmp_path / "clean.pth")
    with pytest.raises(WeightsError, match=message):
        load_generator(tmp_path / "clean.pth")
