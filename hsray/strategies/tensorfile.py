"""Tensors out of a checkpoint's file, whoever wrote it: nothing in the file is ever imported, called or built.

A file of torch.save is a zip archive: one pickle, which says how the tensors lie in storages, and the storages. The
authors of the study save PyTorch-Lightning checkpoints, whose pickle holds configuration objects beside the tensors,
so torch's own safe loader refuses it. Here the pickle is not unpickled at all: its opcodes are read one by one, plain
containers and tensors are understood, and everything else becomes `OPAQUE`. Torch's older files are a row of pickles
with the storages behind them, and are read in the same way.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hsray.errors import RequestError

# Where the state dict may lie in a checkpoint that holds more than one.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model")
OPAQUE = object()
MAGIC = 0x1950A86A20F9469CFC6C  # of torch's older files
DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8,
    "bool": torch.bool,
}  # fmt: skip
# What reading a broken file may raise, in the libraries and in `_read_pickle` alike.
UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError,
    OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True)
class Global:
    """A name that the pickle mentions; it is never looked up."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """A record of the archive, and the type of its values where the pickle says it here."""

    key: str
    dtype: torch.dtype | None


@dataclass(frozen=True)
class Lying:
    """A tensor as it lies in a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint's state dict by name, without the prefix `module.` of data-parallel training.

    Raises:
        RequestError: the file is no checkpoint, is broken or truncated, or holds no tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        elif zipfile.is_zipfile(path):
            found = _from_archive(path)
        else:
            found = _from_row(path)
    except UNREADABLE as error:
        told = str(error).splitlines() if not isinstance(error, pickle.UnpicklingError) else []
        why = f"{type(error).__name__}: {told[0][:120]}" if told else type(error).__name__
        raise RequestError(
            f"this is no whole checkpoint of plain tensors ({why})",
            where=str(path),
            do="give a .safetensors file or what torch.save wrote; get it anew if it may be truncated",
        ) from error
    if not found:
        raise RequestError(
            "this checkpoint holds no dictionary of tensors", where=str(path), do="give a state dict by name"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def _state_dict(content: Any) -> dict[str, Lying]:
    """The dictionary of tensors in what a checkpoint holds."""
    if not isinstance(content, dict):
        return {}
    for one in (*(content.get(key) for key in STATE_KEYS), content):
        tensors = {n: t for n, t in one.items() if isinstance(t, Lying)} if isinstance(one, dict) else {}
        if tensors:
            return tensors
    return {}


def _from_archive(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"the archive holds {len(pickles)} pickles, not one")
        prefix = pickles[0].removesuffix("data.pkl")
        if f"{prefix}byteorder" in archive.namelist() and _record(archive, f"{prefix}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        lying = _state_dict(_read_pickle(_record(archive, pickles[0])))
        storages: dict[str, bytearray] = {}
        for one in lying.values():
            key = one.storage.key
            if key not in storages:
                storages[key] = bytearray(_record(archive, f"{prefix}data/{key}"))
        return {name: _tensor(storages[one.storage.key], one) for name, one in lying.items()}


def _from_row(path: Path) -> dict[str, Tensor]:
    """Torch's format before 1.6: magic number, version and machine, the object, the storages' keys, the storages."""
    # Mapped: however much a broken pickle asks for, no more is read than there is.
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as file:
        magic, _, machine, content, keys = (_read_pickle(file) for _ in range(5))
        if magic != MAGIC or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ValueError("it does not start as torch's files do")
        lying = _state_dict(content)
        dtypes = {one.storage.key: one.storage.dtype for one in lying.values()}
        storages: dict[str, bytearray] = {}
        left = len(file) - file.tell()
        for key in map(str, keys):
            (count,) = struct.unpack("<q", file.read(8))
            dtype = dtypes.get(key)
            if dtype is None:
                raise ValueError(f"its storage {key} is of an unknown type")
            if not 0 <= count * dtype.itemsize <= left:
                raise ValueError(f"its storage {key} speaks of more than the file holds")
            storages[key] = bytearray(file.read(count * dtype.itemsize))
        return {name: _tensor(storages[one.storage.key], one) for name, one in lying.items()}


def _record(archive: zipfile.ZipFile, name: str) -> bytes:
    """A record, with its checksum checked. torch stores them plainly; a compressed one could unpack to anything."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its record {name} is compressed")
    return archive.read(info)


def _tensor(content: bytearray, lying: Lying) -> Tensor:
    if not content:
        if math.prod(lying.size):
            raise ValueError("a storage is empty")
        return torch.zeros(lying.size, dtype=lying.dtype)
    values = torch.frombuffer(content, dtype=lying.dtype)
    ends = [(length - 1) * step for length, step in zip(lying.size, lying.stride, strict=True)]
    last = lying.offset + sum(ends)
    whole = math.prod(lying.size)
    # A stride of zero would let a small file speak of a tensor of any size.
    if whole > len(values) or (whole and not 0 <= last < len(values)):
        raise ValueError(f"a tensor of shape {lying.size} does not lie in its storage of {len(values)} values")
    return values.as_strided(lying.size, lying.stride, lying.offset)


def _read_pickle(content: bytes | mmap.mmap) -> Any:
    """What a pickle stands for, as dictionaries, lists, tuples, numbers, texts, `Lying`, `Global` and `OPAQUE`.

    pickletools decodes the opcodes and their arguments; what they would do is done here, on plain containers only.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for opcode, decoded, _ in pickletools.genops(cast(IO[bytes], content)):
        name, argument = opcode.name, cast(Any, decoded)
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, named = argument.split(" ", 1) if name == "GLOBAL" else (stack.pop(-2), stack.pop())
            stack.append(Global(str(module), str(named)))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack.append(_made(stack.pop(), arguments))
        elif name == "NEWOBJ_EX":
            del stack[-2:]
            stack[-1] = OPAQUE
        elif name in ("INST", "OBJ"):
            since_mark()
            stack.append(OPAQUE)
        elif name in ("PERSID", "BINPERSID"):
            stack.append(_storage(argument if name == "PERSID" else stack.pop()))
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET"):
            taken = since_mark()
            kinds: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}
            stack.append(kinds[name](taken) if name in kinds else OPAQUE)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack.append(tuple(reversed([stack.pop() for _ in range(count)])))
        elif name in ("APPEND", "APPENDS"):
            taken = since_mark() if name == "APPENDS" else [stack.pop()]
            if isinstance(stack[-1], list):
                stack[-1].extend(taken)
        elif name in ("SETITEM", "SETITEMS"):
            taken = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                stack[-1].update(_pairs(taken))
        elif name == "ADDITEMS":
            since_mark()
        elif name == "BUILD":  # the state of an object: attributes are of no interest
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            since_mark()
        elif name == "STOP":
            return stack.pop()
        elif opcode.arg is not None and name not in ("PROTO", "FRAME", "EXT1", "EXT2", "EXT4"):
            stack.append(argument)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"its pickle uses {name}")
    raise EOFError("its pickle has no end")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: OPAQUE,
}


def _pairs(taken: list[Any]) -> dict[Any, Any]:
    # Keys that are texts or numbers suffice, and hashing a deeply shared tuple could take for ever.
    pairs = zip(taken[::2], taken[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, str | int | float | bytes)}


def _made(what: Any, arguments: Any) -> Any:
    """What calling `what` would give: tensors and dictionaries, else `OPAQUE`. Torch's names for rebuilding are
    those of torch/_utils.py and torch/_tensor.py."""
    if not isinstance(what, Global) or not isinstance(arguments, tuple):
        return OPAQUE
    match what.module, what.name:
        case "collections", "OrderedDict":
            return {}
        case "torch", "Size":
            return tuple(arguments[0])
        case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
            storage, offset, size, stride = arguments[:4]
            return _lying(storage, storage.dtype, offset, size, stride)
        case "torch._utils", "_rebuild_tensor_v3":
            storage, offset, size, stride, _, _, dtype = arguments[:7]
            return _lying(storage, DTYPES.get(dtype.name), offset, size, stride)
        case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state":
            return arguments[0]
        case "torch._tensor", "_rebuild_from_type_v2":
            return _made(arguments[0], arguments[2])
    return OPAQUE


def _lying(storage: Storage, dtype: torch.dtype | None, offset: Any, size: Any, stride: Any) -> Any:
    numbers = [offset, *size, *stride]
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or len(size) != len(stride):
        raise ValueError("a tensor's place is not a row of numbers")
    return OPAQUE if dtype is None else Lying(storage, dtype, offset, tuple(size), tuple(stride))


def _storage(identity: Any) -> Storage:
    kind, type_, key, *_ = identity
    if kind != "storage":
        raise ValueError(f"its pickle speaks of a {kind}")
    return Storage(str(key), DTYPES.get(type_.name))
