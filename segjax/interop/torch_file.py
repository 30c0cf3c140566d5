"""PyTorch's files of weights, read without PyTorch and without executing anything.

A `.pth` holds pickled Python, and unpickling may call whatever the file names. Here its opcodes
are read by a machine that knows those few which PyTorch writes for a dictionary of tensors, and
calls none but the functions below. Both of PyTorch's formats are read: a zip archive (since 1.6)
and the older sequence of pickles, which many published checkpoints still are.
"""

import io
import mmap
import pickletools
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import ml_dtypes
import numpy as np

from segjax.errors import SegjaxError

MAGIC = 0x1950A86A20F9469CFC6C
"""The first number of the older format."""

START = b"\x80"
"""The first byte of a pickle."""

DTYPES = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


class Storage(NamedTuple):
    """A stretch of numbers in the file, by its key."""

    dtype: np.dtype
    key: str
    size: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Refused(Exception):
    """The file asks for something that a file of tensors has no need of."""


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise Refused("a tensor without a storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


CALLABLE: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
}


class Name(str):
    """Something of Python that a pickle names: a key of `CALLABLE` or `DTYPES`."""


def read_torch_file(path: Path) -> Any:
    """What was given to `torch.save`: containers, numbers, strings, and tensors as NumPy arrays.

    Raises:
      SegjaxError: the file is truncated, is no file of `torch.save`, or holds more than tensors in
        plain containers.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_archive(archive)
        with path.open("rb") as file:
            if file.read(1) != START:
                raise SegjaxError(
                    f"{path} is neither a PyTorch file nor safetensors, or it is truncated; copy "
                    "it again or give another"
                )
            # Not closed: the arrays are views of it.
            return _read_sequence(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except Refused as refused:
        raise SegjaxError(
            f"{path} holds more than tensors: it wants {refused}; nothing of it was executed; "
            "save the weights alone: torch.save(model.state_dict(), FILE)"
        ) from refused
    except (
        ValueError,  # pickletools, NumPy; struct.error and UnicodeDecodeError are such too
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RuntimeError,  # zipfile, of an encrypted entry; too deep and not implemented are such too
        EOFError,
        OSError,
        zipfile.BadZipFile,
    ) as error:
        raise SegjaxError(
            f"{path} is not a whole PyTorch file ({type(error).__name__}: {error}); it may be "
            "truncated; copy it again"
        ) from error


def _read_archive(archive: zipfile.ZipFile) -> Any:
    (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
    folder = name.removesuffix("data.pkl")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise Refused("to be decompressed, which PyTorch's archives need not be")
    if f"{folder}byteorder" in archive.namelist():
        order = archive.read(f"{folder}byteorder")
        if order != b"little":
            raise Refused(f"numbers in the byte order {order!r}")
    read: dict[str, bytes] = {}

    def buffer(storage: Storage) -> bytes:
        if storage.key not in read:
            read[storage.key] = archive.read(f"{folder}data/{storage.key}")
        return read[storage.key]

    return _filled(_load(io.BytesIO(archive.read(name))), buffer)


def _read_sequence(data: mmap.mmap) -> Any:
    """Magic number, version, facts of the machine, the object, the keys, then each storage."""
    if _load(data) != MAGIC:
        raise Refused("to be unpickled, being no file of torch.save")
    _version, system = _load(data), _load(data)
    if not system.get("little_endian", True):
        raise Refused("numbers in the byte order of another machine")
    storages: dict[str, Storage] = {}
    value = _load(data, storages)
    places: dict[str, int] = {}
    at = None
    for key in map(_key, _load(data)):
        at = data.tell() if at is None else at
        size = int.from_bytes(data[at : at + 8], "little")
        places[key] = at + 8
        at += 8 + size * storages[key].dtype.itemsize
        if at > len(data):
            raise EOFError("storages go on beyond the file's end")
    whole = memoryview(data)
    return _filled(
        value,
        lambda storage: whole[
            places[storage.key] : places[storage.key] + storage.size * storage.dtype.itemsize
        ],
    )


def _filled(value: Any, buffer: Callable[[Storage], Any]) -> Any:
    """`value` with arrays in place of tensors, in dictionaries and lists, two levels deep."""

    def array(tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        # NumPy holds offset and strides against the buffer's size.
        return np.ndarray(
            tensor.shape,
            storage.dtype,
            buffer(storage),
            tensor.offset * storage.dtype.itemsize,
            tuple(stride * storage.dtype.itemsize for stride in tensor.strides),
        )

    def filled(value: Any, depth: int) -> Any:
        if isinstance(value, Tensor):
            return array(value)
        if isinstance(value, dict) and depth:
            return {key: filled(one, depth - 1) for key, one in value.items()}
        return value

    return filled(value, 3)


def _load(stream: IO[bytes] | mmap.mmap, storages: dict[str, Storage] | None = None) -> Any:
    """One pickle's value; `storages` is told of those it refers to."""
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, marks.pop()
        return items

    operations: Any = pickletools.genops(cast(IO[bytes], stream))
    for opcode, argument, _ in operations:
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                (value,) = stack
                return value
            case "MARK":
                marks.append(stack)
                stack = []
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE"
                | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING"
            ):  # fmt: skip
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                items = since_mark()
                stack.append(tuple(items))
            case "APPEND":
                item = stack.pop()
                _of(stack[-1], list).append(item)
            case "APPENDS":
                items = since_mark()
                _of(stack[-1], list).extend(items)
            case "SETITEM":
                item, key = stack.pop(), _key(stack.pop())
                _of(stack[-1], dict)[key] = item
            case "SETITEMS":
                items = since_mark()
                _of(stack[-1], dict).update(_ordered(zip(items[::2], items[1::2], strict=True)))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(argument.split(" ")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named((module, name)))
            case "REDUCE":
                arguments, name = _of(stack.pop(), tuple), _of(stack.pop(), Name)
                if name not in CALLABLE:
                    raise Refused(f"{name} called")
                stack.append(CALLABLE[name](*arguments))
            case "BUILD":  # a state dictionary's notes on its modules' versions
                stack.pop()
                _of(stack[-1], dict)
            case "BINPERSID":
                storage = _storage(_of(stack.pop(), tuple))
                if storages is not None:
                    storages[storage.key] = storage
                stack.append(storage)
            case other:
                raise Refused(f"the opcode {other}")
    raise EOFError("a pickle without an end")


def _storage(identity: tuple[Any, ...]) -> Storage:
    kind, dtype, key, _device, size, *view = identity
    if kind != "storage" or _of(dtype, Name) not in DTYPES or any(view):
        raise Refused(f"a storage of {dtype}")
    return Storage(DTYPES[dtype], _of(key, str), _of(size, int))


def _named(parts: Iterable[str]) -> Name:
    name = Name(".".join(parts))
    if name not in CALLABLE and name not in DTYPES:
        raise Refused(f"{name}")
    return name


def _key(value: Any) -> Any:
    """Of a dictionary; hashing a tuple of tuples of tuples … would break the interpreter."""
    return _of(value, str | int)


def _of(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", kind)
        raise Refused(f"a {type(value).__name__} where a {wanted} belongs")
    return value
