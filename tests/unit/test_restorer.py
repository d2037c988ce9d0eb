"""The restorer: every kind of picture in and out, one clear error each, and a fidelity knob that works."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite import Restorer, degrade, load_faces, preset
from bfr_lite.astronaut import astronaut
from bfr_lite.checkpoints import save_weights
from bfr_lite.images import ImageError, save_image, tensor_to_pil, tensor_to_uint8
from bfr_lite.official import WeightsError
from bfr_lite.stylegan2 import Generator

RESOLUTIONS = (8, 16, 32)


@pytest.fixture(scope="module")
def restorer():
    """A restorer of preset tiny whose parts are all at work, as after training."""
    built = Restorer(preset("tiny"), generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    for block in built.generator.blocks.values():
        block.to_rgb.conv.weight.data *= 0.1  # values of a picture, not far outside [0, 1]
    layers = [built.codec.to_ws[-1], *built.trust.levels.values()]
    layers += [layer for level in built.codec.decoder.values() for layer in (level.condition, level.to_rgb)]
    for layer in layers:
        layer.weight.data = 0.3 * torch.randn(layer.weight.shape, generator=draw)
    built.trust.levels["32"].bias.data.zero_()
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def faces():
    """Three different faces (3, 3, 32, 32)."""
    face = astronaut(32)
    return torch.stack([face, face.flip(2), 1 - face])


@pytest.fixture(scope="module")
def shipped():
    """The shipped restorer of preset lite."""
    return Restorer.from_pretrained("lite")


@pytest.fixture(scope="module")
def damaged():
    """Seven faces of the shipped prior and one real one, damaged."""
    clean = torch.cat([load_faces("synthetic", split="test", count=7).batch(range(7)), astronaut(128)[None]])
    return degrade(clean, 0.5, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["test split", "train split", "mild", "severe"])
def batch_for_the_knob(request, damaged):
    """Batches (8, 3, 128, 128) that a knob has to be monotonic on; earlier weights failed on the second alone."""
    if request.param == "test split":
        return damaged
    severity = {"train split": 0.5, "mild": 0.3, "severe": 0.8}[request.param]
    return degrade(load_faces("synthetic", count=8).batch(range(8)), severity, torch.Generator().manual_seed(0))


def expected(restorer, images):
    return restorer(images, 0.5).image.clamp(0, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_tensors(restorer, faces, count):
    restored = restorer.restore(faces[:count])
    assert restored.shape == (count, 3, 32, 32) and restored.dtype == torch.float32
    assert restored.min() >= 0 and restored.max() <= 1
    assert torch.equal(restored, expected(restorer, faces[:count]))


def test_one_tensor(restorer, faces):
    restored = restorer.restore(faces[0])
    assert restored.shape == (3, 32, 32)
    assert torch.equal(restored, expected(restorer, faces[:1])[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions_come_back(restorer, faces, dtype):
    given = faces.to(dtype)
    restored = restorer.restore(given)
    assert restored.dtype == dtype
    assert torch.equal(restored, expected(restorer, given.float()).to(dtype))


def test_arrays(restorer, faces):
    arrays = np.stack([tensor_to_uint8(face) for face in faces])
    restored = restorer.restore(arrays)
    assert restored.dtype == np.uint8 and restored.shape == (3, 32, 32, 3)
    one = restorer.restore(arrays[0])
    assert one.dtype == np.uint8 and one.shape == (32, 32, 3)
    wanted = tensor_to_uint8(restorer.restore(torch.from_numpy(arrays[0]).permute(2, 0, 1) / 255))
    np.testing.assert_array_equal(one, wanted)
    assert np.abs(one.astype(int) - restored[0]).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_pil_pictures(restorer, faces, mode):
    restored = restorer.restore(tensor_to_pil(faces[0]).convert(mode))
    assert isinstance(restored, Image.Image)
    assert restored.size == (32, 32) and restored.mode == "RGB"


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
def test_paths(restorer, faces, tmp_path, kind):
    save_image(faces[0], tmp_path / "face.png")
    restored = restorer.restore(kind(tmp_path / "face.png"))
    assert isinstance(restored, Image.Image)
    np.testing.assert_array_equal(np.asarray(restored), restorer.restore(tensor_to_uint8(faces[0])))


@pytest.mark.parametrize("size", [8, 31, 32, 100])
def test_faces_of_any_size(restorer, size):
    assert restorer.restore(astronaut(size)).shape == (3, 32, 32)
    assert restorer.restore(tensor_to_uint8(astronaut(size))).shape == (32, 32, 3)


def test_the_input_is_left_alone(restorer, faces):
    given = faces.clone()
    restorer.restore(given)
    assert torch.equal(given, faces)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_batches_equal_singles(restorer, faces, batch_size):
    many = degrade(faces.repeat(7, 1, 1, 1)[:20], 0.5, torch.Generator().manual_seed(0))
    singles = torch.cat([restorer.restore(one[None]) for one in many])
    torch.testing.assert_close(restorer.restore(many, batch_size=batch_size), singles, atol=1e-5, rtol=0)


def test_batches_equal_singles_with_the_shipped_weights(shipped, damaged):
    many = torch.cat([damaged, damaged.flip(3), damaged[:4].flip(1)])
    assert len(many) == 20
    singles = torch.cat([shipped.restore(one[None]) for one in many])
    torch.testing.assert_close(shipped.restore(many, batch_size=8), singles, atol=1e-5, rtol=0)


def test_the_same_twice_to_the_bit(restorer, faces):
    assert torch.equal(restorer.restore(faces), restorer.restore(faces))


def test_fresh_noise_comes_from_a_generator(restorer, faces):
    restorer.generator.blocks["32"].conv.noise_strength.fill_(1.0)
    try:
        one, same, other = (restorer(faces, 0.5, torch.Generator().manual_seed(s)).image for s in (0, 0, 1))
    finally:
        restorer.generator.blocks["32"].conv.noise_strength.zero_()
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_global_random_numbers_are_untouched(faces):
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (only read)
    built = Restorer(preset("tiny"))
    built.restore(faces)
    built.features(faces)
    built(faces, noise=torch.Generator().manual_seed(0))
    Restorer.from_pretrained("lite")
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(32, 32), r"shape \(B, 3, H, W\), got \(32, 32\)"),
        (torch.zeros(1, 32, 32), r"got \(1, 1, 32, 32\)"),
        (torch.zeros(2, 4, 32, 32), r"got \(2, 4, 32, 32\)"),
        (torch.zeros(0, 3, 32, 32), "holds no pixels"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "divide uint8 values by 255"),
        (torch.full((3, 32, 32), 200.0), r"must lie in \[0, 1\], got \[200, 200\]"),
        (torch.full((3, 32, 32), -1.0), r"must lie in \[0, 1\], got \[-1, -1\]"),
        (torch.full((3, 32, 32), float("nan")), "NaN or infinite"),
        (np.zeros((32, 32, 3)), "must be uint8"),
        (np.zeros((32, 32), np.uint8), r"shape \(H, W, 3\)"),
        ([0.0], "cannot use a list as a picture"),
    ],
)
def test_bad_pictures(restorer, given, message):
    with pytest.raises(ImageError, match=message):
        restorer.restore(given)


def test_bad_files(restorer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such picture: .*none\.png"):
        restorer.restore(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ImageError, match="cannot read"):
        restorer.restore(tmp_path / "text.png")


def test_the_network_itself_takes_its_own_size_only(restorer):
    with pytest.raises(ImageError, match="must be 32x32 pixels, got 48x48"):
        restorer(torch.zeros(1, 3, 48, 48))


@pytest.mark.parametrize("fidelity", [-0.1, 1.1, float("nan"), torch.tensor([0.5, 2.0, 0.5])])
def test_fidelity_out_of_range(restorer, faces, fidelity):
    for use in (restorer, restorer.restore, restorer.features):
        with pytest.raises(ValueError, match=r"fidelity must lie in \[0, 1\]"):
            use(faces, fidelity)


@pytest.mark.parametrize("shape", [(2,), (3, 1)])
def test_fidelities_that_do_not_fit_the_batch(restorer, faces, shape):
    with pytest.raises(ValueError, match=r"one number or one for each of the 3 pictures"):
        restorer(faces, torch.full(shape, 0.5))


def test_one_fidelity_for_each_picture(restorer, faces):
    fidelity = torch.tensor([0.0, 0.3, 1.0])
    together = restorer(faces, fidelity).image
    alone = torch.cat([restorer(face[None], value.item()).image for face, value in zip(faces, fidelity, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_at_fidelity_zero_only_the_codes_count(restorer, faces):
    output = restorer(faces, 0.0)
    torch.testing.assert_close(output.image, restorer.generator(output.ws))
    assert all(scale.eq(0).all() and shift.eq(0).all() for scale, shift in output.conditions.values())


def test_fidelity_scales_the_conditions_and_nothing_else(restorer, faces):
    whole, quarter = restorer(faces, 1.0), restorer(faces, 0.25)
    assert torch.equal(whole.ws, quarter.ws)
    for resolution in RESOLUTIONS:
        assert torch.equal(whole.pyramid[resolution], quarter.pyramid[resolution])
        for full, scaled in zip(whole.conditions[resolution], quarter.conditions[resolution], strict=True):
            torch.testing.assert_close(scaled, full * 0.15625)
    torch.testing.assert_close(quarter.trust, whole.trust * 0.15625)


def test_the_image_is_the_generators_picture_where_trust_is_low_and_the_codecs_where_it_is_high(restorer, faces):
    output, stages = restorer.forward_features(faces, 0.7)
    drawn = restorer.generator(output.ws, output.conditions)
    assert torch.equal(stages["drawn"], drawn)
    assert output.trust.max() - output.trust.min() > 0.1
    torch.testing.assert_close(output.image, (1 - output.trust) * drawn + output.trust * output.pyramid[32])


def test_what_was_read_once_is_drawn_at_any_fidelity(restorer, faces):
    read, stages = restorer.read(faces)
    for fidelity in (0.0, 0.4, 1.0):
        drawn, _ = restorer.draw(read[1:], stages["trust"][1:], fidelity)
        torch.testing.assert_close(drawn.image, restorer(faces[1:], fidelity).image)


def test_features_of_every_stage(restorer, faces):
    features = restorer.features(faces)
    config = preset("tiny").codec
    wanted = {"ws": (3, restorer.generator.num_ws, config.gan.w_dim), "image": (3, 3, 32, 32)}
    wanted |= {"drawn": (3, 3, 32, 32), "trust": (3, 1, 32, 32)}
    for r in (4, *RESOLUTIONS):
        wanted[f"encoder.{r}"] = (3, config.channels(r), r, r)
        wanted[f"generator.{r}"] = (3, config.gan.channels(r), r, r)
    for r in RESOLUTIONS:
        wanted[f"decoder.{r}"] = (3, config.channels(r) // 2, r, r)
        wanted[f"condition.{r}.scale"] = wanted[f"condition.{r}.shift"] = (3, config.gan.channels(r) // 2, r, r)
        wanted[f"pyramid.{r}"] = (3, 3, r, r)
    assert {name: tuple(value.shape) for name, value in features.items()} == wanted
    assert torch.equal(features["image"], restorer(faces).image)


def test_gradients_reach_the_input(restorer, faces):
    image = faces.clone().requires_grad_(True)
    restorer(image).image.mean().backward()
    assert image.grad.abs().sum() > 0
    assert not restorer.restore(image).requires_grad


def test_an_untrained_restorer_draws_the_average_face(faces):
    prior = Generator(preset("tiny").gan, torch.Generator().manual_seed(3))
    prior.w_avg.fill_(0.5)
    built = Restorer(preset("tiny"))
    built.adopt_prior(prior)
    average = prior(prior.w_avg.expand(3, prior.num_ws, -1))
    output, stages = built.forward_features(faces)
    torch.testing.assert_close(stages["drawn"], average)
    assert output.trust.max() < 0.05, "hardly a trace of the input"
    torch.testing.assert_close(output.image, average, atol=0.05 * (faces - average).abs().max().item(), rtol=0)


def test_a_prior_of_another_size_is_refused():
    with pytest.raises(WeightsError, match="the prior does not fit this network"):
        Restorer(preset("tiny")).adopt_prior(Generator(preset("lite").gan))


def test_saved_weights_come_back(restorer, faces, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_weights(path, restorer, {"preset": "tiny"})
    again = Restorer.from_pretrained(path)
    assert again.preset.name == "tiny" and not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    torch.testing.assert_close(again.restore(faces), restorer.restore(faces), atol=4e-3, rtol=0)  # half precision


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("huge", FileNotFoundError, r"no restorer weights for preset 'huge' are shipped; there are: .*restorer-lite"),
        ("tiny", FileNotFoundError, r"no restorer weights for preset 'tiny' are shipped; there are: .*restorer-lite"),
        ("none.safetensors", FileNotFoundError, r"no weights at none\.safetensors"),
    ],
)
def test_weights_that_are_not_there(source, error, message):
    with pytest.raises(error, match=message):
        Restorer.from_pretrained(source)


def test_a_folder_is_told_from_a_presets_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lite", "mine"):
        (tmp_path / name).mkdir()
    assert Restorer.from_pretrained("lite").preset.name == "lite"
    with pytest.raises(WeightsError, match="mine is a folder; give a weight file in it"):
        Restorer.from_pretrained("mine")


def truncated(data):
    return data[: len(data) // 2]


def altered(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("damage", [truncated, altered])
@pytest.mark.parametrize("kept", ["card", "no card"])
def test_damaged_weights(restorer, tmp_path, damage, kept):
    path = tmp_path / "tiny.safetensors"
    save_weights(path, restorer, {"preset": "tiny"})
    path.write_bytes(damage(path.read_bytes()))
    if kept == "card":
        with pytest.raises(WeightsError, match=r"damaged or altered; fetch it again"):
            Restorer.from_pretrained(path)
        return
    path.with_suffix(".json").unlink()
    # Without its card a file can only be seen to be cut short, or to be of another preset than the default.
    with pytest.raises(WeightsError, match=r"no whole safetensors file|does not fit this network"):
        Restorer.from_pretrained(path)


def test_a_checkpoint_given_as_weights_is_told_from_a_damaged_file(restorer, tmp_path):
    torch.save({"modules": {"restorer_ema": restorer.state_dict()}}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is a file of PyTorch.* needed: the \.safetensors"):
        Restorer.from_pretrained(tmp_path / "checkpoint.pt")


def test_weights_of_another_preset(restorer, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_weights(path, restorer, {"preset": "lite"})
    with pytest.raises(WeightsError, match=r"does not fit this network: missing .* more\. Is it of another preset\?"):
        Restorer.from_pretrained(path)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "holds a list and no card"),
        ('{"preset": []}', "names no preset"),
        ('{"preset": "huge"}', "names no preset: unknown preset 'huge'"),
    ],
)
def test_a_card_that_is_none(restorer, tmp_path, card, message):
    path = tmp_path / "tiny.safetensors"
    save_weights(path, restorer, {"preset": "tiny"})
    path.with_suffix(".json").write_text(card)
    with pytest.raises(WeightsError, match=message):
        Restorer.from_pretrained(path)


def test_the_shipped_card_tells_the_preset(shipped):
    assert shipped.preset == preset("lite")
    from bfr_lite.checkpoints import shipped_path

    card = json.loads(shipped_path("restorer", "lite").with_suffix(".json").read_text())
    assert card["preset"] == "lite"


@pytest.fixture(scope="module")
def turned(shipped, batch_for_the_knob):
    """The batch, restored at fidelity 0, 0.1, ... 1."""
    return torch.stack([shipped.restore(batch_for_the_knob, fidelity=step / 10) for step in range(11)])


def test_shipped_fidelity_is_monotonic(turned, batch_for_the_knob):
    """The nearer to 1, the closer to what was given."""
    distance = (turned - batch_for_the_knob).abs().mean(dim=(1, 2, 3, 4))
    assert (distance.diff() < 0).all(), f"distance to the input must fall at every step: {distance.tolist()}"
    assert distance[0] - distance[-1] > 0.003, "a knob that hardly moves the picture is none"


def test_shipped_fidelity_is_smooth(turned):
    """No small turn of the knob changes much."""
    steps = turned.diff(dim=0).abs().mean(dim=(1, 2, 3, 4))
    assert steps.max() < 3 * steps.mean(), f"one step must not do the work of three: {steps.tolist()}"


def test_restore_refuses_a_picture_that_is_not_square(restorer):
    with pytest.raises(ImageError, match="225x275"):
        restorer.restore(torch.rand(3, 275, 225))


def test_restore_refuses_a_batch_size_of_zero(restorer):
    with pytest.raises(ValueError, match="at least 1"):
        restorer.restore(torch.rand(3, 32, 32), batch_size=0)
