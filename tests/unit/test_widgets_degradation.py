"""The degradation playground: what each control changes, and what it leaves alone."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite import widgets
from bfr_lite.astronaut import astronaut
from bfr_lite.degradation import Degradation
from bfr_lite.images import ImageError, tensor_to_pil
from bfr_lite.widgets import degradation_playground
from bfr_lite.widgets.degradation import PRESETS, STAGES


@pytest.fixture
def playground():
    return degradation_playground(astronaut(128))


def seen(playground):
    """Every stage as it is on the screen."""
    return {name: playground.pictures[name].value for name in STAGES}


def changed(before, after):
    return {name for name in STAGES if before[name] != after[name]}


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)), dtype=np.float32) / 255


def test_pictures_are_the_stages_of_the_drawn_degradation(playground):
    degradation = Degradation.of_severity(0.5, 128)
    params = degradation.sample(1, torch.Generator().manual_seed(0))
    stages = degradation.apply(astronaut(128)[None], params, return_stages=True)
    assert repr(playground.params) == repr(params)
    for name, data in seen(playground).items():
        assert torch.equal(playground.stages[name], stages[name])
        assert np.abs(decode(data) - stages[name][0].permute(1, 2, 0).numpy()).mean() < 0.02, name


def test_severity_lowers_the_output_and_leaves_the_input(playground):
    errors = []
    for severity in (0.0, 0.4, 0.8):
        before = seen(playground)
        playground.severity.value = severity
        assert changed(before, seen(playground)) == set(STAGES) - {"input"}
        errors.append(np.abs(decode(playground.pictures["output"].value) - decode(before["input"])).mean())
    assert errors == sorted(errors) and errors[0] < 0.03 < errors[-1]


def test_seed_draws_anew_and_back(playground):
    first = seen(playground)
    playground.seed.value = 1
    assert changed(first, seen(playground)) >= {"blur", "noise", "output"}
    playground.seed.value = 0
    assert seen(playground) == first


@pytest.mark.parametrize(
    ("field", "value", "stages"),
    [
        ("sigma_x", 4.0, {"blur", "down", "noise", "jpeg", "output"}),
        ("sigma_y", 0.0, {"blur", "down", "noise", "jpeg", "output"}),
        ("angle", 170.0, {"blur", "down", "noise", "jpeg", "output"}),
        ("down", 16.0, {"down", "noise", "jpeg", "output"}),
        ("noise", 40.0, {"noise", "jpeg", "output"}),
        ("quality", 5, {"jpeg", "output"}),
        ("quality", 0, {"jpeg", "output"}),
    ],
)
def test_a_slider_changes_its_stage_and_those_after_it(playground, field, value, stages):
    playground.seed.value = 2  # a stretched kernel, so that its angle matters
    before, params = seen(playground), repr(playground.params)
    playground.sliders[field].value = value
    assert changed(before, seen(playground)) == stages
    assert repr(playground.params) != params


def test_sliders_follow_a_draw_with_one_answer(playground, monkeypatch):
    answers = []
    monkeypatch.setattr(playground, "_show", lambda: answers.append(1))
    playground.preset.value = "codeformer"
    assert len(answers) == 1
    for field, unit in (("sigma_x", 1), ("down", 1), ("quality", 1), ("angle", torch.pi / 180)):
        assert playground.sliders[field].value * unit == pytest.approx(getattr(playground.params, field).item())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_and_its_captions(playground, preset):
    playground.preset.value = preset
    assert playground.severity.disabled == (preset != "by severity")
    captions = {name: label.value for name, label in playground.captions.items()}
    assert captions["input"] == "input, 128 px" and captions["output"].endswith("dB")
    if preset == "super-resolution ×4":
        assert captions["down"] == "shrunk to 32 px" and captions["jpeg"] == "no JPEG"


def test_captions_tell_psnr(playground):
    error = (playground.stages["output"] - playground.stages["input"]).square().mean().item()
    assert playground.captions["output"].value == f"output, {-10 * np.log10(error):.1f} dB"


def test_a_slider_is_answered_at_once(playground):
    best = float("inf")
    for step in range(5):
        start = time.thread_time()  # not the clock on the wall: the machine may be busy with something else
        playground.severity.value = 0.6 + step / 20
        best = min(best, time.thread_time() - start)
    assert best < 0.2


def test_pictures_of_other_kinds_and_sizes():
    assert torch.equal(
        degradation_playground(tensor_to_pil(astronaut(64))).stages["input"],
        (astronaut(64)[None] * 255).round() / 255,
    )
    assert degradation_playground(astronaut(300)).captions["input"].value == "input, 256 px"
    smallest = degradation_playground(astronaut(32))
    smallest.preset.value = "super-resolution ×8"
    assert smallest.captions["down"].value == "shrunk to 4 px"


@pytest.mark.parametrize("shape", [(3, 64, 48), (3, 16, 16), (2, 3, 64, 64)])
def test_pictures_it_cannot_take(shape):
    with pytest.raises(ImageError, match="one square picture"):
        degradation_playground(torch.zeros(shape))


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="degradation_playground"):
        widgets.unheard_of  # noqa: B018
    assert "degradation_playground" in dir(widgets)
