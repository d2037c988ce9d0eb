"""Diagrams: what is drawn can be seen, where it was said to be."""

import io

import pytest
import torch
from PIL import Image

from bfr_lite import AsymmetricCodec, Generator, preset
from bfr_lite.architecture import PARTS, architecture
from bfr_lite.diagrams import Box, Diagram
from bfr_lite.images import pil_to_tensor


def pixels(diagram: Diagram):
    """The picture at the size at which it is shown, 100 dots an inch."""
    picture = diagram.picture("two boxes")
    assert (picture.mime, picture.alt) == ("image/png", "two boxes")
    return pil_to_tensor(Image.open(io.BytesIO(picture.data)).convert("RGB").reduce(2))


def dark(image) -> bool:
    return bool((image < 0.5).any())


def test_a_diagram_is_a_png_of_its_size_with_alternative_text():
    assert pixels(Diagram(3, 1)).shape == (3, 100, 300)
    data, metadata = Diagram(3, 1).picture("two boxes")._repr_mimebundle_()
    assert data["text/plain"] == "two boxes" and metadata == {"image/png": {"width": 300}}


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


def test_what_is_pale_is_seen_but_not_dark():
    diagram = Diagram(4, 1)
    first, second = (diagram.box(x, 0.5, "box", 1, 0.6, pale=True) for x in (0.7, 3.3))
    diagram.arrow(first.right, second.left, label="16", pale=True)
    image = pixels(diagram)
    assert not dark(image) and (image[:, 40:60, 150:250] < 0.8).any()


@pytest.fixture
def written(monkeypatch):
    """The texts that diagrams write, in order."""
    texts, note = [], Diagram.note
    monkeypatch.setattr(
        Diagram, "note", lambda self, x, y, text, *a, **k: [texts.append(text), note(self, x, y, text, *a, **k)]
    )
    return texts


def test_the_architecture_shows_the_shapes_that_the_networks_have(written):
    size = preset("tiny")
    architecture(size)
    codec = AsymmetricCodec(size.codec)
    output, features = codec.forward_features(torch.zeros(1, 3, size.size, size.size))
    _, drawn = Generator(size.gan).forward_features(output.ws, output.conditions)
    shapes = [features[f"encoder.{r}"].shape[1:] for r in (4, 8, 16, 32)] + [drawn[r].shape[1:] for r in (8, 16, 32)]
    shapes += [(2, *scale.shape[1:]) for scale, _ in output.conditions.values()] + [output.pyramid[32].shape[1:]]
    assert not {"×".join(map(str, shape)) for shape in shapes} - set(" ".join(written).split())
    assert "W+ codes {}×{}".format(*output.ws.shape[1:]) in written


@pytest.mark.parametrize("part", PARTS)
def test_the_architecture_highlights_one_part_and_says_which(part):
    size = preset("tiny")
    highlighted, all_alike = architecture(size, part), architecture(size)
    assert PARTS[part][0] in highlighted.alt and "Highlighted" not in all_alike.alt

    def darkness(picture):
        return (pil_to_tensor(Image.open(io.BytesIO(picture.data)).convert("RGB")) < 0.4).float().mean()

    assert 0 < darkness(highlighted) < 0.8 * darkness(all_alike)


def test_an_unknown_part_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="unknown part 'codecs': use one of degradation, mmrb, codec"):
        architecture(preset("tiny"), "codecs")
