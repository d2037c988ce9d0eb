"""Diagrams: what is drawn can be seen, where it was said to be."""

import io

from PIL import Image

from bfr_lite.diagrams import Box, Diagram
from bfr_lite.images import pil_to_tensor


def pixels(diagram: Diagram):
    picture = diagram.picture("two boxes")
    assert (picture.mime, picture.alt) == ("image/png", "two boxes")
    return pil_to_tensor(Image.open(io.BytesIO(picture.data)))


def dark(image) -> bool:
    return bool((image < 0.5).any())


def test_a_diagram_is_a_png_of_its_size_with_alternative_text():
    assert pixels(Diagram(3, 1)).shape == (3, 100, 300)


def test_boxes_have_sides_that_arrows_can_use():
    box = Box(2, 1, 1, 0.5)
    assert (box.left, box.right, box.top, box.bottom) == ((1.5, 1), (2.5, 1), (2, 1.25), (2, 0.75))


def test_boxes_and_arrows_are_drawn_where_they_were_put():
    diagram = Diagram(4, 1)
    first, second = diagram.box(0.7, 0.5, "first", 1, 0.6), diagram.box(3.3, 0.5, "second", 1, 0.6)
    assert not dark(pixels(diagram)[:, :, 150:250])
    diagram.arrow(first.right, second.left, label="16")
    image = pixels(diagram)
    assert dark(image[:, 40:60, 150:250])
    assert not dark(image[:, :25, 130:270]) and not dark(image[:, 70:, 130:270])


def test_arrows_go_by_way_of_every_point():
    diagram = Diagram(2, 2)
    diagram.arrow((0.2, 1.8), (0.2, 0.2), (1.8, 0.2))
    image = pixels(diagram)
    assert dark(image[:, 50:150, 10:30]) and dark(image[:, 170:190, 50:150])
    assert not dark(image[:, 20:160, 40:])
