"""The landmark network: where its points are, how it is trained, and that the shipped one measures."""

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from bfr_lite import cli
from bfr_lite.alignment import template
from bfr_lite.astronaut import astronaut
from bfr_lite.checkpoints import SHIPPED, read_card, save_weights
from bfr_lite.face_sets import FaceDataset
from bfr_lite.images import ImageError, resize
from bfr_lite.landmarks import MIRRORED, LandmarkConfig, LandmarkNet
from bfr_lite.training.augment import Misalignment
from bfr_lite.training.landmarks import (
    ALIGNER,
    LandmarkTraining,
    augment,
    landmark_errors,
    train_landmarks,
)

CENTRES = torch.from_numpy(template(128)).float()


class Dots(FaceDataset):
    """Grey pictures with a bright dot at each of five points, which are those of the FFHQ position, moved a little."""

    def __init__(self, count: int = 8):
        super().__init__("dots", [str(number) for number in range(count)], 128)
        jitter = torch.randn(count, 1, 2, generator=torch.Generator().manual_seed(0))
        self.landmarks = CENTRES + 3 * jitter
        along = torch.arange(128.0)
        x, y = self.landmarks.unbind(2)
        bump = torch.exp(-((along[None, None, :] - x[..., None]) ** 2) / 8)[:, :, None, :]
        bump = bump * torch.exp(-((along[None, None, :] - y[..., None]) ** 2) / 8)[:, :, :, None]
        self.images = (0.2 + 0.7 * bump.sum(dim=1, keepdim=True)).clamp(0, 1).expand(-1, 3, -1, -1)

    def _faces(self, numbers):
        return self.images[numbers]


def brightness_near(image, point, reach=7):
    """The centre of brightness (2,) around `point` in one picture (3, H, H)."""
    along = torch.arange(image.shape[-1], dtype=torch.float32)
    y, x = torch.meshgrid(along, along, indexing="ij")
    weight = (image[0] - 0.25).clamp(min=0) * ((x - point[0]).hypot(y - point[1]) < reach)
    return torch.stack([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [64, 128, 256])
def test_points_are_in_pixels_of_the_picture_given(size):
    network = LandmarkNet()
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    points, at_128 = network(pictures), network(resize(pictures, 128))
    assert points.shape == (2, 5, 2)
    torch.testing.assert_close((points + 0.5) / size, (at_128 + 0.5) / 128)


def test_heat_maps_sum_to_one_and_their_mean_is_the_point():
    network = LandmarkNet()
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    maps = network.heat_maps(picture)
    torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.ones(1, 5))
    cell = torch.zeros(1, 5, 32, 32)
    cell[:, :, 3, 20] = 1  # the middle of cell (20, 3), each 4 px wide
    torch.testing.assert_close(network._means(cell)[0, 0] * 128 - 0.5, torch.tensor([81.5, 13.5]))


def test_it_is_small_and_the_same_seed_gives_the_same_network():
    before = torch.get_rng_state()
    one, two = LandmarkNet(generator=torch.Generator().manual_seed(1)), LandmarkNet()
    same = LandmarkNet(generator=torch.Generator().manual_seed(1))
    assert sum(parameter.numel() for parameter in one.parameters()) < 200_000
    assert torch.equal(before, torch.get_rng_state())
    first = "fine.0.0.weight"
    assert torch.equal(one.state_dict()[first], same.state_dict()[first])
    assert not torch.equal(one.state_dict()[first], two.state_dict()[first])


@pytest.mark.parametrize("shape", [(3, 128, 128), (1, 3, 128, 64), (1, 1, 128, 128)])
def test_pictures_it_cannot_read_are_refused(shape):
    with pytest.raises(ImageError):
        LandmarkNet()(torch.zeros(shape))


@pytest.mark.parametrize("seed", range(3))
def test_augmented_points_stay_on_what_they_point_at(seed):
    faces = Dots()
    config = LandmarkTraining(degraded=0)
    images, points = augment(faces.images, faces.landmarks, config, torch.Generator().manual_seed(seed))
    for image, five in zip(images, points, strict=True):
        for point in five:
            assert (brightness_near(image, point) - point).norm() < 0.3
    assert (points - faces.landmarks).norm(dim=2).mean() > 2, "nothing moved"


def test_mirrored_faces_swap_left_and_right():
    faces = Dots(32)
    still = LandmarkTraining(misalignment=Misalignment(turn=0, zoom=1, move=0), degraded=0)
    _, points = augment(faces.images, faces.landmarks, still, torch.Generator().manual_seed(0))
    assert (points[:, 0, 0] < points[:, 1, 0]).all() and (points[:, 3, 0] < points[:, 4, 0]).all()
    mirrored = faces.landmarks[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([127.0, 0.0])
    changed = ~torch.isclose(points, faces.landmarks).all(dim=2).all(dim=1)
    assert 4 < changed.sum() < 28
    torch.testing.assert_close(points[changed], mirrored[changed])


def test_faces_out_of_place_are_mostly_near_when_told():
    faces, far = Dots(1), LandmarkTraining(degraded=0, misalignment=ALIGNER.misalignment)
    spread = []
    for config in (far, replace(far, nearer=True)):
        drawn = [augment(faces.images, faces.landmarks, config, torch.Generator().manual_seed(n))[1] for n in range(60)]
        middles = torch.cat(drawn).mean(dim=1)
        spread.append((middles - middles.mean(dim=0)).norm(dim=1).median())
    assert spread[1] < 0.7 * spread[0]


def test_a_finer_photo_loses_less_of_a_face():
    faces = Dots(8)
    still = LandmarkTraining(misalignment=Misalignment(turn=0, zoom=1, move=0), degraded=1)
    lost = []
    for config in (still, replace(still, finer=16.0)):
        pairs = [augment(faces.images, faces.landmarks, config, torch.Generator().manual_seed(n)) for n in range(8)]
        clean = [
            augment(faces.images, faces.landmarks, replace(config, degraded=0), torch.Generator().manual_seed(n))
            for n in range(8)
        ]
        lost.append(sum((a[0] - b[0]).abs().mean() for a, b in zip(pairs, clean, strict=True)))
    assert lost[1] < lost[0]


def test_a_deeper_network_comes_back_from_its_file(tmp_path):
    config = LandmarkConfig(depth=3)
    network = train_landmarks(LandmarkTraining(images=4, batch=4, network=config), Dots())
    path = tmp_path / "deeper.safetensors"
    save_weights(path, network, {"config": asdict(config)})
    again = LandmarkNet.from_pretrained(path)
    assert again.config == config
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(picture), network(picture), atol=0.2, rtol=0)


def test_training_is_reproducible_and_touches_no_global_generator():
    faces, config = Dots(), LandmarkTraining(images=16, batch=4, seed=5)
    before = torch.get_rng_state()
    one, two = (train_landmarks(config, faces).state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_learns_to_find_dots():
    faces = Dots(32)
    config = LandmarkTraining(images=480, batch=16, degraded=0)
    untrained = landmark_errors(LandmarkNet(), faces.images, faces.landmarks).mean()
    trained = landmark_errors(train_landmarks(config, faces), faces.images, faces.landmarks).mean()
    assert trained < untrained / 3


def test_faces_without_landmarks_cannot_train_it():
    faces = Dots()
    faces.landmarks = None
    with pytest.raises(ValueError, match="congress"):
        train_landmarks(LandmarkTraining(), faces)


def test_the_shipped_network_finds_the_astronaut_and_follows_her():
    network = LandmarkNet.from_pretrained("lite")
    photo = astronaut()[None]
    found = network(photo)[0]
    assert (found - CENTRES).norm(dim=1).mean() < 3
    padded = F.pad(photo, (6, 6, 6, 6), mode="replicate")
    moved = network(padded[..., 6:134, 1:129])[0]  # the picture moves 5 px to the right
    torch.testing.assert_close((moved - found).mean(dim=0), torch.tensor([5.0, 0.0]), atol=1.0, rtol=0)


def test_the_card_of_the_shipped_network_says_how_good_it_is():
    card = read_card(SHIPPED / "landmarks-lite.safetensors")
    errors = card["test_error_px"]
    assert errors["clean"] < errors["gfpgan"] < errors["moved_guess"] / 2
    assert errors["moved"] < errors["moved_guess"] / 2
    assert card["command"] and card["data"] and card["hardware"] and card["parameters"] < 200_000


def test_the_card_of_the_aligner_says_that_it_sees_through_damage():
    card, ruler = (read_card(SHIPPED / f"{kind}-lite.safetensors") for kind in ("aligner", "landmarks"))
    errors = card["test_error_px"]
    assert errors["clean"] < errors["gfpgan"] < errors["severe"] < errors["moved_guess"]
    assert errors["gfpgan"] < 1.1 * ruler["test_error_px"]["gfpgan"]
    assert card["kind"] == "aligner" and card["sha256"] and card["cpu_seconds"] > 0 and card["parameters"] < 300_000


def test_the_command_leaves_weights_and_a_card(congress_root, tmp_path, capsys):
    assert cli.main(["train", "landmarks", "-o", str(tmp_path / "run"), "--images", "32"]) == 0
    path = tmp_path / "run" / "landmarks-lite.safetensors"
    assert str(path) in capsys.readouterr().out
    assert LandmarkNet.from_pretrained(path)(torch.full((1, 3, 128, 128), 0.5)).isfinite().all()
    assert read_card(path)["training"]["images"] == 32
    before = path.read_bytes()
    assert cli.main(["train", "landmarks", "-o", str(tmp_path / "run"), "--images", "64"]) == 2
    assert "is there already" in capsys.readouterr().err and path.read_bytes() == before
