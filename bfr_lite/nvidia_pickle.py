"""NVIDIA's network pickles, opened without running anything in them.

`stylegan2-ada-pytorch` saves its networks with `pickle`, source code included, and its own loader executes that code.
A pickle is a program for a small machine that may call any function it names. Here it may name the few below, which
make tensors and plain containers; every other name ends the reading. A network becomes its entries by dotted name, as
`state_dict` gives them, and its source code stays a string that nobody looks at.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bfr_lite.official import WeightsError
from bfr_lite.torch_files import check_distinct, larger_than_its_data

NVIDIA_GROUP = "b4.mbstd.group_size"  # the entry that says how many pictures a discriminator compares


class _Network(dict):
    """What was in an object of the pickle that has source code with it: its attributes."""


class _Ignored:
    """A NumPy number, such as a layer's gain, or its type: the pickle makes them, and nobody reads them."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Record(dict):
    """NVIDIA's EasyDict: a dictionary whose attributes, if the pickle sets any, are its entries."""

    def __setstate__(self, state: Mapping) -> None:
        self.update(state)


def read_networks(path: Path) -> dict[str, dict[str, Tensor]]:
    """Every network of an NVIDIA `.pkl` by name, usually "G", "D" and "G_ema", as {entry: tensor}.

    Raises `WeightsError` when the file is damaged, asks for anything but tensors and plain containers, or holds no
    network.
    """
    with Path(path).open("rb") as file:
        whole = io.BytesIO(file.read())
    try:
        content = _Unpickler(whole).load()
        networks = content if isinstance(content, dict) else {}
        found = {str(name): _state(one, set()) for name, one in networks.items() if isinstance(one, _Network)}
        for name, state in found.items():
            check_distinct(state)
            found[name] = {entry: tensor.float() for entry, tensor in state.items()}
    except Exception as error:  # a damaged file can fail anywhere in the reader
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} is no pickle of NVIDIA's networks and was not opened further: {reason}") from error
    if not found:
        raise WeightsError(f"{path} holds no network: expected a dictionary with G_ema, as stylegan2-ada-pytorch saves")
    return found


class _Unpickler(pickle._Unpickler):
    """Knows the names in `_ALLOWED` and torch's dtypes, and refuses all others.

    The reader in Python: the one in C makes room for whatever a few bytes announce.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def load_build(self) -> None:
        """Set the state of an object that the file made, and of nothing else, such as a function of ours."""
        if not isinstance(self.stack[-2], _Network | _Record | _Ignored | OrderedDict):
            raise pickle.UnpicklingError(f"it changes a {type(self.stack[-2]).__name__}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str) -> Callable | torch.dtype:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a network's weights have no need of")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: object) -> None:
        raise pickle.UnpicklingError("it refers to data outside the file")


def _network(meta: Mapping) -> _Network:
    return _Network(meta["state"])


def _storage(content: bytes) -> torch.storage.TypedStorage | torch.UntypedStorage:
    if content.startswith(b"PK"):  # a zip, which little can fill with very much; NVIDIA's are older than these
        raise pickle.UnpicklingError("it holds a zip file")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _parameter(data: Tensor, requires_grad: bool, hooks: object) -> Tensor:
    return data


def _tensor(storage, offset: int, size: tuple, stride: tuple, requires_grad: bool, hooks: object) -> Tensor:
    tensor = torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())
    if larger_than_its_data(tensor):
        raise pickle.UnpicklingError(f"a tensor {tuple(tensor.shape)} is larger than its data")
    return tensor


_ALLOWED: dict[tuple[str, str], Callable] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _network,
    ("dnnlib.util", "EasyDict"): _Record,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): torch.Size,
    ("builtins", "set"): set,
    ("numpy", "dtype"): _Ignored,
    ("numpy.core.multiarray", "scalar"): _Ignored,
    ("numpy._core.multiarray", "scalar"): _Ignored,  # NumPy 2's name for the same
}


def _state(network: _Network, seen: set[int], prefix: str = "") -> dict[str, Tensor]:
    """Parameters and buffers of a network and of those inside it, by dotted name, and the size of its groups."""
    if id(network) in seen:  # a few bytes can put one into itself, or into so many that nobody could walk them all
        raise ValueError(f"{prefix or 'a network'} is a network that was met before")
    seen.add(id(network))
    entries = {}
    if prefix + "group_size" == NVIDIA_GROUP and isinstance(network.get("group_size"), int):
        entries[NVIDIA_GROUP] = torch.tensor(float(network["group_size"]))
    for kind in ("_parameters", "_buffers"):
        for name, tensor in network.get(kind, {}).items():
            if isinstance(tensor, Tensor):
                entries[prefix + name] = tensor
    for name, inner in network.get("_modules", {}).items():
        if isinstance(inner, _Network):
            entries |= _state(inner, seen, f"{prefix}{name}.")
    return entries
