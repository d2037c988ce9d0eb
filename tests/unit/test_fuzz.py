"""Any bytes at all, as a picture or as weights: the thing itself or one of our errors, never anything else."""

import io
import json
import pickle
import struct

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as to_safetensors

from bfr_lite.checkpoints import WeightsError, load_discriminator, load_generator, load_weights
from bfr_lite.images import ImageError, load_image
from bfr_lite.photo_files import read_photo

CASES = 500
FUZZ = settings(
    max_examples=CASES,
    deadline=None,
    print_blob=True,  # a red run says how to repeat it
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PICTURE = Image.fromarray(skimage.data.astronaut()[100:140, 200:240])


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, kind)
    return stream.getvalue()


def pickled(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


STATE = {"mapping.0.weight": torch.ones(3, 3), "blocks.4.noise_strength": torch.zeros(())}
PICTURES = [encoded(kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")]
WEIGHTS = [
    to_safetensors(STATE),
    pickled(STATE),
    pickled({"g_ema": STATE, "latent_avg": torch.zeros(3)}),
    pickled({"params_ema": STATE}),
    pickle.dumps({"G_ema": np.arange(3)}),
]


@st.composite
def damaged(draw, originals: list[bytes]) -> bytes:
    """Noise; or a real file cut short, with bytes changed, or with a piece put in."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    at = draw(st.integers(0, len(content)))
    change = draw(st.sampled_from(("cut", "insert", "keep")))
    if change == "cut":
        return bytes(content[:at])
    return bytes(content[:at] + draw(st.binary(max_size=40)) + content[at:]) if change == "insert" else bytes(content)


@pytest.mark.filterwarnings("ignore")
@FUZZ
@given(content=damaged(PICTURES), suffix=st.sampled_from((".png", ".jpg", ".tif")))
def test_any_bytes_as_a_picture(content, suffix, tmp_path):
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    for read in (load_image, read_photo):
        try:
            picture = read(path)
        except ImageError as error:
            assert str(path) in str(error)
        else:
            pixels = picture if isinstance(picture, torch.Tensor) else torch.from_numpy(picture.pixels.copy())
            assert pixels.numel() > 0


@pytest.mark.filterwarnings("ignore")
@FUZZ
@given(content=damaged(WEIGHTS), suffix=st.sampled_from((".safetensors", ".pt", ".pth", ".pkl")))
def test_any_bytes_as_weights(content, suffix, tmp_path):
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    for read in (load_weights, load_generator, load_discriminator):
        try:
            read(path)
        except WeightsError as error:
            assert str(error)


@FUZZ
@given(
    header=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_any_header_of_safetensors(header, tmp_path):
    """The part of the format that says where tensors lie: lengths that lie, tensors that overlap, types unheard of."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "any.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    try:
        load_weights(path)
    except WeightsError as error:
        assert "any.safetensors" in str(error)
