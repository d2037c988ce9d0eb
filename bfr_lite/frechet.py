"""How a set of pictures compares with another, by their features: Fréchet distance, precision and recall."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bfr_lite.imagenet import RULER_NETWORK, ImageNetFeatures
from bfr_lite.images import resize

LOOKED_AT = 128  # pixels; every picture is brought to this size, so that distances at two sizes have one ruler


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of two Gaussians fitted to features (N, D) and (M, D): 0 for the same features.

    |mean_a - mean_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)), as in FID (Heusel et al., arXiv 1706.08500, section 4), in
    double precision. FID itself is this on features of an Inception-v3; with other features it is another number, and
    so is one of other counts: small sets lie farther apart than large ones of the same kind.

    Raises ValueError for sets of other widths or of fewer than two.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets (N, D) of two features or more are needed, got {tuple(a.shape)}, {tuple(b.shape)}")
    a, b = a.double(), b.double()
    # With C_a = X'X and C_b = Y'Y, the eigenvalues of C_a C_b are the squared singular values of X Y': the trace of the
    # root is their sum, and no D x D root is taken.
    x, y = ((part - part.mean(dim=0)) / (len(part) - 1) ** 0.5 for part in (a, b))
    # X and Y have those of their triangular factors, which are no larger than D x D however many features there are.
    root = torch.linalg.svdvals(torch.linalg.qr(x, mode="r").R @ torch.linalg.qr(y, mode="r").R.T).sum()
    distance = (a.mean(dim=0) - b.mean(dim=0)).square().sum() + x.square().sum() + y.square().sum() - 2 * root
    return max(0.0, distance.item())


def precision_recall(drawn: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall of features (N, D) of drawn and (M, D) of real pictures, each in [0, 1].

    Precision: how many drawn ones lie as near to some real one as that one's k-th real neighbour, so look real. Recall:
    the same with the sets exchanged, so how much of the real variety is drawn (Kynkäänniemi et al., arXiv 1904.06991,
    with other features). Raises ValueError for sets of other widths, or without that many neighbours.
    """
    if drawn.ndim != 2 or real.ndim != 2 or drawn.shape[1] != real.shape[1]:
        raise ValueError(f"two sets (N, D) of features are needed, got {tuple(drawn.shape)}, {tuple(real.shape)}")
    if not 1 <= neighbours < min(len(drawn), len(real)):
        raise ValueError(f"neighbours must be at least 1 and fewer than a set has, got {neighbours}")
    between = torch.cdist(drawn.double(), real.double())
    real_reach, drawn_reach = (
        torch.cdist(one, one).kthvalue(neighbours + 1, dim=1).values for one in (real.double(), drawn.double())
    )
    precision = (between <= real_reach).any(dim=1).double().mean()
    recall = (between <= drawn_reach[:, None]).any(dim=0).double().mean()
    return precision.item(), recall.item()


class FaceFeatures:
    """Features of faces for `frechet_distance`: EfficientNet-Lite2 on ImageNet, its 1280 averaged last channels."""

    def __init__(self):
        self.network = ImageNetFeatures(RULER_NETWORK)
        self.name = f"{self.network.name}, 1280 averaged channels, at {LOOKED_AT} px"

    @torch.no_grad()
    def __call__(self, batches: Iterable[Tensor]) -> Tensor:
        """Features (N, 1280) of batches (B, 3, H, H) in [0, 1], resized to 128 px first."""
        return torch.cat([self.network.embed(resize(batch, LOOKED_AT)) for batch in batches])
