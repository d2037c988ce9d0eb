"""Figures of the notebooks: encoded, described, and left behind nowhere."""

import io

import matplotlib.pyplot as plt
import torch
from PIL import Image

from bfr_lite.plots import chart, signed_map


def test_a_chart_is_the_current_figure_with_alternative_text_and_is_shown_once():
    plt.close("all")
    plt.subplots(figsize=(3, 2), dpi=100)
    plt.plot([0, 1], [1, 0])
    picture = chart("A line that falls.")
    assert Image.open(io.BytesIO(picture.data)).size == (600, 400)
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"} and data["text/plain"] == "A line that falls."
    assert metadata == {"image/png": {"width": 300}}
    assert not plt.get_fignums()  # else the notebook would show it again, without words


def test_the_signs_of_a_map_are_told_apart_without_colour():
    below, zero, above = (
        torch.tensor([0.299, 0.587, 0.114]) @ signed_map(torch.tensor([[-1.0, 0.0, 1.0]]))[:, 0]
    ).tolist()
    assert below < 0.2 and 0.6 < above < 0.8 and zero > 0.99
