"""The networks behind the perceptual loss and the perceptual metric."""

import pytest
import skimage.data
import torch

from bfr_lite.astronaut import astronaut
from bfr_lite.degradation import degrade
from bfr_lite.imagenet import ImageNetFeatures, perceptual_distance

EGYPTIAN_CAT, ESPRESSO = 285, 967  # classes of ImageNet


@pytest.fixture(scope="module", params=["lite0", "lite2"])
def network(request):
    return ImageNetFeatures(request.param)


def test_unknown_network_names_those_there_are():
    with pytest.raises(ValueError, match="lite0 or lite2"):
        ImageNetFeatures("b0")


@pytest.mark.parametrize(("photo", "wanted"), [("chelsea", EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_the_weights_know_what_is_on_a_photo(network, photo, wanted):
    """So they are the trained ones, rightly loaded and rightly fed."""
    image = torch.from_numpy(getattr(skimage.data, photo)().copy()).permute(2, 0, 1)[None] / 255
    side = min(image.shape[-2:])
    left = (image.shape[-1] - side) // 2
    square = image[..., :side, left : left + side]
    image = torch.nn.functional.interpolate(square, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    assert network.network._fc(network.embed(image)).argmax().item() == wanted


def test_features_are_four_sizes_and_carry_gradients(network):
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    features = network(images)
    assert [feature.shape[-1] for feature in features] == [32, 16, 8, 4]
    features[-1].sum().backward()
    assert images.grad.abs().sum() > 0


def test_too_small_pictures_are_refused(network):
    with pytest.raises(ValueError, match="32 pixels"):
        network(torch.rand(1, 3, 16, 16))


def test_distance_is_zero_for_equal_pictures_and_grows_with_damage(network):
    face = astronaut(128)[None]
    distances = [perceptual_distance(network, degrade(face, severity), face).item() for severity in (0.0, 0.3, 0.8)]
    assert perceptual_distance(network, face, face).item() == 0
    assert 0 < distances[0] < distances[1] < distances[2]


def test_statistics_stay_those_of_imagenet(network):
    network.train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.rand(2, 3, 64, 64))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
