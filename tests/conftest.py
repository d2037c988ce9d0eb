"""Fixtures that every test may use."""

import os
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import CallbackDispatcher
from torch import nn

from bfr_lite import Restorer, preset
from bfr_lite.checkpoints import save_weights
from bfr_lite.download import MissingFileError
from bfr_lite.face_sets import CORES, StoredFaces


def pytest_configure() -> None:
    """Test processes side by side share the cores, and so do the programs that tests start."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0))
    if workers and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, CORES // workers)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def congress_root() -> Path:
    """The folder that holds the real portraits and the face detector, or a skip that says why."""
    folder = os.environ.get("BFR_LITE_DATA")
    if not folder:
        pytest.skip("BFR_LITE_DATA is not set: real portraits not available")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def this_machine_alone() -> Iterator[None]:
    """Nothing in this process asks another machine: what is downloaded comes from a server of the test's own."""
    look_up = socket.getaddrinfo

    def local(host, *arguments, **options):
        if host not in (None, "", "localhost", "127.0.0.1", "::1", b"localhost"):
            pytest.fail(f"a test asked for {host}")
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", local)
        yield


@pytest.fixture
def callbacks_raise(monkeypatch) -> None:
    """What a button calls may fail the test; ipywidgets only logs it."""

    def call(self, *arguments, **options):
        for one in self.callbacks:
            one(*arguments, **options)

    monkeypatch.setattr(CallbackDispatcher, "__call__", call)


@pytest.fixture
def no_yunet(monkeypatch) -> None:
    """As on a machine that has no YuNet and cannot fetch it."""

    def missing():
        raise MissingFileError("three ways to get it")

    monkeypatch.setattr("bfr_lite.faces.yunet_path", missing)


@pytest.fixture(scope="session")
def restorer() -> Restorer:
    """A restorer of preset tiny that takes no time: not trained, but its conditions are at work."""
    built = Restorer(preset("tiny"))
    draw = torch.Generator().manual_seed(1)
    for block in built.generator.blocks.values():
        block.to_rgb.conv.weight.data *= 0.1
    for level in built.codec.decoder.values():
        level.condition.weight.data = torch.randn(level.condition.weight.shape, generator=draw)
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def weights(restorer, tmp_path_factory) -> Path:
    """A weight file of that restorer."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, restorer, {"preset": "tiny"})
    return path


@pytest.fixture(scope="session")
def noise_faces() -> StoredFaces:
    """Eight pictures of noise, 32 px, in place of portraits where what they show does not matter."""
    pictures = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    points = torch.tensor([[11.0, 15], [21, 15], [16, 20], [12, 25], [20, 25]]).expand(8, -1, -1)
    return StoredFaces("noise", pictures, [str(i) for i in range(8)], points)


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BFR_LITE_CACHE", str(folder))
    return folder


@pytest.fixture
def no_data(own_cache, monkeypatch) -> Path:
    """No data folder and an empty cache, which is returned."""
    monkeypatch.delenv("BFR_LITE_DATA", raising=False)
    return own_cache


class NvidiaModule(nn.Module):
    """Pickles as a class under NVIDIA's `persistent_class`: a function's name, the attributes, and some source code.

    state: {dotted name: tensor}; those that `buffers` names are buffers.
    """

    def __init__(self, state: dict[str, torch.Tensor], buffers: tuple[str, ...] = ("w_avg", "resample_filter")):
        super().__init__()
        inner: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in state.items():
            first, _, rest = name.partition(".")
            if rest:
                inner.setdefault(first, {})[rest] = tensor
            elif first in buffers:
                self.register_buffer(first, tensor)
            else:
                self.register_parameter(first, nn.Parameter(tensor))
        for name, part in inner.items():
            self.add_module(name, NvidiaModule(part, buffers))
        self.weight_gain = 1 / np.sqrt(512)  # a NumPy number, as NVIDIA's layers have
        self.note = {"size": 4, "dtype": torch.float32, "shape": torch.Size([1, 2]), "rest": [1.5, None, (True, "x")]}

    def __reduce__(self):
        source = "import os\nos.system('false')\n"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Layer", "state": self.__dict__}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@pytest.fixture
def nvidia(monkeypatch) -> type[NvidiaModule]:
    """`NvidiaModule`, and their module, by whose name the function that rebuilds a network is pickled."""
    package, persistence = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("never called: the file names it, we have our own")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj, package.persistence = _reconstruct_persistent_obj, persistence
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", persistence)
    return NvidiaModule
