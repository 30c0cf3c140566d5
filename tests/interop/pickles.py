"""Files as `torch.save` writes them, without PyTorch: for tests."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Call(NamedTuple):
    """Something of Python that the pickle is to call."""

    module: str
    name: str
    arguments: tuple[Any, ...] = ()


class Raw(NamedTuple):
    """Opcodes as they are."""

    code: bytes


class Ref(NamedTuple):
    """A persistent identity: of a storage."""

    identity: tuple[Any, ...]


class Named(NamedTuple):
    """A class or function of Python, not called."""

    module: str
    name: str


def dumps(value: Any) -> bytes:
    """One pickle, protocol 2."""
    return b"\x80\x02" + code(value) + b"."


def code(value: Any) -> bytes:
    """The opcodes that push `value`."""
    match value:
        case Raw(opcodes):
            return opcodes
        case Named(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(module, name, arguments):
            return code(Named(module, name)) + code(tuple(arguments)) + b"R"
        case Ref(identity):
            return code(identity) + b"Q"
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case dict():
            pairs = b"".join(code(key) + code(one) for key, one in value.items())
            return b"}(" + pairs + b"u"
    raise TypeError(type(value))


def storage(array: np.ndarray, key: str, *, more: tuple[Any, ...] = ()) -> Ref:
    kind = Named("torch", STORAGES[array.dtype.name])
    return Ref(("storage", kind, key, "cpu", array.size, *more))


def tensor(stored: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Call:
    hooks = Call("collections", "OrderedDict")
    return Call(
        "torch._utils", "_rebuild_tensor_v2", (stored, offset, shape, strides, False, hooks)
    )


def state_dict(arrays: Mapping[str, np.ndarray], more: tuple[Any, ...] = ()) -> Raw:
    """An ordered dictionary of tensors with the note on versions that PyTorch adds to it."""
    pairs = b"".join(
        code(name)
        + code(
            tensor(
                storage(array, str(index), more=more),
                0,
                array.shape,
                tuple(stride // array.itemsize for stride in array.strides),
            )
        )
        for index, (name, array) in enumerate(arrays.items())
    )
    opened = code(Call("collections", "OrderedDict")) + b"(" + pairs + b"u"
    return Raw(opened + code({"_metadata": {"": {"version": 1}}}) + b"b")


def write_archive(
    path: Path, value: Any, arrays: Mapping[str, np.ndarray], compression: int = zipfile.ZIP_STORED
) -> None:
    """The format since PyTorch 1.6."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", dumps(value))
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{index}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def write_sequence(path: Path, value: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """The format before that."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    keys = [str(index) for index in range(len(arrays))]
    heads = (0x1950A86A20F9469CFC6C, 1001, facts, value, keys)
    data = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in arrays.values())
    path.write_bytes(b"".join(map(dumps, heads)) + data)
