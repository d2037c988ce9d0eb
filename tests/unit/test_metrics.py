"""The metrics: equal to their references, right in scale, and named for what measured."""

import hashlib
import io
import math
import os
import pickle
import warnings

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from traps import Trap

from bfr_lite import lpips_import, metrics
from bfr_lite.imagenet import ImageNetFeatures
from bfr_lite.images import ImageError


@pytest.fixture
def pair():
    """Three pictures of 32 px, and the same with noise that differs in strength."""
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, 32, 32, generator=rng)
    noise = torch.randn(clean.shape, generator=rng) * torch.tensor([0.01, 0.05, 0.2])[:, None, None, None]
    return (clean + noise).clamp(0, 1), clean


@pytest.fixture
def no_backbone(tmp_path, monkeypatch):
    """An empty PyTorch cache; the file is where AlexNet would be."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / lpips_import.BACKBONE


def test_psnr_is_that_of_scikit_image(pair):
    expected = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(*pair, strict=True)]
    torch.testing.assert_close(metrics.psnr(*pair), torch.tensor(expected, dtype=torch.float32))


def test_psnr_of_equal_pictures_is_infinite(pair):
    assert metrics.psnr(pair[0], pair[0]).isinf().all()


def test_a_face_that_comes_back_unchanged_counts_in_the_mean_of_a_table(pair):
    noisy, clean = pair
    values = metrics.PSNR.measure(torch.cat([clean, noisy]), torch.cat([clean, clean]))
    assert torch.equal(values, torch.cat([torch.full((3,), 100.0), metrics.psnr(noisy, clean)]))


def test_ssim_is_that_of_the_paper_by_scikit_image(pair):
    expected = [
        structural_similarity(
            a.double().numpy(), b.double().numpy(), channel_axis=0, data_range=1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for a, b in zip(*pair, strict=True)
    ]  # fmt: skip
    torch.testing.assert_close(metrics.ssim(*pair), torch.tensor(expected, dtype=torch.float32))
    assert metrics.ssim(pair[0], pair[0]).tolist() == pytest.approx([1, 1, 1])


def test_ssim_needs_its_window():
    with pytest.raises(ImageError, match="11 pixels"):
        metrics.ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(2, 3, 32, 32), "one shape"),
        (torch.zeros(1, 3, 16, 16), "one shape"),
        (torch.full((1, 3, 32, 32), 2.0), "output must lie in"),
        (torch.full((1, 3, 32, 32), math.nan), "NaN"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(measure, output, message):
    with pytest.raises(ImageError, match=message):
        measure(output, torch.zeros(1, 3, 32, 32))


def test_imagenet_distance_is_measured_face_by_face(pair):
    distance = metrics.ImageNetDistance()
    whole = distance(*pair)
    alone = torch.cat([distance(a[None], b[None]) for a, b in zip(*pair, strict=True)])
    torch.testing.assert_close(whole, alone)
    assert whole[0] < whole[1] < whole[2]
    assert distance(pair[0], pair[0]).abs().max() < 1e-6


def test_the_ruler_is_not_the_network_of_the_loss():
    assert metrics.ImageNetDistance().network.name != ImageNetFeatures().name


@pytest.mark.parametrize("size", [128, 512])
def test_landmark_distance_is_in_pixels_of_512(size):
    def brightness_is_place(images):
        return (images.mean(dim=(1, 2, 3)) * images.shape[-1])[:, None, None].expand(-1, 5, 2) * torch.tensor(
            [1.0, 0.0]
        )

    distance = metrics.LandmarkDistance(brightness_is_place)
    shape = (1, 3, size, size)
    assert distance(torch.full(shape, 0.25), torch.full(shape, 0.5)).item() == pytest.approx(128)


def test_without_its_backbone_lpips_is_not_named(no_backbone):
    metric = metrics.perceptual_metric()
    assert metric.name == "EfficientNet-Lite2 feature distance"
    no_backbone.write_bytes(b"not whole")
    assert metrics.perceptual_metric().name == "EfficientNet-Lite2 feature distance"


def put_backbone(content: bytes, no_backbone, monkeypatch) -> None:
    """Let `content` be what PyTorch's cache holds as AlexNet, under a name that its hash fits."""
    name = f"alexnet-owt-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(lpips_import, "BACKBONE", name)
    no_backbone.with_name(name).write_bytes(content)


def test_with_its_backbone_lpips_is_used(no_backbone, monkeypatch):
    before = torch.get_rng_state()
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(1)  # others than the package would draw
        warnings.simplefilter("ignore")
        network = lpips_import.import_lpips().LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = {f"features.{name.partition('.')[2]}": tensor for name, tensor in network.net.state_dict().items()}
    content = io.BytesIO()
    torch.save(state | {"classifier.1.weight": torch.zeros(2)}, content)
    put_backbone(content.getvalue(), no_backbone, monkeypatch)
    metric = metrics.perceptual_metric()
    assert metric.name == "LPIPS (AlexNet)"
    rng = torch.Generator().manual_seed(0)
    pair = torch.rand(2, 2, 3, 64, 64, generator=rng)
    torch.testing.assert_close(metric.measure(*pair), network(*pair, normalize=True).flatten())
    assert torch.equal(torch.get_rng_state(), before)


def test_code_in_the_backbone_does_not_run(no_backbone, monkeypatch, tmp_path):
    content = io.BytesIO()
    torch.save({"features.0.weight": Trap(os.system, f"touch {tmp_path}/sprung")}, content)
    put_backbone(content.getvalue(), no_backbone, monkeypatch)
    with pytest.raises(pickle.UnpicklingError):
        metrics.perceptual_metric()
    assert not (tmp_path / "sprung").exists()


def test_offline_metrics_are_the_same_everywhere():
    names = [metric.name for metric in metrics.offline_metrics()]
    assert names == ["PSNR", "SSIM", "EfficientNet-Lite2 feature distance", "landmark distance (bfr_lite LandmarkNet)"]
