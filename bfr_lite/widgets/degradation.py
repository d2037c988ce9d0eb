"""The degradation playground: draw a degradation, turn each of its stages by hand, see every stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike

import numpy as np
import torch
from ipywidgets import Dropdown, FloatSlider, HBox, Image, IntSlider, Label, Layout, VBox
from PIL.Image import Image as PILImage
from torch import Tensor

from bfr_lite.degradation import PUBLISHED_SIZE, Degradation, low_size
from bfr_lite.degradation_params import NAMED_RANGES
from bfr_lite.images import ImageError, resize, to_batch
from bfr_lite.plots import encode_image

LARGEST = 256  # pixels; larger pictures are shrunk to this, so that a slider is answered at once
SHOWN = 140  # pixels of the screen for each stage
STAGES = ("input", "blur", "down", "noise", "jpeg", "output")
BY_SEVERITY = "by severity"

# From (size, severity) to what a choice in the menu draws from.
PRESETS: dict[str, Callable[[int, float], Degradation]] = {
    BY_SEVERITY: lambda size, severity: Degradation.of_severity(severity, size),
    **{name: lambda size, _, name=name: Degradation.named(name, size) for name in NAMED_RANGES},
    **{f"super-resolution ×{n}": lambda size, _, n=n: Degradation.super_resolution(n, size) for n in (2, 4, 8)},
}


@dataclass(frozen=True)
class Dial:
    """A slider for one field of `DegradationParams`, which is `unit` times what the slider shows."""

    label: str
    low: float
    high: float
    step: float
    unit: float = 1.0

    def slider(self) -> FloatSlider | IntSlider:
        """An integer slider where the step is 1."""
        kind = IntSlider if self.step == 1 else FloatSlider
        return kind(self.low, min=self.low, max=self.high, step=self.step, description=self.label)


def dials(size: int) -> dict[str, Dial]:
    """One dial for each field of the parameters that is turned by hand, for pictures of `size` pixels."""
    widest = math.ceil(20 * size / PUBLISHED_SIZE)
    return {
        "sigma_x": Dial("blur σ₁ (px)", 0, widest, 0.1),
        "sigma_y": Dial("blur σ₂ (px)", 0, widest, 0.1),
        "angle": Dial("angle (°)", 0, 180, 5.0, math.pi / 180),
        "down": Dial("shrink by", 0.8, 32, 0.1),
        "noise": Dial("noise (/255)", 0, 50, 0.5),
        "quality": Dial("JPEG (0: none)", 0, 100, 1),
    }


class DegradationPlayground(VBox):
    """What `degradation_playground` shows.

    `preset`, `severity` and `seed` draw `params`, a `DegradationParams` of one picture, and so move `sliders`
    (by field of `params`); a slider turned by hand replaces its field alone. `stages` is what
    `Degradation.apply` made of `params`; `pictures` and `captions` show it (by the names in `STAGES`).
    """

    def __init__(self, images: Tensor):
        self._images = images
        self._dials = dials(images.shape[-1])
        self._drawing = False
        self.preset = Dropdown(options=list(PRESETS), description="ranges")
        self.severity = FloatSlider(0.5, min=0, max=1, step=0.05, description="severity")
        self.seed = IntSlider(0, min=0, max=50, description="seed")
        self.sliders = {field: dial.slider() for field, dial in self._dials.items()}
        self.pictures = {name: Image(format="jpeg", width=SHOWN, height=SHOWN) for name in STAGES}
        self.captions = {name: Label() for name in STAGES}
        draws, hand = [self.preset, self.severity, self.seed], list(self.sliders.values())
        row = [VBox([self.captions[name], self.pictures[name]]) for name in STAGES]
        wrap = Layout(flex_flow="row wrap")
        super().__init__([HBox([VBox(draws), VBox(hand[:3]), VBox(hand[3:])], layout=wrap), HBox(row, layout=wrap)])
        for control in draws:
            control.observe(self._draw, names="value")
        for field, slider in self.sliders.items():
            slider.observe(partial(self._turn, field), names="value")
        self._draw()

    def _draw(self, change: object = None) -> None:
        """Draw parameters anew, and move the sliders to them."""
        self.severity.disabled = self.preset.value != BY_SEVERITY
        degradation = PRESETS[self.preset.value](self._images.shape[-1], self.severity.value)
        self.params = degradation.sample(1, torch.Generator().manual_seed(self.seed.value))
        self._drawing = True  # the sliders follow the draw: they are not to answer it
        for field, slider in self.sliders.items():
            slider.value = getattr(self.params, field).item() / self._dials[field].unit
        self._drawing = False
        self._show()

    def _turn(self, field: str, change: dict) -> None:
        """Replace one field of the parameters by its slider's value."""
        if self._drawing:
            return
        dtype = getattr(self.params, field).dtype
        value = torch.tensor([change["new"] * self._dials[field].unit], dtype=dtype)
        self.params = replace(self.params, **{field: value})
        self._show()

    def _show(self) -> None:
        # The parameters say everything; the ranges play no part in `apply`.
        self.stages = Degradation.super_resolution(2).apply(self._images, self.params, return_stages=True)
        for name, caption in _captions(self).items():
            self.captions[name].value = caption
            self.pictures[name].value = encode_image(self.stages[name][0])
