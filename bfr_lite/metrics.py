"""How good is a restored face? Four numbers a face, each under the name it must be quoted by.

PSNR and SSIM compare pixels; a perceptual distance compares features of a network; the landmark distance compares
where eyes, nose and mouth are. Which network does the third depends on what is on this machine: nothing is
downloaded, and the name of a metric always says what measured.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from bfr_lite.degradation import PUBLISHED_SIZE
from bfr_lite.identity import IdentityAngle
from bfr_lite.imagenet import RULER_NETWORK, ImageNetFeatures, perceptual_distance
from bfr_lite.images import ImageError, check_images
from bfr_lite.landmarks import LandmarkNet
from bfr_lite.lpips_import import backbone, import_lpips

Measure = Callable[[Tensor, Tensor], Tensor]
Landmarks = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """One number a face.

    name: as it must be quoted. unit: "" when it has none. higher_is_better. decimals: worth printing.
    measure: restored and clean pictures, each (B, 3, H, W) in [0, 1], to (B,); NaN where it cannot be measured.
    """

    name: str
    unit: str
    higher_is_better: bool
    decimals: int
    measure: Measure


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB over all pixels and RGB channels, peak 1; infinite for equal pictures."""
    _check_pair(output, target)
    error = (output.double() - target.double()).square().mean(dim=(1, 2, 3))
    return (-10 * error.log10()).float()


def capped_psnr(output: Tensor, target: Tensor) -> Tensor:
    """`psnr` (B,), at most 100 dB: equal pictures, infinitely alike, would drop out of every mean."""
    return psnr(output, target).clamp(max=100)


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (B,), at most 1 (Wang et al., IEEE TIP 2004), by scikit-image.

    The paper's window, 11x11 Gaussian with sigma 1.5, and its constants; on each RGB channel, averaged over them and
    over every place where the window lies within the picture. Raises `ImageError` for pictures under 11 pixels.
    """
    _check_pair(output, target)
    if min(output.shape[-2:]) < 11:
        raise ImageError(f"SSIM needs pictures of 11 pixels or more, got {tuple(output.shape[-2:])}")
    pairs = zip(output.double().cpu().numpy(), target.double().cpu().numpy(), strict=True)
    return torch.tensor([_ssim(a, b) for a, b in pairs], dtype=torch.float32)


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    return structural_similarity(
        a, b, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


class ImageNetDistance:
    """Perceptual distance by the features of a network that saw ImageNet: `imagenet.perceptual_distance`.

    It stands in for LPIPS where that cannot be had, in the same form and with the same purpose; its numbers mean
    nothing beside LPIPS's. The network is not the one of the perceptual loss.
    """

    def __init__(self):
        self.network = ImageNetFeatures(RULER_NETWORK)

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Distances (B,) of pictures (B, 3, H, W) in [0, 1]; 0 for equal ones."""
        _check_pair(output, target)
        return perceptual_distance(self.network, output, target)


class Lpips:
    """LPIPS with AlexNet, version 0.1 (Zhang et al., arXiv 1801.03924), its authors' default.

    Tables on CelebA-Test are made with VGG in its place (the scripts of VQFR and PMRF say so): they do not compare.

    content: of the file of its AlexNet, see `lpips_import.backbone`.
    """

    def __init__(self, content: bytes):
        # By itself lpips has torchvision open the file, which would run code in it. So it begins at random.
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=()):  # of how lpips asks for AlexNet
            warnings.simplefilter("ignore")
            network = import_lpips().LPIPS(net="alex", pnet_rand=True, verbose=False)
        layers = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}  # slice1.0.weight
        network.net.load_state_dict({name: state[theirs] for name, theirs in layers.items()})
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Distances (B,) of pictures (B, 3, H, W) in [0, 1]."""
        _check_pair(output, target)
        return self.network(output, target, normalize=True).flatten()


class LandmarkDistance:
    """Mean distance (B,) of five landmarks, in pixels of a 512 px picture, as papers give it for their own landmarks.

    landmarks: pictures (B, 3, H, H) to points (B, 5, 2), NaN where there is no face.
    """

    def __init__(self, landmarks: Landmarks):
        self.landmarks = landmarks

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        _check_pair(output, target)
        distances = (self.landmarks(output) - self.landmarks(target)).norm(dim=2).mean(dim=1)
        return distances * (PUBLISHED_SIZE / output.shape[-1])


PSNR = Metric("PSNR", "dB", True, 2, capped_psnr)
SSIM = Metric("SSIM", "", True, 4, ssim)


def imagenet_metric() -> Metric:
    """The perceptual distance that is always there, by EfficientNet-Lite2."""
    measure = ImageNetDistance()
    return Metric(f"{measure.network.name} feature distance", "", False, 4, measure)


def perceptual_metric() -> Metric:
    """LPIPS where PyTorch's cache holds its AlexNet, else EfficientNet-Lite2's feature distance; see the name."""
    _, content = backbone()
    if content:
        return Metric("LPIPS (AlexNet)", "", False, 4, Lpips(content))
    return imagenet_metric()


def landmark_net_metric() -> Metric:
    """The landmark distance that is always there, by the shipped `LandmarkNet`."""
    measure = LandmarkDistance(LandmarkNet.from_pretrained("lite"))
    return Metric("landmark distance (bfr_lite LandmarkNet)", "px of 512", False, 2, measure)


def standard_metrics() -> tuple[Metric, ...]:
    """The four numbers of `bfr-lite evaluate`: LPIPS where its backbone is here, else the stand-in.

    Landmarks are `LandmarkNet`'s and not a detector's: a detector loses damaged faces, and points that cannot be found
    cannot be compared.
    """
    return PSNR, SSIM, perceptual_metric(), landmark_net_metric()


def offline_metrics() -> tuple[Metric, ...]:
    """The four numbers by rulers that come with the package: the same on every machine."""
    return PSNR, SSIM, imagenet_metric(), landmark_net_metric()


def benchmark_metrics() -> tuple[Metric, ...]:
    """Those of `offline_metrics`, and the identity angle. Raises ModuleNotFoundError without the extra "benchmark"."""
    measure = IdentityAngle()
    return *offline_metrics(), Metric(measure.name, "°", False, 2, measure)


def _check_pair(output: Tensor, target: Tensor) -> None:
    check_images(output, name="output")
    check_images(target, name="target")
    if output.shape != target.shape:
        raise ImageError(f"output {tuple(output.shape)} and target {tuple(target.shape)} must have one shape")
