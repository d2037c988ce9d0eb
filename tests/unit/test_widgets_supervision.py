"""The supervision viewer, driven as a reader would: damage the face, turn the knob, choose a feature map."""

import io
import time

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bfr_lite import Degradation, Restorer, preset
from bfr_lite.astronaut import astronaut
from bfr_lite.images import ImageError, pil_to_tensor
from bfr_lite.training.losses import charbonnier, feature_distance
from bfr_lite.widgets import supervision_viewer
from bfr_lite.widgets.supervision import AGAIN, READ, TAUGHT

DAMAGE, READINGS = set(AGAIN), set(READ)


def tiny(seed: int) -> Restorer:
    """A restorer whose conditions are at work, and whose pictures lie in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    built = Restorer(preset("tiny"), generator=draw).eval().requires_grad_(False)
    for block in built.generator.blocks.values():
        block.to_rgb.conv.weight.mul_(0.1)
    for level in built.codec.decoder.values():
        level.condition.weight.copy_(torch.randn(level.condition.weight.shape, generator=draw))
    return built


@pytest.fixture(scope="module")
def student() -> Restorer:
    return tiny(0)


@pytest.fixture
def viewer(student):
    face = astronaut(32)
    return supervision_viewer(student, torch.stack([face, face.flip(2)]), tiny(1))


def on_screen(viewer) -> dict[str, torch.Tensor]:
    return {
        name: pil_to_tensor(Image.open(io.BytesIO(widget.value))).clone() for name, widget in viewer.pictures.items()
    }


def changed(viewer, control: str, value: float) -> set[str]:
    """The pictures that changed by more than JPEG does when a control moves."""
    before = on_screen(viewer)
    getattr(viewer, control).value = value
    return {name for name, picture in on_screen(viewer).items() if (picture - before[name]).abs().mean() > 0.003}


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        ("face", 1, DAMAGE | READINGS),
        ("severity", 0.9, (DAMAGE - {"clean"}) | (READINGS - {"teacher reads"})),
        ("seed", 7, (DAMAGE - {"clean"}) | (READINGS - {"teacher reads"})),
        ("fidelity", 0.0, DAMAGE - {"clean", "damaged"}),
        ("resolution", 8, READINGS),
        ("channel", 3, READINGS),
    ],
)
def test_control_changes_its_pictures_alone(viewer, control, value, expected):
    moved = changed(viewer, control, value)
    # maps are coloured together: the teacher's may turn paler where the student's grow
    assert moved - {"teacher reads"} == expected - {"teacher reads"}
    assert "teacher reads" in moved or "teacher reads" not in expected


def test_the_caption_tells_what_training_presses_on(viewer, student):
    viewer.severity.value, viewer.seed.value, viewer.fidelity.value = 0.7, 3, 0.6
    clean = astronaut(32)[None]
    degradation = Degradation.of_severity(0.7, 32)
    params = degradation.sample(1, torch.Generator().manual_seed(3))
    lq = degradation.apply(clean, params)
    output, stages = student.forward_features(lq, 0.6)
    ws, taught = tiny(1).codec.encode(clean)
    again = degradation.apply_differentiable(stages["drawn"].clamp(0, 1), params)
    assert f"damaged again, {charbonnier(again, lq).item():.4f} from the input" in viewer.caption.value
    assert f"codes {F.mse_loss(output.ws, ws).item():.4f} apart" in viewer.caption.value
    for r in TAUGHT:
        distance = feature_distance([stages[f"encoder.{r}"]], [taught[r]]).item()
        assert f"{distance:.3f} at {r} px" in viewer.caption.value
    torch.testing.assert_close(viewer.shown["damaged again"], again[0])


def test_without_a_teacher_the_student_reads_the_clean_face_itself(student):
    viewer = supervision_viewer(student, astronaut(32))
    viewer.severity.value = 0.8
    _, clean = student.codec.encode(astronaut(32)[None])
    _, damaged = student.codec.encode(viewer.shown["damaged"][None])
    assert f"{feature_distance([damaged[16]], [clean[16]]).item():.3f} at 16 px" in viewer.caption.value


def test_channels_are_those_of_the_resolution(viewer, student):
    widths = {r: student.codec.encode(astronaut(32)[None])[1][r].shape[1] for r in TAUGHT}
    for r in TAUGHT:
        viewer.resolution.value = r
        assert viewer.channel.max == widths[r] - 1
        viewer.channel.value = viewer.channel.max


def test_every_control_is_shown_and_a_single_face_needs_no_slider(viewer, student):
    def leaves(widget):
        return [leaf for child in getattr(widget, "children", ()) for leaf in leaves(child)] or [widget]

    controls = [viewer.severity, viewer.seed, viewer.fidelity, viewer.resolution, viewer.channel]
    assert set(map(id, [viewer.face, *controls, *viewer.pictures.values(), viewer.caption])) <= set(
        map(id, leaves(viewer))
    )
    one = supervision_viewer(student, astronaut(48))
    assert id(one.face) not in set(map(id, leaves(one)))
    assert one.shown["clean"].shape == (3, 32, 32)


def test_only_the_part_that_changes_is_computed(viewer, student, monkeypatch):
    monkeypatch.setattr(type(student.codec), "forward_features", lambda *_: pytest.fail("the codec was run again"))
    viewer.fidelity.value = 0.2
    monkeypatch.setattr(type(student.generator), "forward_features", lambda *_: pytest.fail("drawn again"))
    viewer.resolution.value = 4
    viewer.channel.value = 2


def test_answers_quickly():
    viewer = supervision_viewer(Restorer.from_pretrained("lite"), astronaut(128))
    best = float("inf")
    for severity in (0.2, 0.4, 0.6, 0.8):
        start = time.process_time()
        viewer.severity.value = severity
        best = min(best, time.process_time() - start)
    assert best < 0.4, "200 ms on two cores"


def test_what_does_not_fit_is_refused(student):
    with pytest.raises(ValueError, match="teacher is of preset 'lite', the student of 'tiny'"):
        supervision_viewer(student, astronaut(32), Restorer(preset("lite")))
    with pytest.raises(ImageError, match="cannot use a list"):
        supervision_viewer(student, [])
