"""Restore your own photo: upload it, pick a face, turn the knob, let the face adapt, download the result."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
import torch
from ipywidgets import HTML, Button, Dropdown, FileUpload, FloatSlider, HBox, Image, IntProgress, ToggleButtons, VBox
from PIL import Image as PILImage
from torch import Tensor

from bfr_lite.adaptation import adapt
from bfr_lite.alignment import FaceError
from bfr_lite.cascade import LIMITS
from bfr_lite.images import ImageError
from bfr_lite.photo_files import PhotoFile, png_of, read_upload
from bfr_lite.photos import (
    SCALES,
    FoundFace,
    available_detector,
    cut_out,
    draw_faces,
    find_faces,
    put_back,
)
from bfr_lite.plots import encode_image
from bfr_lite.restorer import Restorer
from bfr_lite.widgets.fidelity import wipe
from bfr_lite.widgets.screen import show

SHOWN = 320  # pixels of the screen that the face takes
OVERVIEW = 560  # pixels that the photo takes at most
STEPS = 20  # of adaptation


class PhotoRestorer(VBox):
    """What `photo_restorer` shows.

    `upload` takes a photo; `face` picks one of the `faces` found; `fidelity` is the knob; `wipe` uncovers the restored
    face from right (1) to left (0); `adapt` fits the face to the photo; `scale` and `make` prepare the file, which
    `download` then links to. `overview`, `picture` and `caption` show it all. `result` (H, W, 3) uint8 is the file's.
    """

    result: np.ndarray | None = None

    def __init__(self, restorer: Restorer, photo: np.ndarray | None):
        self._restorer, self._device = restorer, restorer.codec.mean_ws.device
        self._detector, remark = available_detector()
        self.upload = FileUpload(accept="image/*", description="your photo")
        self.face = Dropdown(description="face")
        self.fidelity = FloatSlider(0.5, min=0, max=1, step=0.05, description="fidelity", continuous_update=False)
        self.wipe = FloatSlider(0.5, min=0, max=1, step=0.01, description="wipe")
        self.adapt = Button(description="adapt to this face", tooltip="some seconds; better fit, more risk")
        self.progress = IntProgress(0, min=0, max=STEPS)
        self.scale = ToggleButtons(options=[(f"x{scale}", scale) for scale in SCALES], description="size")
        self.make = Button(description="make the file")
        self.download, self.caption = HTML(), HTML()
        self.overview, self.picture = Image(format="jpeg"), Image(format="jpeg", width=SHOWN, height=SHOWN)
        self.remark = HTML(html.escape(f"No YuNet here: {LIMITS}.") if remark else "")
        face = VBox([self.face, self.fidelity, self.wipe, self.picture, HBox([self.adapt, self.progress])])
        super().__init__(
            [self.upload, self.remark, HBox([self.overview, face]), self.caption, self.scale, self.make, self.download]
        )
        self.upload.observe(self._uploaded, names="value")
        self.face.observe(self._restore, names="value")
        self.fidelity.observe(self._restore, names="value")
        self.wipe.observe(self._show, names="value")
        self.scale.observe(self._forget, names="value")
        self.adapt.on_click(self._adapt)
        self.make.on_click(self._make)
        for picture in (self.overview, self.picture):
            show(picture, b"")
        if photo is not None:
            self._open(PhotoFile(photo))

    def _uploaded(self, change: object = None) -> None:
        if not self.upload.value:
            return
        try:
            self._open(read_upload(bytes(self.upload.value[0]["content"])))
        except (ImageError, FaceError) as error:
            self.caption.value = f"<b>{html.escape(str(error))}</b>"

    def _open(self, photo: PhotoFile) -> None:
        self.faces: tuple[FoundFace, ...] = find_faces(photo.pixels, self._detector)
        self._photo, self._crops = photo, cut_out(photo.pixels, self.faces, self._restorer.preset.size)
        self._adapted: dict[int, Tensor] = {}
        shown = PILImage.fromarray(draw_faces(photo.pixels, self.faces))
        shown.thumbnail((OVERVIEW, OVERVIEW))
        show(self.overview, _jpeg(shown))
        numbers = [number for number, one in enumerate(self.faces, start=1) if not one.left_out]
        left = [f"face {n} is left out, {one.left_out}" for n, one in enumerate(self.faces, start=1) if one.left_out]
        self._found = "; ".join([f"{len(self.faces)} found", *left])
        with torch.no_grad():
            given = self._crops.to(self._device)
            self._read, stages = self._restorer.read(given) if len(numbers) else (None, {"trust": None})
        self._trust = stages["trust"]
        self.face.options = [
            (f"{number}, turned by {self.faces[number - 1].yaw:+.0f}°", index) for index, number in enumerate(numbers)
        ]
        show(self.picture, b"")
        self.caption.value = f"no face to restore: {html.escape(self._found)}"
        self.face.value = 0 if numbers else None
        self._restore()

    @torch.no_grad()
    def _drawn(self, index: int) -> Tensor:
        """One face (3, size, size) as the knob now stands."""
        if index in self._adapted:
            return self._adapted[index]
        one = slice(index, index + 1)
        output, _ = self._restorer.draw(self._read[one], self._trust[one], self.fidelity.value)
        return output.image[0].clamp(0, 1).cpu()

    def _restore(self, change: dict | None = None) -> None:
        self._forget()
        if self.face.value is None:
            return
        if change and change["owner"] is self.fidelity:
            self._adapted.clear()  # what was adapted was adapted at another fidelity
        self.caption.value = html.escape(self._found)
        self._show()

    def _show(self, change: object = None) -> None:
        if self.face.value is not None:
            both = wipe(self._crops[self.face.value], self._drawn(self.face.value), self.wipe.value)
            show(self.picture, encode_image(both, scale=max(1, SHOWN // both.shape[-1])))

    def _adapt(self, button: Button) -> None:
        if self.face.value is None:
            return
        index = self.face.value
        crop = self._crops[index : index + 1].to(self._device)
        adapted = adapt(
            self._restorer, crop, self.fidelity.value, STEPS, on_step=lambda n: setattr(self.progress, "value", n)
        )
        self._adapted[index] = adapted.after[0].cpu()
        self._forget()
        self.caption.value = (
            f"damaged again, the face is {adapted.distances[0]:.4f} from the photo before and "
            f"{adapted.distances[-1]:.4f} after (mean |difference|). The damage was guessed; a better fit is no proof."
        )
        self._show()

    def _make(self, button: Button) -> None:
        if self.face.value is None:
            return
        restored = torch.stack([self._drawn(index) for index in range(len(self._crops))])
        self.result = put_back(self._photo.pixels, self.faces, self._crops, restored, self.scale.value)
        data = base64.b64encode(png_of(self._photo, self.result)).decode()
        height, width = self.result.shape[:2]
        self.download.value = (
            '<a class="jupyter-button widget-button mod-success" style="width: auto" download="restored.png" '
            f'href="data:image/png;base64,{data}">Download restored.png, {width}x{height} pixels</a>'
        )

    def _forget(self, change: object = None) -> None:
        """What was made is no longer what is shown."""
        self.result, self.download.value = None, ""


def photo_restorer(restorer: Restorer | None = None, photo: np.ndarray | None = None) -> PhotoRestorer:
    """Restore the faces of an uploaded photo, or of `photo` (H, W, 3) uint8 RGB, one after the other.

    `restorer` is the shipped one by default. YuNet finds the faces, or what stands in for it, with a remark.
    """
    return PhotoRestorer(restorer or Restorer.from_pretrained("lite"), photo)


def _jpeg(picture: PILImage.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    return stream.getvalue()
