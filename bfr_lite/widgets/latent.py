"""Walk through a prior's faces: two seeds, truncation, where the second face has its say, turning and smiling."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import torch
from torch import Tensor

from bfr_lite.plots import encode_image
from bfr_lite.stylegan2 import Generator

DISPLAY_SIDE = 256  # pixels a face is shown at, unless the network's own size is larger
REACH = {"yaw": 15.0, "pitch": 4.0, "smile": 10.0}  # of the sliders: about as far as samples differ


def mix_styles(first: Tensor, second: Tensor, resolution: int) -> Tensor:
    """Codes of `first` below `resolution`, of `second` from there on (style mixing: StyleGAN, Karras et al., 3.1).

    Args:
        first, second: (B, num_ws, w_dim) codes.
        resolution: in pixels, a power of two from 4, which gives all of `second`, to twice the network's size, which
            gives all of `first`. The RGB layer below it shares a code with its first convolution, so changes with it.

    Raises:
        ValueError: the shapes differ, or a network that takes so many codes has no such resolution.
    """
    if first.shape != second.shape or first.ndim != 3:
        given = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"both must have the same shape (B, num_ws, w_dim), got {given}")
    levels, count = first.shape[1] // 2, first.shape[1]
    starts = {4 * 2**level: max(0, 2 * level - 1) for level in range(levels)} | {4 * 2**levels: count}
    if resolution not in starts:
        raise ValueError(f"resolution must be one of {list(starts)} for {count} codes, got {resolution}")
    start = starts[resolution]
    return torch.cat([first[:, :start], second[:, start:]], dim=1)


def latent_explorer(generator: Generator, directions: Mapping[str, Tensor] | None = None) -> ipywidgets.VBox:
    """Two random faces of a prior and their mixture, side by side; with `directions`, the mixture turns and smiles.

    The children, in order: first seed and second seed (integer sliders), truncation (0 to 1), crossover (selection
    slider: the resolution from which the second face's codes serve), a slider for each of `directions` (what
    `directions.find_directions` finds, in its units), the picture (JPEG), a caption (HTML).
    """
    style, layout = {"description_width": "8em"}, ipywidgets.Layout(width="32em")
    first = ipywidgets.IntSlider(1, 0, 99, description="first seed", style=style, layout=layout)
    second = ipywidgets.IntSlider(2, 0, 99, description="second seed", style=style, layout=layout)
    truncation = ipywidgets.FloatSlider(
        0.7, min=0, max=1, step=0.05, description="truncation", style=style, layout=layout
    )
    options = [(f"{r} px", r) for r in generator.resolutions] + [("never", 2 * generator.size)]
    crossover = ipywidgets.SelectionSlider(
        options=options, value=16, description="second from", style=style, layout=layout
    )
    sliders = {
        name: ipywidgets.FloatSlider(
            0, min=-REACH[name], max=REACH[name], step=REACH[name] / 10, description=name, style=style, layout=layout
        )
        for name in directions or {}
    }
    picture, caption = ipywidgets.Image(format="jpeg"), ipywidgets.HTML()

    def draw(change: object = None) -> None:
        codes = [sample_seed(generator, slider.value, truncation.value) for slider in (first, second)]
        moved = sum(slider.value * directions[name] for name, slider in sliders.items())
        ws = torch.cat([*codes, mix_styles(*codes, crossover.value) + moved])
        picture.value = encode_image(_side_by_side(generator, ws), max(1, DISPLAY_SIDE // generator.size))
        caption.value = (
            f"Left: seed {first.value}. Middle: seed {second.value}. Right: the left face, with the codes of the "
            f"middle one from: {crossover.label}"
            + "".join(f", {name} {slider.value:+g}" for name, slider in sliders.items() if slider.value)
            + "."
        )

    controls = [first, second, truncation, crossover, *sliders.values()]
    for control in controls:
        control.observe(draw, names="value")
    draw()
    return ipywidgets.VBox([*controls, picture, caption])


def sample_seed(generator: Generator, seed: int, truncation: float) -> Tensor:
    """Codes (1, num_ws, w_dim) of the face that a seed stands for in the explorer."""
    return generator.sample(1, torch.Generator().manual_seed(seed), truncation)


@torch.no_grad()
def _side_by_side(generator: Generator, ws: Tensor) -> Tensor:
    """(B, num_ws, w_dim) codes -> one picture (3, size, B size)."""
    return torch.cat(list(generator(ws).clamp(0, 1)), dim=2)
