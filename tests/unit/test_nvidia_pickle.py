"""NVIDIA's pickles: what is in them is read, and nothing in them runs."""

import os
import pickle
import sys
import tracemalloc
import types
from pathlib import Path

import pytest
import torch
from traps import Trap

from bfr_lite.nvidia_pickle import NVIDIA_GROUP, read_networks
from bfr_lite.official import WeightsError

ENTRIES = {
    "const": torch.randn(2, 2, generator=torch.Generator().manual_seed(0)).T,
    "w_avg": torch.zeros(3),
    "b4.weight": torch.arange(6.0).reshape(2, 3),
    "b4.resample_filter": torch.ones(2),
    "b8.conv.bias": torch.tensor([0.5, 1.5], dtype=torch.float16),
}


def test_a_network_becomes_its_entries(nvidia, tmp_path):
    made = nvidia(ENTRIES)
    (tmp_path / "n.pkl").write_bytes(
        pickle.dumps({"G_ema": made, "training_set_kwargs": {"size": 32}, "augment": None})
    )
    networks = read_networks(tmp_path / "n.pkl")
    assert list(networks) == ["G_ema"]
    assert set(networks["G_ema"]) == set(ENTRIES)
    for name, tensor in ENTRIES.items():
        assert torch.equal(networks["G_ema"][name], tensor.float()) and not networks["G_ema"][name].requires_grad


def test_the_options_a_network_was_made_with_are_passed_over(nvidia, tmp_path, monkeypatch):
    """Every network of NVIDIA's training holds some, in a dictionary of their own kind."""

    class EasyDict(dict):
        pass

    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    dnnlib, util = types.ModuleType("dnnlib"), types.ModuleType("dnnlib.util")
    util.EasyDict = EasyDict
    monkeypatch.setitem(sys.modules, "dnnlib", dnnlib)
    monkeypatch.setitem(sys.modules, "dnnlib.util", util)
    made = nvidia(ENTRIES)
    made._init_kwargs = EasyDict(mapping_kwargs=EasyDict(num_layers=8))
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": made}))
    assert set(read_networks(tmp_path / "n.pkl")["G_ema"]) == set(ENTRIES)


def test_how_many_pictures_a_discriminator_compares_is_read(nvidia, tmp_path):
    made = nvidia({"b4.mbstd.nothing": torch.zeros(1)})
    made.b4.mbstd.group_size = 8
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"D": made}))
    assert read_networks(tmp_path / "n.pkl")["D"][NVIDIA_GROUP].item() == 8


def test_numpy_numbers_by_their_old_name_are_passed_over(nvidia, tmp_path):
    """NVIDIA's files are older than NumPy 2, which moved the function that makes a number."""
    content = pickle.dumps({"G_ema": nvidia(ENTRIES)}, protocol=3)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != content
    (tmp_path / "n.pkl").write_bytes(old)
    assert set(read_networks(tmp_path / "n.pkl")["G_ema"]) == set(ENTRIES)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {}/sprung",), "posix.system|nt.system"),
        (eval, ("open('{}/sprung', 'w')",), "builtins.eval"),
        (exec, ("open('{}/sprung', 'w')",), "builtins.exec"),
        (getattr, (os, "system"), "builtins.getattr"),
        (Path, ("{}",), "pathlib"),
        (torch.load, ("{}/n.pkl",), "torch.serialization.load"),
        (torch.hub.load, ("{}", "x"), "torch.hub.load"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_file_that_would_run_code_is_refused(nvidia, tmp_path, function, arguments, name, deep):
    arguments = tuple(one.format(tmp_path) if isinstance(one, str) else one for one in arguments)
    if function is getattr:  # a module cannot be pickled; its name can be asked for all the same
        arguments = ("x", "upper")
    trap = Trap(function, *arguments)
    made = nvidia(ENTRIES)
    if deep:
        made.b4.trap = trap
    content = {"G_ema": made} if deep else {"G_ema": made, "extra": trap}
    (tmp_path / "n.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=name):
        read_networks(tmp_path / "n.pkl")
    assert not (tmp_path / "sprung").exists()


def test_code_inside_a_tensors_bytes_does_not_run(nvidia, tmp_path):
    """A storage is a torch file within the pickle, and could be another pickle with a trap."""
    inner = pickle.dumps(Trap(os.system, f"touch {tmp_path}/sprung"), protocol=2)
    trap = Trap(torch.storage._load_from_bytes, inner)
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": nvidia(ENTRIES), "extra": trap}))
    with pytest.raises(WeightsError, match="was not opened further"):
        read_networks(tmp_path / "n.pkl")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.99])
def test_truncated_files_are_refused(nvidia, tmp_path, kept):
    content = pickle.dumps({"G_ema": nvidia(ENTRIES)})
    (tmp_path / "n.pkl").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(WeightsError, match="was not opened further"):
        read_networks(tmp_path / "n.pkl")


@pytest.mark.parametrize("content", [{"weights": [1, 2]}, [1, 2], {}, {"G_ema": {"a": 1}}])
def test_files_without_a_network_say_what_was_expected(tmp_path, content):
    (tmp_path / "n.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="G_ema"):
        read_networks(tmp_path / "n.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04Nr\x80\xf0\xfa\x02.", "G_ema"),  # stores None as its fifty millionth object
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.", "was not opened further"),  # a terabyte, it says
    ],
    ids=["memo", "bytearray"],
)
def test_a_few_bytes_take_little_memory(content, message, tmp_path):
    (tmp_path / "n.pkl").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=message):
        read_networks(tmp_path / "n.pkl")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1e7


def test_networks_within_themselves_end(tmp_path, nvidia):
    made = nvidia(ENTRIES)
    for _ in range(40):  # each holds the one before twice: to be met a million million times
        outer = nvidia({"weight": torch.zeros(1)})
        outer.add_module("a", made)
        outer.add_module("b", made)
        made = outer
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": made}))
    with pytest.raises(WeightsError, match="was met before"):
        read_networks(tmp_path / "n.pkl")


def test_entries_that_share_their_numbers_are_refused(tmp_path, nvidia):
    made = nvidia({f"b4.w{number}": torch.zeros(50_000, dtype=torch.float16) for number in range(9)})
    made.b4._parameters = dict.fromkeys(made.b4._parameters, made.b4.w0)
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": made}))
    assert (tmp_path / "n.pkl").stat().st_size < 150_000
    with pytest.raises(WeightsError, match="9 entries share their numbers"):
        read_networks(tmp_path / "n.pkl")


def test_a_tensor_larger_than_its_data_is_refused(tmp_path, nvidia):
    wide = torch.zeros(1, dtype=torch.float16).expand(60_000, 60_000)
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": nvidia({"const": wide})}))
    with pytest.raises(WeightsError, match="larger than its data"):
        read_networks(tmp_path / "n.pkl")


def test_a_file_does_not_change_functions_of_ours(tmp_path):
    change = b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__N\x85s\x86b."
    (tmp_path / "n.pkl").write_bytes(change)
    with pytest.raises(WeightsError, match="it changes a function"):
        read_networks(tmp_path / "n.pkl")
