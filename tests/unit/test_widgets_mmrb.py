"""The path inspector, driven as a reader would: move a control, look at what changed."""

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from bfr_lite.images import ImageError, pil_to_tensor
from bfr_lite.layers import Conv2d, draw_weights
from bfr_lite.mmrb import MMRB, PATHS
from bfr_lite.plots import encode_image
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer
from bfr_lite.widgets import mmrb_inspector
from bfr_lite.widgets.mmrb import SHOWN, MMRBInspector, blocks, inspect, weak_texture

RESTORER_BLOCKS = [f"codec.encoder.levels.{r}.{i}" for r in (32, 16, 8, 4) for i in (0, 1)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def face(size: int = 32) -> torch.Tensor:
    return torch.rand(3, size, size, generator=seeded(1)) * 0.6 + 0.2


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    """Random weights; conditions that are not zero, so that the encoder is seen in the picture."""
    tiny = preset("tiny")
    deep = replace(tiny, codec=replace(tiny.codec, depth=2))
    network = Restorer(deep, generator=seeded()).eval().requires_grad_(False)
    for level in network.codec.decoder.values():
        nn.init.normal_(level.condition.weight, std=0.1, generator=seeded(2))
    for block in network.generator.blocks.values():
        block.to_rgb.conv.weight.mul_(0.3)
    return network


@pytest.fixture
def one() -> MMRBInspector:
    return mmrb_inspector(MMRB(16, generator=seeded()), face())


def picture(widget) -> torch.Tensor:
    """What an image widget shows."""
    shown = Image.open(io.BytesIO(widget.value))
    assert shown.format == "JPEG"
    return pil_to_tensor(shown)


def picture_of(image: torch.Tensor) -> torch.Tensor:
    return pil_to_tensor(Image.open(io.BytesIO(encode_image(image))))


def changed(before: torch.Tensor, after: torch.Tensor) -> bool:
    """By more than JPEG does by itself."""
    return bool((before - after).abs().mean() > 0.005)


def test_shows_a_map_and_a_share_for_every_path(one):
    assert list(one.toggles) == list(PATHS)
    for path in PATHS:
        for screen in (one.responses[path], one.changes[path]):
            assert picture(screen).shape == (3, SHOWN, SHOWN)
            assert picture(screen).max() > 0.9
        assert one.shares[path].value == f"probe: {one.reading.shares[path]:.1%}"
    assert one.drawn.value == b""  # a block draws no picture


def test_silencing_a_path_darkens_it_and_changes_what_the_block_adds(one):
    before = {path: picture(one.responses[path]) for path in PATHS}
    added = picture(one.added)
    one.toggles["local"].value = False
    assert picture(one.responses["local"]).max() < 0.05 and one.reading.shares["local"] == 0
    assert changed(before["wide"], picture(one.responses["wide"]))  # it lacks what `local` handed on
    assert not changed(before["point"], picture(one.responses["point"]))
    assert changed(added, picture(one.added))
    one.toggles["local"].value = True
    assert not changed(before["local"], picture(one.responses["local"]))


def test_the_widget_leaves_the_block_as_it_was():
    block = MMRB(16)
    block.active = block.active - {"wide"}
    widget = mmrb_inspector(block, face())
    for path in PATHS:
        widget.toggles[path].value = False
    assert block.active == set(PATHS) - {"wide"}
    assert not block._forward_hooks


def test_contrast_moves_the_probe_and_its_shares(one):
    before, shares = picture(one.probed), one.reading.shares
    one.contrast.value = 0.3
    assert changed(before, picture(one.probed))
    assert all(one.reading.shares[path] > shares[path] for path in PATHS)
    one.contrast.value = 0
    assert set(one.reading.shares.values()) == {0} and one.reading.share_out == 0
    assert not changed(picture_of(face()), picture(one.probed))


def test_period_changes_the_stripes(one):
    one.contrast.value = 0.3
    before = picture(one.probed)
    one.period.value = 9
    assert changed(before, picture(one.probed))


def test_in_a_restorer_blocks_can_be_chosen_and_the_face_is_drawn(restorer):
    widget = mmrb_inspector(restorer, face())
    assert [name for _, name in widget.block.options] == RESTORER_BLOCKS
    before, drawn = picture(widget.responses["local"]), picture(widget.drawn)
    widget.block.value = RESTORER_BLOCKS[3]
    assert changed(before, picture(widget.responses["local"]))
    assert widget.reading.added.shape == (16, 16)
    assert not changed(drawn, picture(widget.drawn))  # another block is looked at, the same face drawn
    for path in PATHS:
        widget.toggles[path].value = False
    assert changed(drawn, picture(widget.drawn))


def test_works_in_a_strangers_network():
    stranger = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), MMRB(8), Conv2d(8, 3, 3, padding=1))
    draw_weights(stranger[2], seeded())
    widget = mmrb_inspector(stranger, face(24))
    assert [name for _, name in widget.block.options] == ["1"]
    assert picture(widget.drawn).shape == (3, 24, 24)


def test_offers_only_the_paths_that_were_built():
    widget = mmrb_inspector(MMRB(16, paths=("point", "texture")), face())
    assert list(widget.toggles) == ["point", "texture"]


def test_shares_measure_what_the_probe_changed():
    block = MMRB(16, paths=("texture",), generator=seeded())
    flat = torch.full((3, 32, 32), 0.8)
    reading = inspect(block, flat, weak_texture(32, 32, 0.02, 4))
    assert reading.shares["texture"] == pytest.approx(1, abs=1e-3)  # on a flat picture nothing else is there to hear
    assert reading.share_in < 0.02


def test_probe_has_the_contrast_and_place_asked_for():
    probe = weak_texture(64, 48, 0.1, 4, centre=(0.25, 0.75))
    assert probe.shape == (1, 64, 48)
    assert 0.09 < probe.abs().max() <= 0.1
    row, column = divmod(int(probe[0].abs().argmax()), 48)
    assert abs(row - 16) <= 2 and abs(column - 36) <= 2
    assert probe[0, 48:].abs().max() < 0.001


def test_finds_blocks_by_name(restorer):
    assert list(blocks(restorer)) == RESTORER_BLOCKS


@pytest.mark.parametrize(
    ("network", "image", "error", "message"),
    [
        (nn.Conv2d(3, 3, 3), face(), ValueError, "Conv2d holds no MMRB"),
        (MMRB(8), torch.rand(2, 3, 8, 8), ImageError, "takes one picture, got 2"),
        (MMRB(8), torch.full((3, 8, 8), 2.0), ImageError, r"\[0, 1\]"),
    ],
)
def test_refuses_what_cannot_be_inspected(network, image, error, message):
    with pytest.raises(error, match=message):
        mmrb_inspector(network, image)


def test_refuses_a_block_that_is_not_there(restorer):
    with pytest.raises(ValueError, match="no MMRB named 'nose'; there are codec"):
        inspect(restorer, face(), torch.zeros(1, 32, 32), "nose")
