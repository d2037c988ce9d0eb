"""Five landmarks of a face that is in position already, by a small network of our own: a ruler that needs no download.

`LandmarkNet` learnt from YuNet's landmarks on official portraits (`bfr-lite train landmarks`); its card beside
`weights/landmarks-lite.safetensors` says how far it is from them on portraits it never saw.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.checkpoints import WeightsError, fit, load_weights, read_card, weights_path
from bfr_lite.images import check_images, resize
from bfr_lite.layers import Conv2d, draw_weights

POINTS = 5
MIRRORED = [1, 0, 2, 4, 3]  # which point each becomes when the picture is mirrored


@dataclass(frozen=True)
class LandmarkConfig:
    """Sizes of a `LandmarkNet`: pictures of `size` pixels, `width` channels at a quarter of it, twice as many below.

    depth: convolutions at a sixteenth of the size, where each sees most of the face.
    """

    size: int = 128
    width: int = 32
    depth: int = 1

    def __post_init__(self) -> None:
        """Raise `ValueError` for sizes of no network of ours: they may come from a stranger's card."""
        if not (16 <= self.size <= 1024 and 8 <= self.width <= 256 and 1 <= self.depth <= 16):
            raise ValueError(f"a landmark network of size {self.size}, width {self.width}, depth {self.depth}")


class Conv(nn.Sequential):
    """Convolution 3x3, normalisation over groups of channels (no batch needed), SiLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        convolution = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        super().__init__(convolution, nn.GroupNorm(8, out_channels), nn.SiLU())


class LandmarkNet(nn.Module):
    """Faces in the FFHQ position -> five points, each the mean of a heat map (integral regression).

    Sun et al., "Integral Human Pose Regression" (arXiv 1711.08229): the mean of a softmax over the map is exact to a
    fraction of its cells, and has a gradient. A path down to a sixteenth of the size sees the whole face and says which
    point is which; a path at a quarter says exactly where.
    """

    def __init__(self, config: LandmarkConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config or LandmarkConfig()
        width = self.config.width
        self.fine = nn.Sequential(Conv(3, width // 2, 2), Conv(width // 2, width, 2), Conv(width, width))
        deep = [Conv(2 * width, 2 * width) for _ in range(self.config.depth - 1)]
        self.coarse = nn.Sequential(
            Conv(width, 2 * width, 2),
            Conv(2 * width, 2 * width),
            Conv(2 * width, 2 * width, 2),
            *deep,
            Conv(2 * width, width),
        )
        self.heat = nn.Sequential(Conv(2 * width, width), Conv2d(width, POINTS, 1))
        draw_weights(self, generator)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike = "lite", kind: str = "landmarks") -> LandmarkNet:
        """The shipped network ("lite"), or one from a safetensors file. Raises as `checkpoints.load_weights`.

        kind: "landmarks", the ruler of the metrics, or "aligner", which finds the points in damaged photos.
        """
        path = weights_path(source, kind)
        state, config = load_weights(path), read_card(path).get("config", {})
        try:
            network = cls(LandmarkConfig(**config))
        except (TypeError, ValueError) as error:
            raise WeightsError(f"the card of {path} is of no landmark network: {error}") from error
        fit(network, state, path)
        return network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Points (B, 5, 2), (x, y) in pixels of `images` (B, 3, H, H) in [0, 1], in the order of `faces.Face`.

        Centres of pixels have whole coordinates. Raises `ImageError`.
        """
        check_images(images)
        side = images.shape[-1]
        check_images(images, side)  # square
        points = self._means(self.heat_maps(resize(images, self.config.size)))
        return points * side - 0.5

    def heat_maps(self, images: Tensor) -> Tensor:
        """Where each point may be, (B, 5, size / 4, size / 4), each map summing to 1, of pictures of `size` pixels."""
        fine = self.fine(images * 2 - 1)
        coarse = F.interpolate(self.coarse(fine), scale_factor=4, mode="bilinear", align_corners=False)
        return self.heat(torch.cat([fine, coarse], dim=1)).flatten(2).softmax(2).unflatten(2, fine.shape[2:])

    def _means(self, maps: Tensor) -> Tensor:
        """Mean positions (B, 5, 2) of heat maps, in [0, 1] across the picture."""
        cells = maps.shape[-1]
        along = (torch.arange(cells, device=maps.device) + 0.5) / cells
        return torch.stack([(maps.sum(2) * along).sum(2), (maps.sum(3) * along).sum(2)], dim=2)
