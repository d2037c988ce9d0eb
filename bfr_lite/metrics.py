"""How good is a restored face? Four numbers a face, each under the name it must be quoted by.

PSNR and SSIM compare pixels; a perceptual distance compares features of a network; the landmark distance compares
where eyes, nose and mouth are. Which networks do the last two depends on what is on this machine: nothing is
downloaded, and the name of a metric always says what measured.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from bfr_lite.alignment import template
from bfr_lite.checkpoints import load_discriminator
from bfr_lite.doctor import LPIPS_BACKBONE
from bfr_lite.download import YUNET_NAME, cache_dir, data_dir
from bfr_lite.faces import FaceDetector
from bfr_lite.images import ImageError, check_images, resize, tensor_to_uint8
from bfr_lite.landmarks import LandmarkNet
from bfr_lite.lpips_import import import_lpips
from bfr_lite.stylegan2 import Discriminator
from bfr_lite.training.losses import feature_distance

PUBLISHED_SIZE = 512  # landmark distances of the literature are in pixels of a picture this large
LEAST_SCORE = 0.2  # for YuNet: an aligned picture does hold a face, however bad
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


class DiscriminatorDistance:
    """Perceptual distance by a discriminator's features: `losses.feature_distance`, face by face.

    It stands in for LPIPS where that cannot be had. Its numbers mean nothing beside LPIPS's, nor beside those of
    another discriminator. Pictures of other sizes are resized to the discriminator's first.
    """

    def __init__(self, discriminator: Discriminator):
        self.discriminator = discriminator

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Distances (B,) of pictures (B, 3, H, H) in [0, 1]; 0 for equal ones."""
        _check_pair(output, target)
        a, b = (list(self._features(images).values()) for images in (output, target))
        faces = range(len(output))
        return torch.stack([feature_distance([x[i : i + 1] for x in a], [x[i : i + 1] for x in b]) for i in faces])

    def _features(self, images: Tensor) -> dict[int, Tensor]:
        return self.discriminator.features(resize(images, self.discriminator.config.size))


class Lpips:
    """LPIPS with AlexNet, version 0.1 (Zhang et al., arXiv 1801.03924), the variant that papers on faces quote."""

    def __init__(self):
        with warnings.catch_warnings():  # of torchvision, about the way lpips asks it for AlexNet
            warnings.simplefilter("ignore")
            self.network = import_lpips().LPIPS(net="alex", verbose=False).eval().requires_grad_(False)

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


class YuNetLandmarks:
    """Landmarks of pictures that hold one face in the FFHQ position, by YuNet."""

    def __init__(self, detector: FaceDetector):
        self.detector = detector

    def __call__(self, images: Tensor) -> Tensor:
        """Points (B, 5, 2) of the face nearest to the FFHQ position; NaN where none is found."""
        return torch.stack([self._points(image) for image in images])

    def _points(self, image: Tensor) -> Tensor:
        expected = template(image.shape[-1])
        faces = self.detector.detect(tensor_to_uint8(image))
        points = min(
            (face.landmarks for face in faces),
            key=lambda found: np.abs(found - expected).mean(),
            default=np.full((5, 2), np.nan),
        )
        return torch.from_numpy(points).float()


PSNR = Metric("PSNR", "dB", True, 2, psnr)
SSIM = Metric("SSIM", "", True, 4, ssim)


def discriminator_metric() -> Metric:
    """The perceptual distance that is always there, by the shipped discriminator."""
    discriminator = load_discriminator("lite")
    if discriminator is None:
        raise FileNotFoundError("discriminator-lite.safetensors is not beside the shipped prior: fetch it again")
    return Metric("discriminator feature distance", "", False, 4, DiscriminatorDistance(discriminator))


def perceptual_metric() -> Metric:
    """LPIPS where PyTorch's cache holds its AlexNet, else the discriminator's feature distance; see the name."""
    if _has_lpips_backbone():
        return Metric("LPIPS (AlexNet)", "", False, 4, Lpips())
    return discriminator_metric()


def landmark_net_metric() -> Metric:
    """The landmark distance that is always there, by the shipped `LandmarkNet`."""
    measure = LandmarkDistance(LandmarkNet.from_pretrained("lite"))
    return Metric("landmark distance (bfr_lite LandmarkNet)", "px of 512", False, 2, measure)


def landmark_metric() -> Metric:
    """By YuNet where its model is in ``BFR_LITE_DATA`` or the cache, else by our own `LandmarkNet`; see the name."""
    model = _yunet_here()
    if model is None:
        return landmark_net_metric()
    measure = LandmarkDistance(YuNetLandmarks(FaceDetector(model, LEAST_SCORE)))
    return Metric("landmark distance (YuNet)", "px of 512", False, 2, measure)


def standard_metrics() -> tuple[Metric, ...]:
    """The four numbers of `bfr-lite evaluate`: LPIPS where its backbone is here, else the stand-in.

    Landmarks are `LandmarkNet`'s even where YuNet is here: YuNet loses damaged faces, and points that cannot be found
    cannot be compared.
    """
    return PSNR, SSIM, perceptual_metric(), landmark_net_metric()


def offline_metrics() -> tuple[Metric, ...]:
    """The four numbers by rulers that come with the package: the same on every machine."""
    return PSNR, SSIM, discriminator_metric(), landmark_net_metric()


def _has_lpips_backbone() -> bool:
    """Whether the AlexNet is here and whole: its name ends in the first digits of its SHA-256."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / LPIPS_BACKBONE
    prefix = path.stem.rpartition("-")[2]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest().startswith(prefix)


def _yunet_here() -> Path | None:
    folders = [folder for folder in (data_dir(), cache_dir()) if folder is not None]
    return next((path for folder in folders if (path := folder / "models" / YUNET_NAME).is_file()), None)


def _check_pair(output: Tensor, target: Tensor) -> None:
    check_images(output, name="output")
    check_images(target, name="target")
    if output.shape != target.shape:
        raise ImageError(f"output {tuple(output.shape)} and target {tuple(target.shape)} must have one shape")
