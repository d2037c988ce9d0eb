"""Look at any feature map of a restorer: a stage, all of its channels, one of them over the face."""

from __future__ import annotations

import math
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from ipywidgets import HTML, Dropdown, HBox, Image, IntSlider, VBox
from PIL.Image import Image as PILImage
from torch import Tensor

from bfr_lite.images import grid, to_batch, to_square
from bfr_lite.plots import encode_image, signed_map
from bfr_lite.restorer import Restorer

SHOWN = 256  # pixels of the screen, for each of the two large pictures
SMALL = 32  # a channel in the overview; of more than 64 channels the first 64
MOST = 64


class FeatureExplorer(VBox):
    """What `feature_explorer` shows.

    `face` chooses a picture, `stage` one of `Restorer.features`, `channel` a map of it. `picture` is the damaged face,
    `map` the chosen channel, `overview` all channels side by side, `caption` says what they are.
    """

    def __init__(self, restorer: Restorer, lq: Tensor):
        features = restorer.features(lq.to(restorer.codec.mean_ws.device))
        self._lq, self._stages = lq, {name: value.cpu() for name, value in features.items()}
        maps = [name for name, value in self._stages.items() if value.ndim == 4]
        self.face = IntSlider(0, min=0, max=len(lq) - 1, description="face")
        self.stage = Dropdown(options=maps, value=f"encoder.{restorer.preset.size // 4}", description="stage")
        self.channel = IntSlider(0, min=0, description="channel")
        self.picture, self.map, self.overview = (Image(format="jpeg", height=SHOWN) for _ in range(3))
        self.caption = HTML()
        controls = [self.face] * (len(lq) > 1) + [self.stage, self.channel]
        super().__init__([*controls, HBox([self.picture, self.map, self.overview]), self.caption])
        self.stage.observe(self._set_channels, names="value")
        for control in (self.face, self.stage, self.channel):
            control.observe(self._show, names="value")
        self._set_channels()
        self._show()

    def _set_channels(self, change: object = None) -> None:
        self.channel.max = self._stages[self.stage.value].shape[1] - 1

    def _show(self, change: object = None) -> None:
        maps = self._stages[self.stage.value][self.face.value]
        chosen = maps[min(self.channel.value, len(maps) - 1)]
        size = chosen.shape[-1]
        self.picture.value = encode_image(self._lq[self.face.value], max(1, SHOWN // self._lq.shape[-1]))
        self.map.value = encode_image(signed_map(chosen), max(1, SHOWN // size))
        self.overview.value = encode_image(overview(maps))
        self.caption.value = (
            f"{self.stage.value}: {len(maps)} maps of {size} × {size}. Channel {self.channel.value}: "
            f"{chosen.min():.2f} to {chosen.max():.2f}, mean {chosen.mean():.2f}. Blue below zero, orange above."
        )


def feature_explorer(restorer: Restorer, lq: Tensor | np.ndarray | PILImage | str | PathLike) -> FeatureExplorer:
    """Walk through every stage of a restorer that is given damaged faces, channel by channel.

    `lq`: pictures as `Restorer.restore` takes them. Raises `ImageError`.
    """
    return FeatureExplorer(restorer, to_square(to_batch(lq)[0].float(), restorer.preset.size))


@torch.no_grad()
def overview(maps: Tensor) -> Tensor:
    """Feature maps (C, H, W) as one picture (3, H', W'), a square of signed maps, each with its own range."""
    shown = torch.stack([signed_map(one) for one in maps[:MOST]])
    small = F.interpolate(shown, (SMALL, SMALL), mode="area" if maps.shape[-1] > SMALL else "nearest")
    return grid(small, math.ceil(math.sqrt(len(small))))
