"""The training loop: data order, resuming, interruption, growing, learning, errors."""

import csv
import signal
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from bfr_lite.checkpoints import WeightsError, load_discriminator, load_generator, read_card
from bfr_lite.data import load_faces
from bfr_lite.face_sets import FaceDataset
from bfr_lite.files import sole_writer
from bfr_lite.images import ImageError, save_image
from bfr_lite.layers import downsample
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer
from bfr_lite.training.adversarial import check_groups, train_discriminator
from bfr_lite.training.augment import Misalignment
from bfr_lite.training.batches import Batch, draw_fidelity, read_coloured, replace_some
from bfr_lite.training.configs import PriorConfig, RestorerConfig
from bfr_lite.training.log import CsvLog, whole_rows
from bfr_lite.training.loop import RunConfig, batch_indices, cooled, ema_decay, run, step_rng
from bfr_lite.training.losses import LossWeights, nearer, trust_distance
from bfr_lite.training.prior import PriorTask, stage_config
from bfr_lite.training.recipes import Stage, train_prior, train_restorer
from bfr_lite.training.restorer import RestorerTask

TINY = preset("tiny")


class Blobs(FaceDataset):
    """Twenty smooth pictures, each its own colours: enough to tell whether anything is learnt."""

    def __init__(self, size: int = 32):
        super().__init__("dots", [str(number) for number in range(20)], size)
        coarse = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        self.images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")

    def _faces(self, numbers):
        return self.images[numbers]


class SomeGrey(Blobs):
    """The same pictures, some of them without colour."""

    def __init__(self, grey: list[int]):
        super().__init__()
        self.images[grey] = self.images[grey].mean(dim=1, keepdim=True)


def small_gan(size: int = 16):
    return stage_config(PriorConfig(TINY.gan), size)


def prior_task(size: int = 16) -> PriorTask:
    return PriorTask(small_gan(size), Blobs(), 4, Accelerator(cpu=True))


def restorer_task(**options) -> RestorerTask:
    return RestorerTask(RestorerConfig(TINY, **options), Blobs(), 4, Accelerator(cpu=True), prior=load_tiny_prior())


def load_tiny_prior():
    from bfr_lite.stylegan2 import Generator

    return Generator(TINY.gan, torch.Generator().manual_seed(3))


def test_the_faces_of_the_next_step_are_announced(tmp_path):
    task, asked, announced = prior_task(), [], []
    task.faces.expect = announced.append
    step = task.step
    task.step = lambda number, indices, rng: asked.append(indices) or step(number, indices, rng)
    run(task, RunConfig(tmp_path, images=12, batch=4), 20, task.accelerator)
    assert [one.tolist() for one in announced] == [one.tolist() for one in asked[1:]] and len(asked) == 3


def state_of(task) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, module in task.modules.items()
        for key, value in module.state_dict().items()
    }


def interrupt_in_step(number: int, task, by: signal.Signals = signal.SIGINT) -> None:
    """Let somebody press Ctrl-C (or send another signal) while `task` takes its step `number`."""
    plain_step = task.step

    def step(current, *rest):
        if current == number:
            signal.raise_signal(by)
        return plain_step(current, *rest)

    task.step = step


def run_config(folder, images: int, **options) -> RunConfig:
    return RunConfig(folder, images, batch=4, log_every=2, sample_every=100, **options)


def test_every_epoch_shows_each_picture_once_in_its_own_order():
    seen = torch.cat([batch_indices(0, step, 3, 10) for step in range(20)])
    epochs = seen.view(6, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(batch_indices(0, 0, 10, 10), batch_indices(1, 0, 10, 10))


def test_steps_and_seeds_draw_different_numbers():
    draws = {torch.rand(1, generator=step_rng(seed, step)).item() for seed in range(5) for step in range(-2, 20)}
    assert len(draws) == 5 * 22


def test_ema_decay_halves_after_its_half_life():
    steps = 10_000 // 16
    assert ema_decay(16, images_seen=10**9) ** steps == pytest.approx(0.5, rel=1e-3)
    assert ema_decay(16, images_seen=0) == 0


@pytest.mark.parametrize("make", [prior_task, restorer_task], ids=["prior", "restorer"])
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(make, tmp_path):
    whole, first, second = make(), make(), make()
    run(whole, run_config(tmp_path / "whole", 24), 20, Accelerator(cpu=True))
    run(first, run_config(tmp_path / "parts", 16), 20, Accelerator(cpu=True))
    progress = run(second, run_config(tmp_path / "parts", 24), 20, Accelerator(cpu=True))
    assert progress.finished and progress.steps == 6
    expected, resumed = state_of(whole), state_of(second)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    rows = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("whole", "parts")]
    drop_time = [[{k: v for k, v in row.items() if k != "seconds"} for row in one] for one in rows]
    assert drop_time[0] == drop_time[1]


@pytest.mark.parametrize("make", [prior_task, restorer_task], ids=["prior", "restorer"])
def test_every_weight_that_is_trained_is_in_an_optimiser(make):
    task = make()
    held = {id(p) for opt in task.optimizers.values() for group in opt.param_groups for p in group["params"]}
    for network in set(task.modules) & {"generator", "restorer", "discriminator", "critics"}:
        left = {name for name, p in task.modules[network].named_parameters() if id(p) not in held}
        assert all(name.endswith("noise_strength") for name in left), left


@pytest.mark.parametrize("make", [prior_task, restorer_task], ids=["prior", "restorer"])
def test_no_noise_is_learnt(make):
    """A restorer draws with the same noise for every face: learnt, it would be a grain that all of them share."""
    task = make()
    task.step(0, torch.arange(4), step_rng(0, 0))
    strengths = [value for name, value in state_of(task).items() if name.endswith("noise_strength")]
    assert strengths and not any(value.any() for value in strengths)


@pytest.mark.parametrize("broken", [1, 3])
def test_a_run_outlives_a_picture_that_cannot_be_read(broken, tmp_path):
    class Damaged(Blobs):
        def _faces(self, numbers):
            if self.reads == broken:
                raise ImageError("face.png is no picture")
            self.reads += 1
            return super()._faces(numbers)

    task = prior_task()
    task.faces = Damaged()
    task.faces.reads = 1
    config = run_config(tmp_path / "parts", 16)
    with pytest.raises(ImageError, match=rf"face.png is no picture \({broken - 1} steps are saved; .*same command"):
        run(task, config, 20, task.accelerator)
    mended, whole = prior_task(), prior_task()
    assert run(mended, config, 20, task.accelerator).finished
    run(whole, run_config(tmp_path / "whole", 16), 20, task.accelerator)
    expected, resumed = state_of(whole), state_of(mended)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_a_run_outlives_a_picture_that_is_gone(tmp_path):
    (tmp_path / "faces").mkdir()
    for number, face in enumerate(Blobs().images):
        save_image(face, tmp_path / "faces" / f"{number:02d}.png")
    task = prior_task()
    task.faces = load_faces("folder", tmp_path / "faces", size=32)
    (tmp_path / "faces" / "07.png").unlink()
    with pytest.raises(ImageError, match=r"any more: .*07\.png .* steps are saved; put another picture in its place"):
        run(task, run_config(tmp_path / "run", 40), 20, task.accelerator)
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_run_that_diverged_leaves_its_last_good_checkpoint(tmp_path):
    task = prior_task()
    run(task, run_config(tmp_path, 8), 20, task.accelerator)
    good, step = (tmp_path / "checkpoint.pt").read_bytes(), task.step

    def diverge(number, indices, rng):
        report = step(number, indices, rng)
        next(task.modules["generator"].parameters()).data[0] = float("inf")
        return report

    task.step = diverge
    with pytest.raises(ValueError, match=r"diverged by step 3: .*generator.*; .* go on from there with a lower --lr"):
        run(task, run_config(tmp_path, 12), 20, task.accelerator)
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    with pytest.raises(ValueError, match=r"diverged by step 3: .* begin anew with a lower --lr"):
        run(task, run_config(tmp_path / "new", 12), 20, task.accelerator)


def test_samples_that_cannot_be_drawn_cost_no_step(tmp_path):
    def fail():
        raise ImageError("face.png is no picture")

    task, config = prior_task(), run_config(tmp_path, 16)
    task.samples = fail
    with pytest.raises(ImageError, match=r"face.png is no picture \(4 steps are saved; "):
        run(task, config, 20, task.accelerator)
    again = prior_task()
    assert run(again, config, 20, again.accelerator).finished
    expected, resumed = state_of(task), state_of(again)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.parametrize(("batch", "fits"), [(1, True), (3, True), (4, True), (5, False), (6, True), (9, False)])
def test_a_batch_that_leaves_every_picture_alone_is_refused(batch, fits):
    if fits:
        check_groups(batch, processes=1, group=4)
    else:
        with pytest.raises(ValueError, match=f"of {batch} each would be alone; use a multiple of 4"):
            check_groups(batch, processes=1, group=4)


def test_weights_are_written_where_somebody_has_removed_the_log(tmp_path):
    def train(images):
        config = RestorerConfig(TINY, LossWeights(adversarial=0.0, feature=0.0, perceptual=0.0))
        return train_restorer(config, None, Blobs(), run_config(tmp_path, images), Accelerator(cpu=True))

    (weights,) = train(4).weights
    weights.unlink()
    (tmp_path / "log.csv").unlink()
    assert train(4).weights == (weights,)
    card = read_card(weights)["training"]
    assert card["prior"] is None and "images_seen" not in card


def test_learning_rates_cool_down_over_the_last_part_of_a_run():
    assert [cooled(step, 10, 0.4) for step in (0, 6, 7, 9)] == pytest.approx([1, 1, 0.75, 0.25])
    assert cooled(9, 10, 0.0) == 1


def test_interrupted_run_cools_down_like_an_uninterrupted_one(tmp_path):
    whole, first, second = prior_task(), prior_task(), prior_task()
    run(whole, run_config(tmp_path / "whole", 24, cooldown=0.5), 20, Accelerator(cpu=True))
    interrupt_in_step(4, first)
    assert not run(first, run_config(tmp_path / "parts", 24, cooldown=0.5), 20, Accelerator(cpu=True)).finished
    run(second, run_config(tmp_path / "parts", 24, cooldown=0.5), 20, Accelerator(cpu=True))
    resumed = state_of(second)
    assert all(torch.equal(value, resumed[name]) for name, value in state_of(whole).items())
    rates = {group["lr"] for task in (whole, second) for opt in task.optimizers.values() for group in opt.param_groups}
    assert max(rates) < 1e-3, "the last step runs at a third of 2.5e-3"


@pytest.mark.parametrize("changed", [{"batch": 2}, {"seed": 9}])
def test_a_run_is_not_resumed_with_another_batch_or_seed(changed, tmp_path):
    run(prior_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    other = replace(run_config(tmp_path, 16), **changed)
    with pytest.raises(WeightsError, match=f"is of a run with {next(iter(changed))} "):
        run(prior_task(), other, 20, Accelerator(cpu=True))


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"checkpoint_every": 0}, {"sample_every": -1}, {"cooldown": -0.5}, {"cooldown": 1.5}]
)
def test_a_run_that_cannot_be_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", " ")):
        replace(run_config(tmp_path, 8), **wrong)
    with pytest.raises(ValueError, match="at least one picture"):
        run(prior_task(), run_config(tmp_path, 0), 20, Accelerator(cpu=True))
    assert not any(tmp_path.iterdir())


def test_fidelities_are_of_three_kinds_and_of_no_place_in_the_batch():
    drawn = torch.stack([draw_fidelity(16, step_rng(0, step)) for step in range(400)])
    for value, count in ((1.0, 5), (0.5, 5)):
        assert (drawn == value).sum(dim=1).eq(count).all()
        share = (drawn == value).float().mean(dim=0)  # at each place, over 400 batches: 5 of 16, give or take 0.023
        assert (share - count / 16).abs().max() < 0.1


def test_training_touches_no_global_generator(tmp_path):
    before = torch.get_rng_state()
    run(restorer_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_leaves_a_checkpoint_that_goes_on(number, tmp_path):
    task, before = prior_task(), signal.getsignal(number)
    interrupt_in_step(2, task, number)
    stopped = run(task, run_config(tmp_path, 10**6), 20, Accelerator(cpu=True))
    assert not stopped.finished and stopped.steps == 3
    assert signal.getsignal(number) is before
    resumed = run(prior_task(), run_config(tmp_path, stopped.images + 4), 20, Accelerator(cpu=True))
    assert resumed.finished and resumed.steps == stopped.steps + 1


def test_a_run_goes_on_at_the_learning_rate_it_is_given(tmp_path):
    run(prior_task(), run_config(tmp_path, 4), 20, Accelerator(cpu=True))
    faster = PriorTask(replace(small_gan(16), lr=0.017), Blobs(), 4, Accelerator(cpu=True))
    run(faster, run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    assert faster.optimizers["generator"].param_groups[0]["lr"] == 0.017


def test_two_runs_do_not_share_a_folder(tmp_path):
    with sole_writer(tmp_path), pytest.raises(ValueError, match="another run writes"):
        run(prior_task(), run_config(tmp_path, 4), 20, Accelerator(cpu=True))


def test_a_column_that_comes_later_keeps_the_rows_before(tmp_path):
    log = CsvLog(tmp_path / "log.csv", 0)
    for step, values in ((1, {"pixel": 1.0}), (2, {"pixel": 2.0, "loss_d": 3.0})):
        log.add(values)
        log.write(step, 4 * step)
    rows = [(row["step"], row["pixel"], row["loss_d"]) for row in whole_rows(tmp_path / "log.csv")]
    assert rows == [("1", "1", ""), ("2", "2", "3")]


@pytest.mark.parametrize("text", ["step,images,pixel\n2,8,1.0\n", "epoch,loss\n1,0.5\n"], ids=["ours", "another's"])
def test_a_log_without_its_checkpoint_is_moved_aside(text, tmp_path):
    (tmp_path / "log.csv").write_text(text)
    run(prior_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    assert (tmp_path / "log.csv.old").read_text() == text
    assert [row["step"] for row in whole_rows(tmp_path / "log.csv")] == ["2"]


def test_a_second_ctrl_c_does_not_end_the_last_save(tmp_path, monkeypatch):
    task, save = prior_task(), torch.save
    interrupt_in_step(1, task)

    def impatient(content, path):
        signal.raise_signal(signal.SIGINT)
        save(content, path)

    monkeypatch.setattr(torch, "save", impatient)
    assert run(task, run_config(tmp_path, 40), 20, Accelerator(cpu=True)).steps == 2
    assert (tmp_path / "checkpoint.pt").exists()


def test_rows_logged_after_the_last_checkpoint_are_dropped_on_resume(tmp_path):
    run(prior_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    with (tmp_path / "log.csv").open("a") as log:
        log.write(log_row := "99,396,1.0,0,0,0,0\n")
    run(prior_task(), run_config(tmp_path, 16), 20, Accelerator(cpu=True))
    text = (tmp_path / "log.csv").read_text()
    assert log_row not in text
    assert [row["step"] for row in csv.DictReader(text.splitlines())] == ["2", "4"]


def test_checkpoint_of_another_network_is_refused(tmp_path):
    run(prior_task(16), run_config(tmp_path, 4), 20, Accelerator(cpu=True))
    with pytest.raises(WeightsError, match="another run"):
        run(prior_task(32), run_config(tmp_path, 8), 20, Accelerator(cpu=True))


def test_truncated_checkpoint_is_refused(tmp_path):
    run(prior_task(), run_config(tmp_path, 4), 20, Accelerator(cpu=True))
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="no whole checkpoint"):
        run(prior_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))


def test_failed_save_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    run(prior_task(), run_config(tmp_path, 4), 20, Accelerator(cpu=True))
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def disk_full(content, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        run(prior_task(), run_config(tmp_path, 8), 20, Accelerator(cpu=True))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".checkpoint*"))


def test_grown_prior_draws_the_smaller_picture_enlarged(tmp_path):
    small = prior_task(16)
    for name, strength in small.modules["generator"].named_parameters():
        if name.endswith("noise_strength"):  # as those of a prior that others trained
            strength.data.fill_(0.5)
    run(small, run_config(tmp_path, 16), 20, Accelerator(cpu=True))
    grown = prior_task(32)
    grown.grow_from(tmp_path / "checkpoint.pt")
    strengths = ["blocks.8.conv.noise_strength", "blocks.32.conv.noise_strength"]
    assert [grown.modules["generator"].state_dict()[name].item() for name in strengths] == [0.5, 0.0]
    below, above = small.modules["generator_ema"], grown.modules["generator_ema"]
    z = torch.randn(4, below.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pictures = below(below.map(z)), above(above.map(z))
    shrunk = torch.nn.functional.avg_pool2d(pictures[1], 2)
    assert torch.corrcoef(torch.stack([pictures[0].flatten(), shrunk.flatten()]))[0, 1] > 0.95
    for part in ("generator", "generator_ema"):
        name = "blocks.8.conv.conv.weight"
        assert torch.equal(small.modules[part].state_dict()[name], grown.modules[part].state_dict()[name])


def test_grown_discriminator_reads_the_halved_picture_as_the_smaller_one_did(tmp_path):
    small, grown = prior_task(16), prior_task(32)
    run(small, run_config(tmp_path, 16), 20, Accelerator(cpu=True))
    grown.grow_from(tmp_path / "checkpoint.pt")
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        below = small.modules["discriminator"].features(downsample(pictures))
        above = grown.modules["discriminator"].features(pictures)
    inner = (..., slice(1, -1), slice(1, -1))  # the filter pads the offset of the new block with zeros
    torch.testing.assert_close(above[16][inner], below[16][inner], rtol=1e-4, atol=1e-5)
    name = "blocks.8.conv.weight"
    states = (task.modules["discriminator"].state_dict() for task in (small, grown))
    assert torch.equal(*(state[name] for state in states))


def test_half_of_the_drawn_pictures_are_of_two_faces_and_the_mean_code_follows():
    task, seen = prior_task(), []
    generator = task.modules["generator"]
    generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    before = generator.w_avg.clone()
    task._draw(200, step_rng(0, 0))
    changes = (seen[0].diff(dim=1) != 0).any(dim=2).sum(dim=1)
    assert set(changes.tolist()) == {0, 1}
    assert changes.float().mean().item() == pytest.approx(task.config.style_mixing, abs=0.1)
    torch.testing.assert_close(generator.w_avg, before.lerp(seen[0][:, 0].mean(dim=0), 0.005))


def test_judge_and_prior_pull_each_their_own_way():
    """A step tells real from drawn better; then the generator is found more real by the judge that it follows."""
    task = prior_task()
    judge, real, rng = task.modules["discriminator"], Blobs(16).batch(range(4)), step_rng(0, 0)
    with torch.no_grad():
        drawn = task._draw(4, step_rng(0, 1))

    def lead() -> float:
        with torch.no_grad():
            return (judge(real).mean() - judge(drawn).mean()).item()

    before = lead()
    for step in range(1, 6):
        train_discriminator(task, real, drawn, step, rng)
    assert lead() > before
    with torch.no_grad():
        before = judge(task._draw(4, step_rng(0, 2))).mean().item()
    for _ in range(5):
        task._train_generator(task._draw(4, step_rng(0, 2)), rng)
    with torch.no_grad():
        assert judge(task._draw(4, step_rng(0, 2))).mean().item() > before


def test_the_judge_of_a_prior_is_told_which_pictures_are_drawn(monkeypatch):
    told = []

    def note(task, real, fake, step, rng):
        told.append((real.requires_grad, fake.requires_grad))
        return train_discriminator(task, real, fake, step, rng)

    monkeypatch.setattr("bfr_lite.training.prior.train_discriminator", note)
    prior_task().step(0, torch.arange(4), step_rng(0, 0))
    assert told == [(False, True)]


def test_prior_recipe_grows_and_leaves_weights_with_a_card(tmp_path):
    result = train_prior(
        TINY,
        PriorConfig(TINY.gan),
        [Stage(16, 8), Stage(32, 8)],
        Blobs(),
        run_config(tmp_path, 0),
        Accelerator(cpu=True),
    )
    assert result.progress.finished
    generator = load_generator(result.weights[0])
    assert generator.config == TINY.gan
    card = read_card(result.weights[0])
    assert [stage["images_seen"] for stage in card["training"]["stages"]] == [8, 8]
    assert (tmp_path / "032" / "samples" / "00000008.png").exists()


def test_prior_stages_must_reach_the_size_of_the_preset(tmp_path):
    with pytest.raises(ValueError, match="double to 32 px"):
        train_prior(
            TINY, PriorConfig(TINY.gan), [Stage(16, 8)], Blobs(), run_config(tmp_path, 0), Accelerator(cpu=True)
        )


def test_restorer_recipe_leaves_weights_that_open(tmp_path):
    result = train_restorer(RestorerConfig(TINY), None, Blobs(), run_config(tmp_path, 8), Accelerator(cpu=True))
    restorer = Restorer.from_pretrained(result.weights[0])
    assert restorer.restore(torch.rand(3, 32, 32)).shape == (3, 32, 32)


@pytest.fixture(scope="module")
def everything():
    """What a step reports when no signal is off."""
    return restorer_task().step(0, torch.arange(4), step_rng(0, 0))


@pytest.mark.parametrize("signal_name", [name for name in vars(LossWeights()) if name != "pixel"])
def test_a_signal_switched_off_is_not_computed(signal_name, everything):
    task = restorer_task(weights=LossWeights(**{signal_name: 0.0}))
    report = task.step(0, torch.arange(4), step_rng(0, 0))
    assert signal_name not in report
    assert signal_name in everything


def test_the_clean_face_is_augmented_as_the_drawn_one():
    task, clean = restorer_task(), Blobs().batch(range(8))
    augment = task.modules["augment"]
    augment.p.fill_(0.8)
    assert not torch.equal(augment(clean, step_rng(0, 0)), clean)
    judged = task._judged(task.config.weights, clean, clean, torch.ones(8), step_rng(0, 0))
    assert judged["feature"].item() == 0


def learnt_from(loss: str) -> tuple[Batch, dict[str, torch.Tensor], set[str]]:
    """A batch, its losses when all weights but that of `loss` are zero, and the parameters these move."""
    task = restorer_task()
    everything = task.config.weights
    only = LossWeights(**{**dict.fromkeys(vars(everything), 0.0), loss: getattr(everything, loss)})
    rng = step_rng(0, 0)
    batch = task._draw_batch(torch.arange(4), rng)
    fidelity = torch.ones(4)
    restorer = task.modules["restorer"]
    output, stages = restorer.forward_features(batch.lq, fidelity)
    losses = task._losses(only, batch, output, stages, fidelity, rng)
    sum(losses.values()).backward()
    return batch, losses, {name for name, p in restorer.named_parameters() if p.grad is not None and p.grad.any()}


def test_latent_pairs_teach_the_encoder_alone_and_take_no_portraits_place():
    batch, losses, moved = learnt_from("latent")
    assert len(batch.clean) == len(batch.lq) == 4 and len(batch.invented) == len(batch.ws) == 1
    assert losses["latent"] > 0
    assert moved and all(name.startswith(("codec.to_ws.", "codec.encoder.")) for name in moved)


@pytest.mark.parametrize(("batch", "synthetic", "drawn"), [(1, 0.25, 1), (2, 0.25, 1), (8, 0.25, 2), (8, 0.0, 0)])
def test_the_smallest_batch_has_a_latent_pair_unless_there_are_to_be_none(batch, synthetic, drawn):
    config = RestorerConfig(TINY, synthetic=synthetic)
    task = RestorerTask(config, Blobs(), batch, Accelerator(cpu=True), prior=load_tiny_prior())
    assert len(task._draw_batch(torch.arange(batch), step_rng(0, 0)).ws) == drawn


def test_some_portraits_are_replaced_by_faces_of_the_prior():
    prior, portraits = load_tiny_prior(), Blobs().images[:4]
    mixed = replace_some(portraits, prior, 1, step_rng(0, 0))
    rng = step_rng(0, 0)
    assert torch.equal(mixed[:1], prior(prior.sample(1, rng), noise=rng).clamp(0, 1))
    assert torch.equal(mixed[1:], portraits[1:])


@pytest.mark.parametrize(("batch", "share", "count"), [(1, 0.25, 0), (4, 0.25, 1), (8, 0.25, 2), (4, 0.0, 0)])
def test_the_prior_draws_a_share_of_the_batch(batch, share, count):
    def clean(mixed_in: float) -> torch.Tensor:
        config = RestorerConfig(TINY, mixed_in=mixed_in)
        task = RestorerTask(config, Blobs(), batch, Accelerator(cpu=True), prior=load_tiny_prior())
        return task._draw_batch(torch.arange(batch), step_rng(0, 0)).clean

    portrait = [torch.equal(one, other) for one, other in zip(clean(share), clean(0.0), strict=True)]
    assert portrait == [False] * count + [True] * (batch - count)


def test_without_a_prior_none_of_its_faces_can_be_mixed_in():
    with pytest.raises(ValueError, match="mixed in without one: give one"):
        RestorerTask(RestorerConfig(TINY, mixed_in=0.25), Blobs(), 4, Accelerator(cpu=True))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="mixed_in must be a share of the batch, 0 to 1"):
        RestorerConfig(TINY, mixed_in=share)


def test_discriminator_joins_when_it_is_told_to():
    task = restorer_task(adversarial_after=8)
    judged = [{"loss_d", "adversarial", "feature"} & set(task.step(n, torch.arange(4), step_rng(0, n))) for n in (1, 2)]
    assert judged == [set(), {"loss_d", "adversarial", "feature"}]


def test_tiny_restorer_learns_from_3200_pictures(tmp_path):
    """Restored pictures come nearer to the clean ones than the damaged input is."""
    weights = LossWeights(adversarial=0.0, feature=0.0, perceptual=0.0, latent=0.0)
    faces = Blobs()
    in_place = Misalignment(turn=0.0, zoom=1.0, move=0.0)
    options = {"lr": 4e-3, "generator_lr": 1e-3, "ema_half_life": 200, "misalignment": in_place}
    options |= {"recoloured": 0.0, "repainted": 0.0, "emphasis": 0.0}
    config = RestorerConfig(TINY, weights, ("codeformer",), **options)
    task = RestorerTask(config, faces, 8, Accelerator(cpu=True), prior=load_tiny_prior())
    run(task, RunConfig(tmp_path, 3200, batch=8), len(faces), Accelerator(cpu=True))
    batch = task._draw_batch(torch.arange(16), step_rng(1, 0))
    with torch.no_grad():
        restored = task.modules["restorer_ema"](batch.lq).image.clamp(0, 1)
    error = [(images - batch.clean).square().mean() for images in (restored, batch.lq)]
    gain = 10 * torch.log10(error[1] / error[0])
    assert gain > 1.5, f"{gain:.2f} dB better than the input"


def test_r1_follows_size_and_batch_unless_it_is_given():
    assert PriorConfig(TINY.gan).r1_gamma is None
    task = PriorTask(PriorConfig(TINY.gan), Blobs(), 4, Accelerator(cpu=True))
    assert task.config.r1_gamma == pytest.approx(0.0004 * TINY.gan.size**2 / 4)
    given = PriorTask(PriorConfig(TINY.gan, r1_gamma=0.0), Blobs(), 4, Accelerator(cpu=True))
    assert given.config.r1_gamma == 0.0


@pytest.fixture
def half_precision():
    """An accelerator of mixed precision; accelerate keeps one for the process, which is put back to none."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(mixed_precision="bf16", cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("make", [prior_task, restorer_task], ids=["prior", "restorer"])
def test_a_step_in_bfloat16_says_what_one_in_float32_says(make, request):
    wide = make()
    assert not wide.accelerator.native_amp
    reports = [wide.step(0, torch.arange(4), step_rng(0, 0))]  # before the process's state says bfloat16
    half_precision = request.getfixturevalue("half_precision")
    assert half_precision.native_amp
    narrow = make()
    narrow.accelerator = half_precision
    reports.append(narrow.step(0, torch.arange(4), step_rng(0, 0)))
    assert reports[0].keys() == reports[1].keys()
    for name, value in reports[0].items():
        assert reports[1][name] == pytest.approx(value, rel=0.05, abs=0.02), name
    assert all(value.dtype != torch.bfloat16 for value in state_of(narrow).values())


def test_prior_starts_from_a_trained_one(tmp_path):
    stages = [Stage(32, 4)]
    first = train_prior(TINY, PriorConfig(TINY.gan), stages, Blobs(), run_config(tmp_path, 0), Accelerator(cpu=True))
    task = prior_task(32)
    task.start_from(str(first.weights[0]))
    generator = load_generator(first.weights[0]).state_dict()
    assert all(torch.equal(value, generator[key]) for key, value in task.modules["generator"].state_dict().items())
    assert torch.equal(task.modules["discriminator"].out.weight, load_discriminator(first.weights[0]).out.weight)
    with pytest.raises(WeightsError, match="does not fit"):
        prior_task(16).start_from(str(first.weights[0]))


def test_restorer_starts_from_a_trained_one_and_then_goes_on_from_its_own(tmp_path):
    def train(folder, images, start=None):
        config = RestorerConfig(TINY, LossWeights(adversarial=0.0, feature=0.0, perceptual=0.0))
        return train_restorer(config, None, Blobs(), run_config(folder, images), Accelerator(cpu=True), start)

    first = Restorer.from_pretrained(train(tmp_path / "first", 8).weights[0])
    path = train(tmp_path / "second", 4, str(tmp_path / "first" / "restorer-tiny.safetensors")).weights[0]
    assert read_card(path)["training"]["start"] == str(tmp_path / "first" / "restorer-tiny.safetensors")
    begun = Restorer.from_pretrained(path)
    untrained = Restorer(TINY, generator=torch.Generator().manual_seed(0))
    lq = Blobs()[0][None]
    near, far = ((begun(lq).image - other(lq).image).abs().mean() for other in (first, untrained))
    assert near < far / 2
    resumed = train(tmp_path / "second", 8, str(tmp_path / "first" / "restorer-tiny.safetensors"))
    assert resumed.progress.steps == 2


def test_nearer_compares_neighbourhoods():
    clean = torch.zeros(1, 3, 40, 40)
    one, other = clean.clone(), clean + 0.1
    one[..., 20:] = 0.3
    one[..., 5, 5] = 0.9  # a single pixel does not make a place
    answer = nearer(one, other, clean)
    assert answer.shape == (1, 1, 40, 40)
    assert answer[..., :18].all() and not answer[..., 22:].any()


def test_trusting_wrongly_costs_more_than_mistrusting_wrongly():
    wanted = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert trust_distance(1 - wanted, wanted).tolist() == [4.0, 1.0]
    assert trust_distance(wanted, wanted).tolist() == [0.0, 0.0]


def test_the_trust_map_learns_without_moving_the_pictures_it_blends():
    """What the generator draws, and the codec's picture, have losses of their own."""
    _, losses, moved = learnt_from("trust")
    assert set(losses) >= {"trust", "pixel"} and losses["pixel"] == 0
    assert any(name.startswith("trust.") for name in moved)
    assert not any(name.startswith("generator.") or ".to_rgb." in name for name in moved)


@pytest.mark.parametrize("grey", [[1, 2, 3, 4, 5, 6], [4, 15]], ids=["side by side", "a stand-in too"])
def test_a_portrait_in_colour_stands_in_for_a_black_and_white_one(grey):
    faces, asked = SomeGrey(grey), torch.arange(20)
    images, found = read_coloured(faces, asked)
    assert not set(found.tolist()) & set(grey)
    assert found.bincount().max() <= 3  # nobody stands in for many
    assert torch.equal(found[found == asked], torch.tensor([one for one in range(20) if one not in grey]))
    assert torch.equal(images, faces.batch(found))
    assert torch.equal(asked, torch.arange(20))


def test_a_set_without_colour_is_shown_as_it_is():
    images, found = read_coloured(SomeGrey(list(range(20))), torch.arange(20))
    assert len(found.unique()) == 20  # none twice, none left out
    assert torch.equal(images, images[:, :1].expand_as(images))


@pytest.mark.parametrize("grey", [False, True])
def test_the_prior_sees_black_and_white_portraits_only_where_asked(monkeypatch, grey):
    seen = []
    monkeypatch.setattr(
        "bfr_lite.training.prior.train_discriminator", lambda task, real, *rest: seen.append(real.cpu()) or {}
    )
    config = replace(small_gan(), grey=grey, turned=0.0, critics=0.0)
    task = PriorTask(config, SomeGrey([0, 1, 2]), 4, Accelerator(cpu=True))
    task.step(0, torch.arange(4), step_rng(0, 0))
    colour = (seen[0].amax(dim=1) - seen[0].amin(dim=1)).mean(dim=(1, 2))
    assert (colour < 0.02).sum() == (3 if grey else 0)
