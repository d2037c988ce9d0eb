"""The degradation playground: draw a degradation, turn each of its stages by hand, see every stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike

import numpy as np
import torch
from ipywidgets import Dropdown, FloatSlider, HBox, Image, IntSlider, Label, Layout, VBox
from PIL.Image import Image as PILImage
from torch import Tensor

from bfr_lite.degradation import PUBLISHED_SIZE, Degradation, low_size
from bfr_lite.degradation_params import NAMED_RANGES, DegradationParams, DegradationRanges
from bfr_lite.images import ImageError, resize, to_batch
from bfr_lite.plots import encode_image

SMALLEST, LARGEST = 32, 256  # pixels; larger pictures are shrunk to that, so that a slider is answered at once
SHOWN = 140  # pixels of the screen for each stage
STAGES = ("input", "blur", "down", "noise", "jpeg", "output")
BY_SEVERITY = "by severity"
SCALES = {f"super-resolution ×{scale}": scale for scale in (2, 4, 8)}
PRESETS = (BY_SEVERITY, *NAMED_RANGES, *SCALES)


@dataclass(frozen=True)
class Dial:
    """A slider for one field of `DegradationParams`; the field is `unit` times what the slider shows."""

    label: str
    low: float
    high: float
    step: float
    unit: float = 1.0

    def slider(self) -> FloatSlider | IntSlider:
        """The slider at its low end; of whole numbers where the step is one."""
        kind = IntSlider if self.step == 1 else FloatSlider
        return kind(self.low, min=self.low, max=self.high, step=self.step, description=self.label)


def dials(size: int) -> dict[str, Dial]:
    """A dial for each field of the parameters that can be turned by hand, for pictures of `size` pixels."""
    widest = math.ceil(20 * size / PUBLISHED_SIZE)
    return {
        "sigma_x": Dial("blur σ₁ (px)", 0, widest, 0.1),
        "sigma_y": Dial("blur σ₂ (px)", 0, widest, 0.1),
        "angle": Dial("angle (°)", 0, 180, 0.5, math.pi / 180),
        "down": Dial("shrink by", 0.8, 32, 0.1),
        "noise": Dial("noise (/255)", 0, 50, 0.5),
        "quality": Dial("JPEG (0: no)", 0, 100, 1),
    }


class DegradationPlayground(VBox):
    """What `degradation_playground` shows.

    `preset`, `severity` and `seed` draw `params`, a `DegradationParams` of one picture, and so move `sliders`
    (by field of `params`); a slider turned by hand replaces its field alone. `stages` is what
    `Degradation.apply` made of `params`; `pictures` and `captions` show it (by the names in `STAGES`).
    """

    params: DegradationParams
    stages: dict[str, Tensor]

    def __init__(self, images: Tensor):
        self._images = images
        self._dials = dials(images.shape[-1])
        self._drawing = False
        self.preset = Dropdown(options=PRESETS, description="ranges")
        self.severity = FloatSlider(0.5, min=0, max=1, step=0.05, description="severity")
        self.seed = IntSlider(0, min=0, max=50, description="seed")
        self.sliders = {field: dial.slider() for field, dial in self._dials.items()}
        self.pictures = {name: Image(format="jpeg", width=SHOWN, height=SHOWN) for name in STAGES}
        self.captions = {name: Label() for name in STAGES}
        draws, hand = [self.preset, self.severity, self.seed], list(self.sliders.values())
        shown = [VBox([self.captions[name], self.pictures[name]]) for name in STAGES]
        wrap = Layout(flex_flow="row wrap")
        super().__init__([HBox([VBox(draws), VBox(hand[:3]), VBox(hand[3:])], layout=wrap), HBox(shown, layout=wrap)])
        for control in draws:
            control.observe(self._draw, names="value")
        for field, slider in self.sliders.items():
            slider.observe(partial(self._turn, field), names="value")
        self._draw()

    def _draw(self, change: object = None) -> None:
        """Draw parameters anew, and move the sliders to them."""
        self.severity.disabled = self.preset.value != BY_SEVERITY
        degradation = _degradation(self.preset.value, self._images.shape[-1], self.severity.value)
        self.params = degradation.sample(1, torch.Generator().manual_seed(self.seed.value))
        self._drawing = True  # the sliders follow the draw here, and must not answer it
        for field, slider in self.sliders.items():
            slider.value = getattr(self.params, field).item() / self._dials[field].unit
        self._drawing = False
        self._show()

    def _turn(self, field: str, change: dict) -> None:
        """Replace one field of the parameters by what its slider shows."""
        if self._drawing:
            return
        like = getattr(self.params, field)
        self.params = replace(self.params, **{field: torch.full_like(like, change["new"] * self._dials[field].unit)})
        self._show()

    def _show(self) -> None:
        # Parameters say everything about a degradation: its ranges play no part any more.
        degradation = Degradation(DegradationRanges(), size=None)
        self.stages = degradation.apply(self._images, self.params, return_stages=True)
        for name, caption in _captions(self.params, self.stages).items():
            self.captions[name].value = caption
            self.pictures[name].value = encode_image(self.stages[name][0])


def degradation_playground(image: Tensor | np.ndarray | PILImage | str | PathLike) -> DegradationPlayground:
    """Play with the degradation of one square face: choose ranges, severity and seed, or turn each stage.

    `image`: (3, H, H) or (1, 3, H, H) in [0, 1], a uint8 array, a PIL picture or a path, of 32 pixels or more
    (over 256, it is shrunk). Raises `ImageError`.
    """
    images, _ = to_batch(image)
    count, _, height, width = images.shape
    if count != 1 or height != width or height < SMALLEST:
        raise ImageError(
            f"the playground takes one square picture of {SMALLEST} pixels or more, got {count} of {height}x{width}: "
            "crop the face first"
        )
    return DegradationPlayground(resize(images, min(height, LARGEST)))


def _degradation(preset: str, size: int, severity: float) -> Degradation:
    if preset == BY_SEVERITY:
        return Degradation.of_severity(severity, size)
    return Degradation.super_resolution(SCALES[preset], size) if preset in SCALES else Degradation.named(preset, size)


def _captions(params: DegradationParams, stages: dict[str, Tensor]) -> dict[str, str]:
    size = stages["input"].shape[-1]
    quality = params.quality.item()
    error = (stages["output"] - stages["input"]).square().mean().clamp(min=1e-10)
    return {
        "input": f"input, {size} px",
        "blur": f"blur {params.sigma_x.item():.1f} × {params.sigma_y.item():.1f} px",
        "down": f"shrunk to {low_size(size, params.down.item())} px",
        "noise": f"noise {params.noise.item():.1f}/255",
        "jpeg": f"JPEG {quality}" if quality else "no JPEG",
        "output": f"output, {-10 * error.log10().item():.1f} dB",
    }
