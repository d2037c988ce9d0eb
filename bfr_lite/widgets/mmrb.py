"""The path inspector: what each path of an MMRB answers, and how much of it speaks of a weak texture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from ipywidgets import Dropdown, FloatSlider, HBox, Image, Label, Layout, ToggleButton, VBox
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from bfr_lite.images import ImageError, to_batch
from bfr_lite.mmrb import MMRB, PATHS
from bfr_lite.plots import encode_image
from bfr_lite.restorer import RestorerOutput

SHOWN = 128  # pixels of the screen for each map
CENTRE = (0.6, 0.5)  # of the probe: nose and mouth of an aligned face


def weak_texture(
    height: int, width: int, contrast: float, period: float, centre: tuple[float, float] = CENTRE
) -> Tensor:
    """A Gabor patch (1, height, width): diagonal stripes that fade out, the usual probe for weak contrast.

    Args:
        height, width: in pixels.
        contrast: of the stripes, from grey to their peak, in the units of the picture.
        period: of the stripes, in pixels.
        centre: (y, x) in fractions of height and width.
    """
    y = torch.arange(height)[:, None] - centre[0] * height
    x = torch.arange(width)[None] - centre[1] * width
    window = torch.exp(-(y.square() + x.square()) / (2 * (min(height, width) / 10) ** 2))
    return (contrast * window * torch.cos(2 * math.pi * (x + y) / (math.sqrt(2) * period)))[None]


@dataclass(frozen=True)
class Reading:
    """What an MMRB made of one picture, and what a probe in that picture changed. Maps are RMS over channels.

    Attributes:
        responses: {path: (H, W)} how strongly each path answers.
        changes: {path: (H, W)} how much of that the probe changed.
        shares: {path: change / response}, of their norms over the whole map; 0 for a silent path.
        share_in, share_out: the same for the features that enter and leave the block.
        added: (H, W) what the block adds to the features.
        drawn: (3, h, w) the picture that the whole network gives, in about [0, 1], or None where it gives none.
    """

    responses: dict[str, Tensor]
    changes: dict[str, Tensor]
    shares: dict[str, float]
    share_in: float
    share_out: float
    added: Tensor
    drawn: Tensor | None


@torch.no_grad()
def inspect(
    network: nn.Module, image: Tensor, probe: Tensor, name: str | None = None, paths: Sequence[str] = PATHS
) -> Reading:
    """Read one MMRB of a network, with `probe` in the picture and without.

    Args:
        network: an `MMRB`, or any module that holds some and takes pictures, such as a `Restorer`. To a lone block,
            feature i is colour i mod 3 of the picture, in [-1, 1].
        image: (3, H, W) in [0, 1].
        probe: added to the picture, (1, H, W) or (3, H, W).
        name: of the block, one of `blocks(network)`; the first unless given.
        paths: those that work, in every block of the network; the others are silent. The network is left as it was.

    Raises:
        ValueError: the network holds no MMRB, or none of that name.
    """
    found = blocks(network)
    name = next(iter(found)) if name is None else name
    if name not in found:
        raise ValueError(f"no MMRB named {name!r}; there are {', '.join(found)}")
    block = found[name]
    batch = torch.stack([(image + probe).clamp(0, 1), image]).to(block.reduce.weight)
    if network is block:
        batch = (batch * 2 - 1)[:, [i % 3 for i in range(block.reduce.in_channels)]]
    with only_paths(found.values(), paths):
        x, out, drawn = _through(network, block, batch)
        answers = block.responses(x)
    return Reading(
        responses={path: _rms(answer[0]) for path, answer in answers.items()},
        changes={path: _rms(answer[0] - answer[1]) for path, answer in answers.items()},
        shares={path: _share(answer) for path, answer in answers.items()},
        share_in=_share(x),
        share_out=_share(out),
        added=_rms(out[0] - x[0]),
        drawn=drawn,
    )


def blocks(network: nn.Module) -> dict[str, MMRB]:
    """The MMRBs of a network by their names, in order. Raises `ValueError` when there are none."""
    found = {name: module for name, module in network.named_modules() if isinstance(module, MMRB)}
    if not found:
        raise ValueError(f"this {type(network).__name__} holds no MMRB: give a block, or a network made with some")
    return found


@contextmanager
def only_paths(found: Sequence[MMRB], paths: Sequence[str]) -> Iterator[None]:
    """Within it, only `paths` of the blocks work."""
    with ExitStack() as stack:
        for block in found:
            stack.callback(setattr, block, "active", block.active)
            block.active = block.active & set(paths)
        yield


class MMRBInspector(VBox):
    """What `mmrb_inspector` shows.

    `block` chooses the MMRB; `contrast` and `period` set the probe. By path: `toggles` silence it in every block,
    `responses` and `changes` are maps of `reading`, each stretched to its own range, `shares` say how much of the
    answer is the probe. `probed` is the picture with the probe in it, `added` what the block adds, `drawn` what the
    whole network gives (empty where that is no picture).
    """

    reading: Reading

    def __init__(self, network: nn.Module, image: Tensor):
        self._network, self._image = network, image
        found = blocks(network)
        names = [path for path in PATHS if any(path in block.names for block in found.values())]
        self.block = Dropdown(options=[(name or "this block", name) for name in found], description="block")
        self.contrast = FloatSlider(0.04, min=0, max=0.3, step=0.01, description="contrast")
        self.period = FloatSlider(4, min=2, max=16, step=0.5, description="period (px)")
        self.toggles = {path: ToggleButton(True, description=path, layout=_WIDE) for path in names}
        self.responses = {path: _screen() for path in names}
        self.changes = {path: _screen() for path in names}
        self.shares = {path: Label() for path in names}
        self.probed, self.added, self.drawn = _screen(), _screen(), _screen()
        self.share_in, self.share_out = Label(), Label()
        self._drawn = VBox([Label("the network draws"), self.drawn])
        columns = [
            VBox([self.toggles[path], self.responses[path], self.changes[path], self.shares[path]]) for path in names
        ]
        before = VBox([Label("picture and probe"), self.probed, self.share_in])
        after = VBox([Label("the block adds"), self.added, self.share_out])
        wrap = Layout(flex_flow="row wrap")
        controls = (self.block, self.contrast, self.period)
        super().__init__([HBox(controls, layout=wrap), HBox([before, *columns, after, self._drawn], layout=wrap)])
        for control in (*controls, *self.toggles.values()):
            control.observe(self._show, names="value")
        self._show()

    def _show(self, change: object = None) -> None:
        probe = weak_texture(*self._image.shape[1:], self.contrast.value, self.period.value)
        paths = [path for path, toggle in self.toggles.items() if toggle.value]
        self.reading = reading = inspect(self._network, self._image, probe, self.block.value, paths)
        self.probed.value = encode_image((self._image + probe).clamp(0, 1))
        self.added.value = _encode(reading.added)
        self._drawn.layout.display = "none" if reading.drawn is None else None
        self.drawn.value = b"" if reading.drawn is None else encode_image(reading.drawn)
        self.share_in.value = f"probe: {reading.share_in:.1%} coming in"
        self.share_out.value = f"probe: {reading.share_out:.1%} going out"
        for path in self.toggles:
            here = path in reading.responses
            self.responses[path].value = _encode(reading.responses[path]) if here else b""
            self.changes[path].value = _encode(reading.changes[path]) if here else b""
            self.shares[path].value = f"probe: {reading.shares[path]:.1%}" if here else "not built"


def mmrb_inspector(network: nn.Module, image: Tensor | np.ndarray | PILImage | str | PathLike) -> MMRBInspector:
    """Look into the MMRBs of a network: silence paths, see their answers, and put a weak texture to the test.

    Args:
        network: an `MMRB`, or any module that holds some and takes pictures, such as a `Restorer`.
        image: (3, H, W) in [0, 1], a uint8 array, a PIL picture or a path, of the size that the network takes.

    Raises `ImageError` for anything else than one picture, `ValueError` when the network holds no MMRB.
    """
    batch, _ = to_batch(image)
    if len(batch) != 1:
        raise ImageError(f"the inspector takes one picture, got {len(batch)}: give one of them")
    return MMRBInspector(network, batch[0])


def _through(network: nn.Module, block: MMRB, batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """What enters `block`, what leaves it, and the first picture the network gives."""
    caught: list[Tensor] = []
    hook = block.register_forward_hook(lambda module, given, out: caught.extend((given[0], out)))
    try:
        output = network(batch)
    finally:
        hook.remove()
    picture = output.image if isinstance(output, RestorerOutput) else output
    drawn = isinstance(picture, Tensor) and picture.ndim == 4 and picture.shape[1] == 3
    return caught[0], caught[1], picture[0] if drawn and network is not block else None


def _rms(x: Tensor) -> Tensor:
    """(C, H, W) -> (H, W)."""
    return x.square().mean(dim=0).sqrt()


def _share(answer: Tensor) -> float:
    """How much of the first of two answers (2, C, H, W) the second lacks."""
    return ((answer[0] - answer[1]).norm() / answer[0].norm().clamp(min=1e-12)).item()


def _encode(values: Tensor) -> bytes:
    """A map (H, W) >= 0 as a grey JPEG, white where it is largest."""
    grey = (values / values.max().clamp(min=1e-8)).expand(3, -1, -1)
    return encode_image(grey, max(1, SHOWN // max(values.shape)))


_WIDE = Layout(width=f"{SHOWN}px")


def _screen() -> Image:
    return Image(format="jpeg", width=SHOWN)
