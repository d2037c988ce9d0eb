"""The codec: shapes that fit the generator, an untrained codec that changes nothing, blocks that can be exchanged."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bfr_lite.codec import AsymmetricCodec, CodecOutput
from bfr_lite.images import ImageError
from bfr_lite.layers import Conv2d
from bfr_lite.mmrb import MMRB
from bfr_lite.presets import preset
from bfr_lite.stylegan2 import Generator, resolutions

TINY = preset("tiny").codec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 2, size: int = 32, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=seeded(seed))


@pytest.fixture
def trained() -> AsymmetricCodec:
    """A codec whose last layers are not zero any more."""
    codec = AsymmetricCodec(TINY, generator=seeded())
    for level in codec.decoder.values():
        nn.init.normal_(level.condition.weight, std=0.1, generator=seeded(2))
        nn.init.normal_(level.to_rgb.weight, std=0.1, generator=seeded(3))
    nn.init.normal_(codec.to_ws[-1].weight, generator=seeded(4))
    return codec


@pytest.mark.parametrize("name", ["tiny", "lite"])
@torch.no_grad()
def test_output_fits_the_generator_of_the_preset(name):
    sizes = preset(name)
    output = AsymmetricCodec(sizes.codec)(pictures(size=sizes.size))
    generator = Generator(sizes.gan)
    assert output.ws.shape == (2, generator.num_ws, generator.w_dim)
    above_four = resolutions(sizes.size)[1:]
    assert list(output.conditions) == list(output.pyramid) == above_four
    for r in above_four:
        half = sizes.gan.channels(r) // 2
        assert [tuple(part.shape) for part in output.conditions[r]] == [(2, half, r, r)] * 2
        assert output.pyramid[r].shape == (2, 3, r, r)
    assert generator(output.ws, output.conditions).shape == (2, 3, sizes.size, sizes.size)


@torch.no_grad()
def test_untrained_codec_says_the_average_face_and_changes_nothing_in_it():
    codec, lq = AsymmetricCodec(TINY), pictures()
    codec.mean_ws.copy_(torch.randn(codec.mean_ws.shape, generator=seeded(5)))
    output = codec(lq)
    assert torch.equal(output.ws, codec.mean_ws.expand(2, -1, -1))
    assert not any(part.any() for pair in output.conditions.values() for part in pair)
    for r, picture in output.pyramid.items():
        torch.testing.assert_close(picture, F.adaptive_avg_pool2d(lq, r))


def test_first_step_moves_the_last_layers_and_the_second_everything():
    codec, lq = AsymmetricCodec(TINY), pictures()
    optimizer = torch.optim.SGD(codec.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss(codec(lq)).backward()
        optimizer.step()
    still = [name for name, parameter in codec.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not still


def loss(output: CodecOutput) -> torch.Tensor:
    parts = [output.ws, *(part for pair in output.conditions.values() for part in pair), *output.pyramid.values()]
    return sum((part - torch.randn(part.shape, generator=seeded(i))).square().mean() for i, part in enumerate(parts))


@torch.no_grad()
def test_features_have_a_name_for_every_stage(trained):
    lq = pictures()
    output, features = trained.forward_features(lq)
    assert list(features) == [f"encoder.{r}" for r in (32, 16, 8, 4)] + [f"decoder.{r}" for r in (8, 16, 32)]
    for name, value in features.items():
        stage, r = name.split(".")
        channels = TINY.channels(int(r)) // (2 if stage == "decoder" else 1)
        assert value.shape == (2, channels, int(r), int(r))
    assert torch.equal(output.ws, trained(lq).ws)


@torch.no_grad()
def test_faces_of_a_batch_do_not_mix(trained):
    lq = pictures(3)
    together, alone = trained(lq), trained(lq[1:2])
    torch.testing.assert_close(together.ws[1:2], alone.ws)
    torch.testing.assert_close(together.conditions[32][0][1:2], alone.conditions[32][0])


class PlainBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.2))


def test_block_can_be_exchanged():
    codec = AsymmetricCodec(TINY, block=PlainBlock)
    assert not any(isinstance(module, MMRB) for module in codec.modules())
    assert sum(isinstance(module, PlainBlock) for module in codec.modules()) == TINY.depth * 4
    assert codec(pictures()).ws.shape == (2, 8, 64)


def test_only_the_encoder_holds_blocks_as_deep_as_asked_for():
    codec = AsymmetricCodec(replace(TINY, depth=3))
    assert sum(isinstance(module, MMRB) for module in codec.encoder.modules()) == 3 * 4
    assert not any(isinstance(module, MMRB) for module in codec.decoder.modules())


@pytest.mark.parametrize("name", ["tiny", "lite", "full"])
def test_encoder_is_the_larger_part(name):
    with torch.device("meta"):
        codec = AsymmetricCodec(preset(name).codec)
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (codec.encoder, codec.decoder))
    assert encoder > decoder


def test_same_seed_same_codec_and_another_seed_another():
    first, again, other = (AsymmetricCodec(TINY, generator=seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.stem.weight"], other["encoder.stem.weight"])


def test_blocks_of_one_level_differ():
    level = AsymmetricCodec(replace(TINY, depth=2)).encoder.levels["32"]
    assert not torch.equal(level[0].fuse.weight, level[1].fuse.weight)


def test_construction_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    AsymmetricCodec(TINY)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("lq", "message"),
    [
        (torch.rand(1, 3, 64, 64), "must be 32x32 pixels, got 64x64"),
        (torch.rand(1, 3, 32, 16), "must be 32x32"),
        (torch.rand(3, 32, 32), "must have shape"),
        (torch.rand(1, 1, 32, 32), "must have shape"),
        (torch.full((1, 3, 32, 32), float("nan")), "NaN"),
        (torch.full((1, 3, 32, 32), 1.5), r"\[0, 1\]"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "divide uint8 values by 255"),
    ],
)
def test_refuses_what_is_no_face_of_its_size(lq, message):
    with pytest.raises(ImageError, match=message):
        AsymmetricCodec(TINY)(lq)
