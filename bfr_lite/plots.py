"""Figures: one style for the whole series, pictures as small JPEGs, lines as PNGs, each with alternative text.

`gallery` gives a `Picture`, which a notebook shows when it is the last value of a cell. Line plots are ordinary
matplotlib figures drawn under `use_style()`, shown by `chart`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from bfr_lite.images import tensor_to_pil

# Okabe and Ito's colours, told apart by the colour-blind, ordered so that they also differ in greyscale.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
LINES = ("-", "--", "-.", ":")
DOTS = 100  # an inch, where a picture is shown


@dataclass(frozen=True)
class Picture:
    """An encoded picture with alternative text, shown by a notebook `width` dots wide and readable on GitHub."""

    data: bytes
    alt: str
    mime: str = "image/jpeg"
    width: int | None = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict[str, str], dict]:
        data = {self.mime: base64.b64encode(self.data).decode(), "text/plain": self.alt}
        return data, {self.mime: {"width": self.width}} if self.width else {}


def use_style() -> None:
    """Set matplotlib's defaults for the series: white ground, quiet axes, colour-blind colours with line styles."""
    cycle = plt.cycler(color=COLOURS[:4]) + plt.cycler(linestyle=LINES)
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycle,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "figure.figsize": (7, 3.2),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "legend.frameon": False,
        }
    )


def gallery(
    rows: Mapping[str, Tensor] | Tensor,
    titles: Sequence[str] = (),
    alt: str = "",
    width: float = 9.0,
    columns: int | None = None,
) -> Picture:
    """Lay pictures out in labelled rows.

    Args:
        rows: {label: (B, 3, H, W) in [0, 1]}, each a row; or one tensor (B, 3, H, W), broken into rows of `columns`.
        titles: column titles.
        alt: alternative text; made from labels and titles when empty.
        width: of the whole figure in inches, at 100 dots an inch.
    """
    if isinstance(rows, Tensor):
        rows = {" " * index: part for index, part in enumerate(rows.split(columns or len(rows)))}
    count = columns or max(len(row) for row in rows.values())
    labelled = any(label.strip() for label in rows)
    heights = [row.shape[-2] / row.shape[-1] for row in rows.values()]
    margin = 1.1 if labelled else 0.05
    cell = (width - margin) / count
    figure = Figure(figsize=(width, sum(heights) * cell + (0.35 if titles else 0.1)), dpi=100, layout="none")
    axes = figure.subplots(len(rows), count, squeeze=False, gridspec_kw={"height_ratios": heights})
    figure.subplots_adjust(
        margin / width, 0.01, 0.995, 1 - (0.3 if titles else 0.03) / figure.get_figheight(), 0.03, 0.03
    )
    for line, (label, row) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, row, strict=False):
            axis.imshow(tensor_to_pil(picture), interpolation="auto", aspect="auto")
        for axis in line:
            axis.set_axis_off()
        if label.strip():
            line[0].text(
                -0.06, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=9, wrap=False
            )
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=9, pad=3)
    described = f"Rows: {', '.join(label for label in rows if label.strip())}. Columns: {', '.join(titles)}."
    return Picture(encode(figure), alt or described)


def chart(alt: str) -> Picture:
    """The current pyplot figure as a picture with alternative text, for the last line of a cell; closes the figure."""
    figure = plt.gcf()
    plt.close(figure)
    return drawing(figure, alt)


def drawing(figure: Figure, alt: str) -> Picture:
    """A figure of lines and letters as a PNG of 256 colours, drawn twice as sharp as shown, for readers who zoom in."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * DOTS)
    small = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="png", optimize=True)
    return Picture(buffer.getvalue(), alt, "image/png", round(DOTS * figure.get_figwidth()))


def encode(figure: Figure, format: str = "jpeg") -> bytes:
    """A matplotlib figure as JPEG (or PNG) bytes."""
    buffer = io.BytesIO()
    # colour at full resolution: halved, thin blue and orange lines side by side turn grey
    options = {"pil_kwargs": {"quality": 80, "subsampling": 0}} if format == "jpeg" else {}
    figure.savefig(buffer, format=format, **options)
    return buffer.getvalue()


def encode_image(image: Tensor, scale: int = 1) -> bytes:
    """A (3, H, W) picture in [0, 1] as JPEG bytes, enlarged `scale` times without smoothing, for widgets."""
    buffer = io.BytesIO()
    enlarged = image.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    tensor_to_pil(enlarged).save(buffer, format="jpeg", quality=90)
    return buffer.getvalue()


def signed_map(x: Tensor) -> Tensor:
    """A signed map (H, W) as a (3, H, W) picture: dark blue below zero, white at zero, orange above.

    In greyscale what is below zero is nearly black at its strongest, what is above never darker than two thirds white.
    """
    limit = x.abs().max().clamp(min=1e-8)
    unit = (x / limit).clamp(-1, 1)[None]
    above = torch.tensor([0.90, 0.62, 0.0])[:, None, None]
    below = torch.tensor([0.0, 0.18, 0.42])[:, None, None]
    return torch.where(unit > 0, 1 - unit * (1 - above), 1 + unit * (1 - below))
