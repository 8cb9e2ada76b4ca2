"""Tensors come out of any checkpoint, nothing in it is executed, and a broken file is a clear error."""

from __future__ import annotations

import collections
import importlib
import io
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from hsray.errors import RequestError
from hsray.strategies.tensorfile import read_tensors

MODULE = """
class Config:  # as OmegaConf's containers: a class of its own, with a state, slots and items
    __slots__ = ("content", "parent", "__dict__")
    def __init__(self, content): self.content, self.parent = content, self
    def __getstate__(self): return ({"kind": Kind(3)}, {"content": self.content, "parent": self.parent})
    def __setstate__(self, state): raise AssertionError("executed")
class Kind(int): pass
class Items(dict): pass
class Rows(list): pass
"""


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted
    )


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    return {
        "plain": base, "turned": base.T, "part": base[2:4, 1:], "scalar": torch.tensor(3), "empty": torch.zeros(0, 3),
        "half": base.half(), "brain": base.bfloat16(), "yes": base > 0, "bytes": torch.arange(9, dtype=torch.uint8),
        "double": base.double(), "parameter": nn.Parameter(base[:2].clone()).detach(),
    }  # fmt: skip


def test_a_lightning_checkpoint_gives_its_tensors_though_its_classes_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone_config.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    gone = importlib.import_module("gone_config")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    parts = gone.Items(a=gone.Kind(1)), gone.Rows([gone.Kind(2), {3, 4}, frozenset([5])])
    content = {
        "epoch": 3, "state_dict": module.state_dict(), "hyper_parameters": {"cfg": gone.Config([*parts, Path("x")])},
        "callbacks": collections.defaultdict(list, {"a": [1]}), "optimizer_states": [{"step": torch.ones(1)}],
    }  # fmt: skip
    torch.save(content, tmp_path / "authors.ckpt")
    monkeypatch.delitem(sys.modules, "gone_config")
    (tmp_path / "gone_config.py").unlink()
    with pytest.raises((pickle.UnpicklingError, ModuleNotFoundError, AttributeError)):
        torch.load(tmp_path / "authors.ckpt", weights_only=True)
    assert same(read_tensors(tmp_path / "authors.ckpt"), module.state_dict())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_kind_of_tensor_comes_back(tmp_path: Path, protocol: int) -> None:
    whole = {**state(), "learned": nn.Parameter(torch.ones(2))}
    torch.save(
        {"module." + name: tensor for name, tensor in whole.items()}, tmp_path / "a.pt", pickle_protocol=protocol
    )
    assert same(read_tensors(tmp_path / "a.pt"), whole)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state", None])
def test_files_older_than_the_archive_are_read(tmp_path: Path, key: str | None) -> None:
    content = {key: state(), "epoch": 1} if key else state()
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(content, tmp_path / "new.pth")
    assert same(read_tensors(tmp_path / "old.pth"), state())
    assert same(read_tensors(tmp_path / "new.pth"), state())


class Trap:
    def __init__(self, path: Path, call: Any = os.mkdir) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> Any:
        return self.call, (str(self.path),)


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_is_executed(tmp_path: Path, archive: bool) -> None:
    sprung = tmp_path / "sprung"
    content = {"state_dict": state(), "a": Trap(sprung), "b": [Trap(Path(f"mkdir {sprung}"), os.system)]}
    torch.save(content, tmp_path / "trap.ckpt", _use_new_zipfile_serialization=archive)
    assert same(read_tensors(tmp_path / "trap.ckpt"), state())
    assert not sprung.exists()
    torch.load(tmp_path / "trap.ckpt", weights_only=False)  # the trap would have worked
    assert sprung.exists()


def with_pickle(path: Path, pickled: bytes, storage: bytes = bytes(16), compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", storage)
    return path


class Persistent(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if obj == "THE STORAGE" else None


class Claim:
    """Pickles as a tensor of any claimed place."""

    def __init__(self, *place: Any) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, ("THE STORAGE", *self.place, False, collections.OrderedDict())


def claimed(*place: Any) -> bytes:
    buffer = io.BytesIO()
    Persistent(buffer, 2).dump({"w": Claim(*place)})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "place",
    [
        (0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (4, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (2**70, (1,), (1,)),
        (0, (10**9, 10**9), (0, 0)), (0, (2, 2), (1,)), (0, ("a",), (1,)), (0, (2.0,), (1,)),
    ],
)  # fmt: skip
def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path, place: tuple) -> None:
    assert read_tensors(with_pickle(tmp_path / "fits.pt", claimed(0, (2, 2), (2, 1))))["w"].shape == (2, 2)
    with pytest.raises(RequestError, match="no whole checkpoint"):
        read_tensors(with_pickle(tmp_path / "claims.pt", claimed(*place)))


def test_what_could_unpack_to_anything_is_refused(tmp_path: Path) -> None:
    bomb = with_pickle(tmp_path / "bomb.pt", claimed(0, (2, 2), (2, 1)), bytes(10**7), zipfile.ZIP_DEFLATED)
    with pytest.raises(RequestError, match="compressed"):
        read_tensors(bomb)
    deep = b"\x80\x02)" + b"2\x86" * 60 + b"}K\x01s."  # a tuple of 2**60 leaves, as a key hashed for ever
    with pytest.raises(RequestError):
        read_tensors(with_pickle(tmp_path / "deep.pt", deep))


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.ones(1)], {"state_dict": {"a": [torch.ones(1)]}}])
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "none.pt")
    with pytest.raises(RequestError, match="no dictionary of tensors"):
        read_tensors(tmp_path / "none.pt")


def small(folder: Path, archive: bool) -> bytes:
    path = folder / "small.pt"
    torch.save({"state_dict": state(), "cfg": [Path("x"), {"a": 1}]}, path, _use_new_zipfile_serialization=archive)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_an_error_or_still_tensors(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(small(tmp_path, data.draw(st.booleans())))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.pt").write_bytes(content)
    attempt(tmp_path / "damaged.pt")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_pickle_is_an_error_or_still_tensors(tmp_path: Path, data: st.DataObject) -> None:
    """Inside an archive whose checksums are right: the checksum does not stand before the pickle."""
    pickled = bytearray(claimed(0, (2, 2), (2, 1)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(pickled) - 1))
        pickled[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    attempt(with_pickle(tmp_path / "pickle.pt", bytes(pickled)))


def attempt(path: Path) -> None:
    try:
        found = read_tensors(path)
    except RequestError as error:
        assert error.where == str(path)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
