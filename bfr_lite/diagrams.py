"""Diagrams of networks: boxes and arrows with shapes on them, in the colours of the other figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from bfr_lite.plots import DOTS, Picture, drawing

Point = tuple[float, float]
INK, PALE = "#333333", "#8A8A8A"


@dataclass(frozen=True)
class Box:
    """A box in a diagram, by its centre and size in inches; its four sides are points that arrows start and end at."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """Middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """Middle of the right side."""
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> Point:
        """Middle of the upper side."""
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        """Middle of the lower side."""
        return self.x, self.y - self.height / 2


class Diagram:
    """A plane `width` x `height` inches, the origin at the lower left, to draw boxes and arrows on.

    Example:
        diagram = Diagram(4, 1)
        convolution = diagram.box(1, 0.5, "conv 3x3")
        activation = diagram.box(3, 0.5, "leaky ReLU")
        diagram.arrow(convolution.right, activation.left, label="16 x 64 x 64")
        diagram.picture("A convolution, then an activation.")
    """

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), dpi=DOTS, layout="none")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axes.set_axis_off()

    def box(
        self,
        x: float,
        y: float,
        text: str,
        width: float = 1.2,
        height: float = 0.5,
        colour: str = "#0072B2",
        dashed: bool = False,
        pale: bool = False,
    ) -> Box:
        """Draw a box around `text`, tinted with `colour` or, if `pale`, hardly there; its centre at (x, y)."""
        shape = FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="none" if pale else (colour, 0.15),
            edgecolor=PALE if pale else colour,
            linestyle="--" if dashed else "-",
            linewidth=0.7 if pale else 1.3,
        )
        self.axes.add_patch(shape)
        self.note(x, y, text, pale=pale)
        return Box(x, y, width, height)

    def arrow(
        self, *points: Point, label: str = "", colour: str = INK, dashed: bool = False, pale: bool = False
    ) -> None:
        """Draw an arrow along straight lines through two or more `points`; `label` stands at the longest of them."""
        line = FancyArrowPatch(
            path=Path(points),
            arrowstyle="-|>",
            mutation_scale=9,
            color=PALE if pale else colour,
            linewidth=0.7 if pale else 1.1,
            linestyle="--" if dashed else "-",
            joinstyle="round",
        )
        self.axes.add_patch(line)
        (x0, y0), (x1, y1) = max(pairwise(points), key=lambda pair: math.dist(*pair))
        steep = abs(y1 - y0) > abs(x1 - x0)
        x, y = (x0 + x1) / 2 + 0.06 * steep, (y0 + y1) / 2 + 0.11 * (not steep)
        self.note(x, y, label, size=7.5, align="left" if steep else "center", pale=pale)

    def note(self, x: float, y: float, text: str, size: float = 8.5, align: str = "center", pale: bool = False) -> None:
        """Write `text` at (x, y), `size` in points."""
        ink = PALE if pale else INK
        self.axes.text(x, y, text, ha=align, va="center", fontsize=size, color=ink, linespacing=1.25)

    def picture(self, alt: str) -> Picture:
        """The diagram as a PNG that a notebook shows, with its alternative text."""
        return drawing(self.figure, alt)
