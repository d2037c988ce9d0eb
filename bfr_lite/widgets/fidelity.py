"""The fidelity slider: turn the knob, wipe between what was given and what came out."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from ipywidgets import HTML, FloatSlider, Image, IntSlider, ToggleButtons, VBox
from PIL.Image import Image as PILImage
from torch import Tensor

from bfr_lite.images import ImageError, to_batch, to_square
from bfr_lite.plots import encode_image
from bfr_lite.restorer import Restorer

SHOWN = 384  # pixels of the screen
Pictures = Tensor | np.ndarray | PILImage | str | PathLike


class FidelitySlider(VBox):
    """What `fidelity_slider` shows.

    `fidelity` is the knob; `wipe` uncovers the restored face from right (1) to left (0); `against` chooses what lies
    left of the wipe, "input" or "clean"; `face` chooses one of the batch. `picture` and `caption` show `restored`,
    a (3, size, size) tensor.
    """

    restored: Tensor

    def __init__(self, restorer: Restorer, lq: Tensor, clean: Tensor | None):
        self._restorer, self._sides = restorer, {"input": lq.cpu()}
        if clean is not None:
            self._sides["clean"] = clean.cpu()
        with torch.no_grad():
            self._read, stages = restorer.read(lq)  # does not depend on the knob, so it is done once
        self._trust = stages["trust"]
        self.fidelity = FloatSlider(0.5, min=0, max=1, step=0.05, description="fidelity")
        self.wipe = FloatSlider(0.5, min=0, max=1, step=0.01, description="wipe")
        self.against = ToggleButtons(options=list(self._sides), description="left side")
        self.face = IntSlider(0, min=0, max=len(lq) - 1, description="face")
        self.picture, self.caption = Image(format="jpeg", width=SHOWN, height=SHOWN), HTML()
        chosen = [self.face] * (len(lq) > 1) + [self.against] * (clean is not None)
        super().__init__([self.fidelity, self.wipe, *chosen, self.picture, self.caption])
        for control in (self.fidelity, self.face):
            control.observe(self._restore, names="value")
        for control in (self.wipe, self.against):
            control.observe(self._show, names="value")
        self._restore()

    @torch.no_grad()
    def _restore(self, change: object = None) -> None:
        one = slice(self.face.value, self.face.value + 1)
        output, _ = self._restorer.draw(self._read[one], self._trust[one], self.fidelity.value)
        self.restored = output.image[0].clamp(0, 1).cpu()
        self._show()

    def _show(self, change: object = None) -> None:
        sides = {name: images[self.face.value] for name, images in self._sides.items()}
        size = self.restored.shape[-1]
        shown = wipe(sides[self.against.value], self.restored, self.wipe.value)
        self.picture.value = encode_image(shown, scale=max(1, SHOWN // size))
        distances = (
            f"{(self.restored - side).abs().mean().item():.4f} from the {name}" for name, side in sides.items()
        )
        self.caption.value = f"left: {self.against.value}; right: restored, {', '.join(distances)} (mean |difference|)"


def fidelity_slider(restorer: Restorer, lq: Pictures, clean: Pictures | None = None) -> FidelitySlider:
    """Restore one aligned face, or one of a batch, at any fidelity, and wipe between it and the input.

    `lq` and `clean`: pictures as `Restorer.restore` takes them, as many of one as of the other. Raises `ImageError`.
    """
    device = restorer.codec.mean_ws.device
    size = restorer.preset.size
    given = to_square(to_batch(lq)[0].float(), size).to(device)
    if clean is None:
        return FidelitySlider(restorer, given, None)
    wanted = to_square(to_batch(clean)[0].float(), size)
    if len(wanted) != len(given):
        raise ImageError(f"got {len(given)} damaged and {len(wanted)} clean faces: give as many of one as of the other")
    return FidelitySlider(restorer, given, wanted)


def wipe(left: Tensor, right: Tensor, share: float) -> Tensor:
    """The left `share` of one picture (3, H, W) beside the rest of the other, with a white line where they meet."""
    edge = round(share * left.shape[-1])
    joined = torch.cat([left[..., :edge], right[..., edge:]], dim=-1)
    if 0 < edge < left.shape[-1]:
        joined[..., edge] = 1.0
    return joined
