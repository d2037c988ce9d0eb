"""Figures of the notebooks: encoded, described, and left behind nowhere."""

import io

import matplotlib.pyplot as plt
from PIL import Image

from bfr_lite.plots import chart


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
