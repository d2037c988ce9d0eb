"""The supervision viewer: what teacher and student read off one face, and what becomes of the repair, damaged again."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from ipywidgets import HTML, Dropdown, FloatSlider, HBox, Image, IntSlider, Label, Layout, VBox
from PIL.Image import Image as PILImage
from torch import Tensor

from bfr_lite.degradation import Degradation
from bfr_lite.images import to_batch, to_square
from bfr_lite.plots import encode_image, signed_map
from bfr_lite.restorer import Restorer
from bfr_lite.training.losses import TAUGHT, charbonnier, feature_distance

SHOWN = 160  # pixels of the screen for each picture
TIMES = 2  # a difference of pictures is shown so many times as large
AGAIN = ("clean", "damaged", "drawn", "damaged again", f"difference ×{TIMES}")
READ = ("teacher reads", "student reads", "student − teacher")


class SupervisionViewer(VBox):
    """What `supervision_viewer` shows.

    `severity` and `seed` damage the face that `face` chooses, `fidelity` is the restorer's knob; `resolution` and
    `channel` choose a feature map. `shown` holds (3, H, W) pictures in [0, 1], by the names in `AGAIN` and `READ`, and
    `pictures` puts them on the screen. `caption` tells the distances that the training signals press on.
    """

    shown: dict[str, Tensor]

    def __init__(self, student: Restorer, teacher: Restorer, clean: Tensor):
        self._student, self._teacher, self._clean = student, teacher, clean
        self.face = IntSlider(0, min=0, max=len(clean) - 1, description="face")
        self.severity = FloatSlider(0.5, min=0, max=1, step=0.05, description="severity")
        self.seed = IntSlider(0, min=0, max=50, description="seed")
        self.fidelity = FloatSlider(1.0, min=0, max=1, step=0.05, description="fidelity")
        self.resolution = Dropdown(options=[(f"{r} px", r) for r in TAUGHT], value=16, description="features")
        self.channel = IntSlider(0, min=0, description="channel")
        self.pictures = {name: Image(format="jpeg", width=SHOWN, height=SHOWN) for name in (*AGAIN, *READ)}
        self.caption = HTML()
        damage = [self.face] * (len(clean) > 1) + [self.severity, self.seed, self.fidelity]
        rows = [VBox([Label(name), picture]) for name, picture in self.pictures.items()]
        wrap = Layout(flex_flow="row wrap")
        controls = HBox([VBox(damage), VBox([self.resolution, self.channel])], layout=wrap)
        again, read = HBox(rows[: len(AGAIN)], layout=wrap), HBox(rows[len(AGAIN) :], layout=wrap)
        super().__init__([controls, again, read, self.caption])
        for control in (self.face, self.severity, self.seed):
            control.observe(self._read, names="value")
        self.fidelity.observe(self._draw, names="value")
        self.resolution.observe(self._set_channels, names="value")
        self.channel.observe(self._show, names="value")
        self._read()
        self._set_channels()

    @torch.no_grad()
    def _read(self, change: object = None) -> None:
        """Damage the face; let the teacher read the clean one and the student the damaged one."""
        clean = self._clean[self.face.value][None]
        self._degradation = Degradation.of_severity(self.severity.value, clean.shape[-1])
        self._params = self._degradation.sample(1, torch.Generator().manual_seed(self.seed.value))
        lq = self._degradation.apply(clean.cpu(), self._params).to(clean)
        self._given, self._stages = self._student.read(lq)
        self._taught_ws, self._taught = self._teacher.codec.encode(clean)
        self._pair = {"clean": clean[0], "damaged": lq[0]}
        self._draw()

    @torch.no_grad()
    def _draw(self, change: object = None) -> None:
        """Draw what the student read, and damage that again, as the loss does: before the trust map blends."""
        _, stages = self._student.draw(self._given, self._stages["trust"], self.fidelity.value)
        self._pair["drawn"] = stages["drawn"][0].clamp(0, 1)
        again = self._degradation.apply_differentiable(self._pair["drawn"][None], self._params)[0]
        self._pair |= {"damaged again": again}
        self._show()

    def _set_channels(self, change: object = None) -> None:
        """As many channels as the resolution has."""
        self.channel.max = self._taught[self.resolution.value].shape[1] - 1
        self._show()

    def _show(self, change: object = None) -> None:
        again, lq = self._pair["damaged again"], self._pair["damaged"]
        self.shown = {name: picture.cpu() for name, picture in self._pair.items()}
        self.shown[AGAIN[-1]] = (0.5 + TIMES * (again - lq)).clamp(0, 1).cpu()
        self.shown |= dict(zip(READ, self._maps(), strict=True))
        for name, picture in self.shown.items():
            self.pictures[name].value = encode_image(picture, max(1, SHOWN // picture.shape[-1]))
        self.caption.value = self._distances(again, lq)

    def _maps(self) -> tuple[Tensor, ...]:
        """A channel of both encoders and their difference, as the loss compares them: each place of unit length."""
        r = self.resolution.value
        maps = [F.normalize(x, dim=1)[0, self.channel.value].cpu() for x in (self._taught[r], self._student_map(r))]
        side_by_side = torch.cat([*maps, maps[1] - maps[0]], dim=1)
        return signed_map(side_by_side).chunk(3, dim=2)  # coloured together: the same colour is the same number

    def _student_map(self, resolution: int) -> Tensor:
        return self._stages[f"encoder.{resolution}"]

    def _distances(self, again: Tensor, lq: Tensor) -> str:
        apart = {r: feature_distance([self._student_map(r)], [self._taught[r]]).item() for r in TAUGHT}
        codes = F.mse_loss(self._given.ws, self._taught_ws).item()
        features = ", ".join(f"{value:.3f} at {r} px" for r, value in apart.items())
        return (
            f"<b>teacher</b>: codes {codes:.4f} apart (mean square), features {features} · "
            f"<b>re-degradation</b>: damaged again, {charbonnier(again[None], lq[None]).item():.4f} from the input "
            "(Charbonnier). Feature maps: blue below zero, orange above."
        )


def supervision_viewer(
    student: Restorer, clean: Tensor | np.ndarray | PILImage | str | PathLike, teacher: Restorer | None = None
) -> SupervisionViewer:
    """Look at the self-supervised signals of training on one clean face, or one of a batch.

    Above: the face, damaged, drawn by `student`, damaged again in the same way, and how far that is from the input.
    Below: a channel of what `teacher` (the average of the student in training; the student itself when None) reads off
    the clean face, beside what the student reads off the damaged one. `clean`: pictures as `Restorer.restore` takes
    them. Raises `ImageError` for what is no picture, `ValueError` when teacher and student are of different presets.
    """
    teacher = teacher or student
    if teacher.preset != student.preset:
        raise ValueError(f"the teacher is of preset {teacher.preset.name!r}, the student of {student.preset.name!r}")
    faces = to_square(to_batch(clean)[0].float(), student.preset.size)
    return SupervisionViewer(student, teacher, faces.to(student.codec.mean_ws.device))
