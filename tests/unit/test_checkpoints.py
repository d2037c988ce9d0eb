"""Weights on disk: whole or refused, opened without running code, in every layout that is in use."""

import argparse
import io
import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from traps import Trap

from bfr_lite import checkpoints
from bfr_lite.checkpoints import (
    fit,
    load_discriminator,
    load_generator,
    load_weights,
    read_card,
    save_weights,
    shipped_names,
    shipped_path,
)
from bfr_lite.discriminator import Discriminator
from bfr_lite.official import WeightsError
from bfr_lite.official_names import rosinality_generator_name
from bfr_lite.presets import preset
from bfr_lite.stylegan2 import Generator
from bfr_lite.torch_files import read_checkpoint

CONFIG = preset("tiny").gan


@pytest.fixture(scope="module")
def generator() -> Generator:
    """With half-precision weights, so that a file holds them exactly."""
    network = Generator(CONFIG, torch.Generator().manual_seed(1)).eval().requires_grad_(False)
    network.w_avg.copy_(torch.randn(CONFIG.w_dim, generator=torch.Generator().manual_seed(2)))
    network.load_state_dict({name: tensor.half().float() for name, tensor in network.state_dict().items()})
    return network


@pytest.fixture
def weights(tmp_path, generator):
    path = tmp_path / "prior-tiny.safetensors"
    save_weights(path, generator, {"preset": "tiny", "seed": 1})
    return path


def same_network(one: Generator, other: Generator) -> bool:
    ws = one.sample(2, torch.Generator().manual_seed(3))
    return one.config.size == other.config.size and torch.equal(one(ws), other(ws))


# Our own files


def test_round_trip(weights, generator):
    state = load_weights(weights)
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert state.keys() == generator.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in generator.state_dict().items())


def test_weights_are_rounded_to_half_precision(tmp_path, generator):
    network = Generator(CONFIG, torch.Generator().manual_seed(7))
    save_weights(tmp_path / "a.safetensors", network, {})
    state = load_weights(tmp_path / "a.safetensors")
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=1e-6)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_others_may_read_the_weights(weights):
    assert weights.stat().st_mode & 0o777 == 0o644


def test_card_holds_what_was_given_and_the_sha256(weights):
    card = read_card(weights)
    assert (card["preset"], card["seed"]) == ("tiny", 1)
    assert len(card["sha256"]) == 64


def test_nothing_else_is_left_in_the_folder(weights):
    assert sorted(path.name for path in weights.parent.iterdir()) == ["prior-tiny.json", "prior-tiny.safetensors"]


def test_altered_byte_is_noticed(weights):
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or altered; fetch it again"):
        load_weights(weights)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("card", [True, False], ids=["card", "no card"])
def test_truncated_file_is_refused(weights, kept, card):
    content = weights.read_bytes()
    weights.write_bytes(content[: int(kept * len(content))])
    if not card:
        weights.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="fetch it again"):
        load_weights(weights)


def test_weights_without_a_card_are_welcome(weights, generator):
    weights.with_suffix(".json").unlink()
    assert read_card(weights) == {}
    assert same_network(load_generator(weights), generator)


def test_broken_card_is_named(weights):
    weights.with_suffix(".json").write_text('{"preset": "tiny"')
    with pytest.raises(WeightsError, match=r"prior-tiny\.json is no JSON"):
        load_weights(weights)


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt"])
@pytest.mark.parametrize("kind", [str, None], ids=["str", "Path"])
def test_missing_file_is_named(tmp_path, name, kind):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=rf"at .*{name}"):
        load_generator(kind(path) if kind else path)


def test_a_write_that_fails_leaves_the_old_file(weights, generator, monkeypatch):
    before = weights.read_bytes()

    def broken(tensors, path):
        path.write_bytes(b"half a file")
        raise OSError("no space left")

    monkeypatch.setattr(checkpoints, "save_file", broken)
    with pytest.raises(OSError, match="no space left"):
        save_weights(weights, generator, {})
    assert weights.read_bytes() == before
    assert len(list(weights.parent.iterdir())) == 2


def test_a_card_that_fails_leaves_the_old_file_and_card(weights, generator, monkeypatch):
    before = {path: path.read_bytes() for path in weights.parent.iterdir()}
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_weights(weights, generator, {"made by": generator})
    assert {path: path.read_bytes() for path in weights.parent.iterdir()} == before


# Weights that do not fit


def test_other_preset_names_the_first_mismatch(generator):
    other = Generator(replace(CONFIG, channel_max=16), torch.Generator())
    with pytest.raises(WeightsError) as caught:
        fit(other, generator.state_dict(), "here.safetensors")
    message = str(caught.value)
    assert "here.safetensors does not fit" in message
    assert "blocks.4.const is (32, 4, 4), needs (16, 4, 4)" in message
    assert "more. Is it of another preset?" in message


def test_missing_and_unknown_entries_are_named(generator):
    state = dict(generator.state_dict())
    state["stranger"] = state.pop("w_avg")
    with pytest.raises(WeightsError, match="missing w_avg; unknown stranger"):
        fit(Generator(CONFIG), state, "here")


def test_fit_loads_nothing_when_it_refuses(generator):
    other = Generator(CONFIG, torch.Generator().manual_seed(5))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    state = dict(generator.state_dict())
    state.pop("w_avg")
    with pytest.raises(WeightsError):
        fit(other, state, "here")
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_larger_network_grown_from_a_smaller_one_does_not_fit(generator):
    with pytest.raises(WeightsError, match=r"missing blocks\.64\."):
        fit(Generator(replace(CONFIG, size=64)), generator.state_dict(), "here")


def test_generator_with_a_missing_part_is_refused(tmp_path, generator):
    state = {name: tensor for name, tensor in generator.state_dict().items() if name != "blocks.16.conv.conv.weight"}
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(WeightsError, match=r"missing blocks\.16\.conv\.conv\.weight"):
        load_generator(tmp_path / "part.pt")


# Other layouts


def rosinality(generator: Generator) -> dict[str, torch.Tensor]:
    """A generator's state as rosinality/stylegan2-pytorch saves it."""
    state, ours = {}, generator.state_dict()
    for index in range(CONFIG.mapping_layers):
        for part in ("weight", "bias"):
            state[f"style.{index + 1}.{part}"] = ours[f"mapping.layers.{index}.{part}"]
    state["input.input"] = ours["blocks.4.const"][None]
    places = ["blocks.4.conv"] + [f"blocks.{r}.{part}" for r in (8, 16, 32) for part in ("conv_up", "conv")]
    for index, place in enumerate(places):
        theirs = "conv1" if index == 0 else f"convs.{index - 1}"
        state[f"{theirs}.conv.weight"] = ours[f"{place}.conv.weight"][None]
        state[f"{theirs}.conv.modulation.weight"] = ours[f"{place}.conv.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = ours[f"{place}.conv.affine.bias"]
        state[f"{theirs}.noise.weight"] = ours[f"{place}.noise_strength"][None]
        state[f"{theirs}.activate.bias"] = ours[f"{place}.bias"]
        state[f"noises.noise_{index}"] = ours[f"{place}.noise_const"][None, None]
    for index, resolution in enumerate((4, 8, 16, 32)):
        theirs, place = "to_rgb1" if index == 0 else f"to_rgbs.{index - 1}", f"blocks.{resolution}.to_rgb"
        state[f"{theirs}.bias"] = ours[f"{place}.bias"].reshape(1, 3, 1, 1)
        state[f"{theirs}.conv.weight"] = ours[f"{place}.conv.weight"][None]
        state[f"{theirs}.conv.modulation.weight"] = ours[f"{place}.conv.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = ours[f"{place}.conv.affine.bias"]
    state["convs.0.conv.blur.kernel"] = torch.ones(4, 4)  # a constant of theirs, which we do not need
    return state


def test_rosinality_checkpoint_with_its_average(tmp_path, generator):
    content = {"g_ema": rosinality(generator), "g": {}, "d": {}, "latent_avg": generator.w_avg}
    torch.save(content, tmp_path / "rosinality.pt")
    loaded = load_generator(tmp_path / "rosinality.pt")
    ws = generator.sample(2, torch.Generator().manual_seed(3))
    assert torch.equal(loaded(ws), generator(ws))
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_rosinalitys_first_files_have_no_noise(tmp_path, generator):
    """His own FFHQ weights were saved before `noises` were; he loads them with strict=False."""
    state = {name: tensor for name, tensor in rosinality(generator).items() if not name.startswith("noises.")}
    assert len(state) < len(rosinality(generator))
    torch.save({"g_ema": state, "latent_avg": generator.w_avg}, tmp_path / "first.pt")
    one, two = (load_generator(tmp_path / "first.pt") for _ in range(2))
    assert torch.equal(one.blocks["8"].conv.noise_const, two.blocks["8"].conv.noise_const)
    assert one.blocks["8"].conv.noise_const.std() > 0.5
    assert torch.equal(one.blocks["8"].conv.conv.weight, generator.blocks["8"].conv.conv.weight)


def test_rosinalitys_checkpoints_hold_the_options_of_his_training(tmp_path, generator):
    options = argparse.Namespace(batch=16, path="data")
    content = {"g_ema": rosinality(generator), "latent_avg": generator.w_avg, "args": options, "ada_aug_p": 0.1}
    torch.save(content, tmp_path / "550000.pt")
    assert torch.equal(load_generator(tmp_path / "550000.pt").w_avg, generator.w_avg)


def test_the_average_beside_a_converted_network_is_read(tmp_path, generator):
    """BasicSR's conversion of the official weights keeps it there."""
    average = torch.linspace(-1, 1, generator.w_dim)
    torch.save({"params_ema": rosinality(generator), "latent_avg": average}, tmp_path / "converted.pth")
    assert torch.equal(load_generator(tmp_path / "converted.pth").w_avg, average)


def test_bare_state_dict_with_nvidias_names(tmp_path, generator):
    rename = {"conv_up": "conv0", "conv": "conv1", "to_rgb": "torgb"}
    state = {}
    for name, tensor in generator.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            rest = [rename[parts[2]], *(part for part in parts[3:] if part != "conv")] if len(parts) > 3 else parts[2:]
            name = ".".join(["synthesis", f"b{parts[1]}", *rest])
        name = name.replace("mapping.layers.", "mapping.fc")
        state["mapping.w_avg" if name == "w_avg" else name] = tensor
    torch.save(state, tmp_path / "ada.pt")
    assert same_network(load_generator(tmp_path / "ada.pt"), generator)


def test_checkpoint_of_a_training_run_gives_the_averaged_generator(tmp_path, generator):
    other = Generator(CONFIG, torch.Generator().manual_seed(8)).state_dict()
    modules = {"generator": other, "generator_ema": generator.state_dict(), "discriminator": {}}
    torch.save({"step": 3, "modules": modules, "optimizers": {}}, tmp_path / "checkpoint.pt")
    assert same_network(load_generator(tmp_path / "checkpoint.pt"), generator)


def test_our_safetensors(weights, generator):
    assert same_network(load_generator(weights), generator)


def test_preset_name_gives_the_shipped_prior():
    loaded = load_generator("lite")
    assert loaded.config.size == preset("lite").size
    assert load_generator().config == loaded.config
    assert "prior-lite" in shipped_names()


@pytest.mark.parametrize("name", ["huge", "Lite", ""])
def test_unknown_preset_says_what_there_is(name):
    with pytest.raises(FileNotFoundError, match=r"prior.*there are: .*prior-lite"):
        load_generator(name)


def test_unknown_kind_of_shipped_weights():
    with pytest.raises(FileNotFoundError, match="no codec weights for preset 'lite'"):
        shipped_path("codec", "lite")


# Files that hold no generator


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.zeros(2)},
        {"epoch": 3, "loss": 0.5},
        {},
        [torch.zeros(2)],
        torch.zeros(2),
        {"modules": {"codec": {}}},
        {"g_ema": {"nothing": torch.zeros(1)}},
    ],
    ids=["other tensors", "numbers", "empty", "list", "tensor", "checkpoint without a prior", "foreign g_ema"],
)
def test_file_without_a_generator_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError):
        load_generator(tmp_path / "other.pt")


@pytest.mark.parametrize("layout", ["ours", "rosinality"])
@pytest.mark.parametrize("damage", ["lost", "renamed", "wrong shape", "scalar", "number", "extra"])
def test_whatever_does_not_fit_is_named(tmp_path, generator, layout, damage):
    """Each kind of damage, at every seventh entry, is refused in words that name the entry."""
    whole = generator.state_dict() if layout == "ours" else rosinality(generator)
    for name in [entry for entry in whole if "kernel" not in entry][::7]:
        state = dict(whole)
        if damage in ("lost", "renamed"):
            taken = state.pop(name)
            state |= {f"{name}X": taken} if damage == "renamed" else {}
        elif damage == "wrong shape":
            state[name] = torch.zeros(2, 3, 5)
        elif damage == "scalar":
            state[name] = torch.zeros(())
        elif damage == "number":
            state[name] = 1.5
        else:
            state[f"{name}.extra"] = torch.zeros(2)
        torch.save({"g_ema": state} if layout == "rosinality" else state, tmp_path / "damaged.pt")
        if damage == "scalar" and whole[name].numel() == 1:  # a noise strength, which is a scalar in our network
            continue
        gone = layout == "rosinality" and damage in ("lost", "renamed")  # so it has our name alone
        named = re.escape(rosinality_generator_name(name) or name if gone else name)
        named = rf"{re.escape(name)}X|{named}" if damage == "renamed" else named
        with pytest.raises(WeightsError, match=named):
            load_generator(tmp_path / "damaged.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modules": torch.zeros(2)}, "no StyleGAN2 network among these entries .modules"),
        ({"g_ema": torch.zeros(2)}, "expected `g_ema`, a dictionary of tensors, found a Tensor"),
        ({"params_ema": {}}, "found an empty one"),
        ({"params": {1: torch.zeros(2)}}, "found 1: Tensor"),
        ({"g_ema": {"input.input": torch.zeros(1, dtype=torch.int64)}}, "needs plain float numbers"),
        ({"blocks.4.const": torch.zeros(1).to_sparse()}, "needs plain float numbers"),
        ({"style.99.weight": torch.zeros(2, 2), "input.input": torch.zeros(1)}, "without a gap"),
        ({"to_rgbs.99999999999.bias": torch.zeros(2), "input.input": torch.zeros(1)}, "no mapping network"),
        ({"codec.head.weight": torch.zeros(1)}, "whole restorer.*needed are a prior's"),
        ({"d": {"convs.0.0.weight": torch.zeros(1)}}, "found 'd': dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_file_holds_instead_is_named(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pt")
    for load in (load_generator, load_discriminator):
        with pytest.raises(WeightsError, match=message):
            load(tmp_path / "other.pt")


def test_the_content_tells_the_format_not_the_name(tmp_path, weights, generator):
    weights.rename(tmp_path / "tensors.pt")
    torch.save(generator.state_dict(), tmp_path / "zip.pkl")
    torch.save(generator.state_dict(), tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    for name in ("tensors.pt", "zip.pkl", "old.safetensors"):
        assert same_network(load_generator(tmp_path / name), generator)


def test_a_folder_is_named(tmp_path):
    (tmp_path / "run.pt").mkdir()
    with pytest.raises(WeightsError, match=r"run\.pt is a folder"):
        load_generator(tmp_path / "run.pt")


def test_a_discriminator_of_other_sizes_is_named(tmp_path, generator):
    other = Discriminator(replace(CONFIG, channel_max=16)).state_dict()
    content = {"modules": {"generator_ema": generator.state_dict(), "discriminator": other}}
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"the discriminator in .* does not fit.*needs"):
        load_discriminator(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("entry", "altered", "said"),
    [
        ("to_rgbs.0.bias", lambda t: t[:, :2], r"to_rgbs\.0\.bias is \(2,\), needs \(3,\)"),
        ("convs.1.conv.weight", lambda t: t[0, 0], r"convs\.1\.conv\.weight is .*, needs 4 axes"),
        ("convs.1.conv.weight", lambda t: t[:, 1:], r"convs\.1\.conv\.weight has 31 channels where 32 would fit"),
        ("convs.0.activate.bias", None, r"missing blocks\.8\.conv_up\.bias \(our name\)"),
    ],
)
def test_entries_that_do_not_fit_have_the_names_of_the_users_file(tmp_path, generator, entry, altered, said):
    state = rosinality(generator)
    tensor = state.pop(entry)
    if altered is not None:
        state[entry] = altered(tensor)
    torch.save({"g_ema": state}, tmp_path / "theirs.pt")
    with pytest.raises(WeightsError, match=said):
        load_generator(tmp_path / "theirs.pt")


def test_a_discriminator_is_no_generator(tmp_path):
    save_weights(tmp_path / "d.safetensors", Discriminator(CONFIG), {})
    with pytest.raises(WeightsError):
        load_generator(tmp_path / "d.safetensors")


# Code in files


def trap_in(folder, function=os.system) -> Trap:
    """Unpickled without care, it makes the file `sprung`."""
    code = function in (eval, exec)
    return Trap(function, f"open({str(folder / 'sprung')!r}, 'w')" if code else f"touch {folder / 'sprung'}")


class Getattr:
    """Asks for `getattr`, by which a pickle can walk from a harmless module to any function."""

    def __reduce__(self):
        return getattr, ("text", "upper")


class OutsideTrap(pickle.Pickler):
    """Writes a trap as the name of data outside the pickle, where torch keeps its storages."""

    def persistent_id(self, one):
        return ("storage", one.trap) if isinstance(one, Outside) else None


class Outside:
    def __init__(self, trap):
        self.trap = trap


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl"])
@pytest.mark.parametrize("how", ["eval", "exec", "getattr", "persistent id", "state"])
def test_tricks_with_code_are_refused_in_every_format(tmp_path, suffix, how):
    if how == "persistent id":
        written = io.BytesIO()
        OutsideTrap(written, protocol=2).dump({"g_ema": Outside(trap_in(tmp_path))})
        pickled = written.getvalue()
    else:
        trap = {"eval": trap_in(tmp_path, eval), "exec": trap_in(tmp_path, exec), "getattr": Getattr()}.get(
            how, OrderedDict(deep=OrderedDict(deeper=[trap_in(tmp_path)]))
        )
        pickled = pickle.dumps({"g_ema": {"input.input": trap}}, protocol=2)
    path = tmp_path / f"evil.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickled)
    else:  # the pickle inside a zip archive, as torch writes it
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
    for load in (load_generator, load_discriminator):
        with pytest.raises(WeightsError, match="was not opened") as caught:
            load(path)
        assert "Re-running" not in str(caught.value)  # PyTorch's advice to open it all the same
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("how", ["pickle", "zip", "legacy"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, how):
    path, content = tmp_path / "evil.pt", {"g_ema": {"input.input": torch.zeros(1)}, "extra": trap_in(tmp_path)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))  # the protocol torch uses
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    for read in (read_checkpoint, load_generator):
        with pytest.raises(WeightsError, match="was not opened"):
            read(path)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_would_spring(tmp_path):
    pickle.loads(pickle.dumps(trap_in(tmp_path)))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.3, 0.9, 0.999])
def test_truncated_checkpoint_is_refused(tmp_path, generator, kept):
    path = tmp_path / "checkpoint.pt"
    torch.save({"modules": {"generator_ema": generator.state_dict()}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(WeightsError, match="no whole checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_no_checkpoint(tmp_path, seed):
    noise = torch.randint(0, 256, (200,), generator=torch.Generator().manual_seed(seed))
    (tmp_path / "noise.pt").write_bytes(bytes(noise.tolist()))
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "noise.pt")


def test_text_is_no_checkpoint(tmp_path):
    (tmp_path / "page.pt").write_text(json.dumps({"error": "not found"}))
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "page.pt")


# The discriminator that belongs to a generator


def test_shipped_discriminator_fits_the_shipped_prior():
    discriminator = load_discriminator("lite")
    assert discriminator.config == load_generator("lite").config
    assert not any(p.requires_grad for p in discriminator.parameters())


def test_discriminator_is_looked_for_beside_the_prior(weights):
    assert load_discriminator(weights) is None
    saved = Discriminator(CONFIG, torch.Generator().manual_seed(4))
    save_weights(weights.with_name("discriminator-tiny.safetensors"), saved, {})
    loaded = load_discriminator(weights)
    torch.testing.assert_close(loaded.out.weight, saved.out.weight.detach(), rtol=1e-3, atol=1e-6)


def test_discriminator_of_a_checkpoint(tmp_path, generator):
    saved = Discriminator(CONFIG, torch.Generator().manual_seed(4))
    modules = {"generator_ema": generator.state_dict(), "discriminator": saved.state_dict()}
    torch.save({"step": 3, "modules": modules, "optimizers": {}}, tmp_path / "checkpoint.pt")
    loaded = load_discriminator(tmp_path / "checkpoint.pt")
    assert torch.equal(loaded.out.weight, saved.out.weight)


def test_a_file_that_claims_a_giant_is_refused_before_it_is_built(tmp_path):
    state = {"mapping.layers.0.weight": torch.zeros(1, 1)}
    state |= {f"blocks.{2**level}.conv.conv.weight": torch.zeros(1, 1, 3, 3) for level in range(2, 17)}
    save_file(state, tmp_path / "giant.safetensors")
    with pytest.raises(WeightsError, match="is none we know"):
        load_generator(tmp_path / "giant.safetensors")


@pytest.mark.parametrize("layout", ["wide", "deep"])
def test_few_numbers_cannot_announce_a_large_network(tmp_path, layout):
    widths = {f"blocks.{size}.conv.conv.weight": torch.zeros(8, 8, 3, 3) for size in (4, 8)}
    if layout == "wide":
        state = {"mapping.layers.0.weight": torch.zeros(100_000, 1), "mapping.layers.1.bias": torch.zeros(1)}
    else:
        state = {"mapping.layers.0.weight": torch.zeros(8, 8)}
        widths = {f"blocks.{size}.conv.conv.weight": torch.zeros(100_000, 1, 1, 1) for size in (4, 8)}
    save_file(state | widths, tmp_path / "large.safetensors")
    with pytest.raises(WeightsError, match=r"mapping\.layers\.1\.weight|needs \(100000, 100000, 3, 3\)"):
        load_generator(tmp_path / "large.safetensors")


def test_entries_that_share_their_numbers_are_refused(tmp_path):
    """GFPGAN's layout is converted entry by entry: two hundred names of one tensor became two hundred tensors."""
    one = torch.zeros(50_000)
    torch.save({"params_ema": {f"style_convs.{number}.bias": one for number in range(200)}}, tmp_path / "one.pth")
    assert (tmp_path / "one.pth").stat().st_size < 300_000
    with pytest.raises(WeightsError, match="200 entries share their numbers"):
        load_generator(tmp_path / "one.pth")


def test_a_file_whose_name_has_no_suffix_is_opened(tmp_path, weights, generator):
    (tmp_path / "mine").write_bytes(weights.read_bytes())
    assert torch.equal(load_generator(tmp_path / "mine").w_avg, load_generator(weights).w_avg)


def test_a_tensor_larger_than_its_data_is_refused(tmp_path):
    wide = torch.zeros(1).expand(60_000, 60_000)
    torch.save({"g_ema": {"style.1.weight": wide, "input.input": torch.zeros(1)}}, tmp_path / "wide.pt")
    assert (tmp_path / "wide.pt").stat().st_size < 10_000
    with pytest.raises(WeightsError, match="larger than its data"):
        load_generator(tmp_path / "wide.pt")


def test_a_checkpoint_with_packed_entries_is_refused(tmp_path):
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "packed.pt", "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "packed.pt").stat().st_size < 10_000
    with pytest.raises(WeightsError, match="its entries are packed"):
        read_checkpoint(tmp_path / "packed.pt")
