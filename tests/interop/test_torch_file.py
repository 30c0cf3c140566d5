import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickles import (
    Call,
    Named,
    Raw,
    Ref,
    code,
    dumps,
    state_dict,
    storage,
    tensor,
    write_archive,
    write_sequence,
)

from segjax.errors import SegjaxError
from segjax.interop.torch_file import read_torch_file

ARRAYS = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "double": np.linspace(0, 1, 5),
    "half": np.asarray([1, -2], np.float16),
    "brain": np.asarray([1, 3], ml_dtypes.bfloat16),
    "num_batches_tracked": np.asarray(7),
    "bytes": np.asarray([0, 255], np.uint8),
    "truth": np.asarray([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}

WRITERS = {
    "archive": lambda path, value=None: write_archive(path, value or state_dict(ARRAYS), ARRAYS),
    "sequence": lambda path, value=None: write_sequence(
        path, value or state_dict(ARRAYS, more=(None,)), ARRAYS
    ),
}

each_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def refused(path: Path) -> str:
    with pytest.raises(SegjaxError) as raised:
        read_torch_file(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


# --- what is read -----------------------------------------------------------------------------


@each_format
def test_every_tensor_comes_back(path: Path, write: Callable[..., None]) -> None:
    write(path)
    found = read_torch_file(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_views_of_one_storage(path: Path) -> None:
    numbers = np.arange(12, dtype=np.float32)
    stored = storage(numbers, "0")
    parameter = ("torch._utils", "_rebuild_parameter")
    value = {
        "transposed": tensor(stored, 0, (4, 3), (1, 4)),
        "part": Call(*parameter, (tensor(stored, 5, (2, 2), (4, 1)), True, {})),
        "nested": {"note": "of a run", "epoch": 3, "rate": 0.5, "list": [1, (2, None, True)]},
    }
    write_archive(path, value, {"0": numbers})
    found = read_torch_file(path)
    np.testing.assert_array_equal(found["transposed"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [[5, 6], [9, 10]])
    assert found["nested"] == value["nested"]


def test_a_pickle_of_protocol_4(path: Path) -> None:
    write_archive(path, Raw(b""), {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"epoch": 3, "notes": ["one", "one"]}, 4))
    assert read_torch_file(path) == {"epoch": 3, "notes": ["one", "one"]}


# --- what is refused --------------------------------------------------------------------------


class Gadget:
    """What an attacker puts into a file: unpickled, it calls `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("wrap", ["bare", "archive", "sequence"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_gadget_is_refused_and_not_run(path: Path, protocol: int, wrap: str) -> None:
    trace = path.with_name("owned")
    gadget = pickle.dumps({"weight": Gadget(os.system, f"touch {trace}")}, protocol)
    if wrap == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", gadget)
    elif wrap == "sequence":
        path.write_bytes(dumps(0x1950A86A20F9469CFC6C) + dumps(1001) + dumps({}) + gadget)
    else:
        path.write_bytes(gadget)
    message = refused(path)
    assert not trace.exists()
    if protocol == 2 and wrap != "bare":
        assert message == (
            f"{path} holds more than tensors: it wants {os.system.__module__}.system; nothing of "
            "it was executed; save the weights alone: torch.save(model.state_dict(), FILE)"
        )
    pickle.loads(gadget)  # the gadget is a working one
    assert trace.exists()


STORED = storage(np.zeros(4, np.float32), "0")


@pytest.mark.parametrize(
    ("value", "wants"),
    [
        (Call("builtins", "eval", ("1",)), "builtins.eval"),
        (Call("torch", "load", ("x",)), "torch.load"),
        (Named("torchvision.models.resnet", "ResNet"), "torchvision.models.resnet.ResNet"),
        (Call("torch", "FloatStorage"), "torch.FloatStorage called"),
        (Raw(code("os") + code("system") + b"\x93"), "os.system"),
        (Raw(code("collections") + code("OrderedDict.update") + b"\x93"), "OrderedDict.update"),
        (Raw(b"(S'id'\nios\nsystem\n"), "the opcode STRING"),
        (Raw(code(Named("collections", "OrderedDict")) + b")\x81"), "the opcode NEWOBJ"),
        (Raw(code(Named("collections", "OrderedDict")) + code({"x": 1}) + b"b"), "a Name where a"),
        (Raw(code(3) + code(()) + b"R"), "a int where a Name belongs"),
        (Raw(b"\x82\x01"), "the opcode EXT1"),
        (tensor("weights", 0, (4,), (1,)), "a tensor without a storage"),
        (Ref(("module", Named("torch", "FloatStorage"), "0", "cpu", 4)), "a storage of"),
        (Ref(("storage", "torch.FloatStorage", "0", "cpu", 4)), "a str where a Name belongs"),
        ({("a", "tuple"): 1}, "a tuple where a str | int belongs"),
    ],
)
@each_format
def test_what_no_tensor_needs_is_refused(
    path: Path, write: Callable[..., None], value: Any, wants: str
) -> None:
    write(path, value)
    assert f"holds more than tensors: it wants {wants}" in refused(path) or wants in refused(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 2), (3, 1)),
        (3, (2,), (-4,)),
        (0, (-1,), (1,)),
        (0, (2,), (2**62,)),
        (2**62, (1,), (1,)),
    ],
)
def test_no_tensor_reaches_beyond_its_storage(
    path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    write_archive(path, tensor(STORED, offset, shape, strides), {"0": np.zeros(4, np.float32)})
    assert "is not a whole PyTorch file" in refused(path)


def test_a_hashed_tower_of_tuples_does_not_break_the_interpreter(path: Path) -> None:
    tower = b"N" + b"\x85" * 100_000
    for value in (b"}" + tower + b"Ns", code(Named("collections", "OrderedDict")) + tower + b"R"):
        write_archive(path, Raw(value), {})
        refused(path)


def test_an_archive_that_would_swell_is_refused(path: Path) -> None:
    write_archive(path, state_dict(ARRAYS), ARRAYS, zipfile.ZIP_DEFLATED)
    assert "to be decompressed" in refused(path)


def test_numbers_of_another_byte_order(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dumps({}))
        archive.writestr("archive/byteorder", "big")
    assert "numbers in the byte order b'big'" in refused(path)


def test_an_archive_that_says_it_is_encrypted(path: Path) -> None:
    write_archive(path, state_dict(ARRAYS), ARRAYS)
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # where an entry's flags stand, twice
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


@each_format
def test_a_truncated_file(path: Path, write: Callable[..., None]) -> None:
    write(path)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 17):
        path.write_bytes(whole[:end])
        refused(path)


def test_a_file_of_something_else(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    assert "is neither a PyTorch file nor safetensors" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear")
    assert "is not a whole PyTorch file" in refused(path)
    path.write_bytes(dumps({"a": 1}))  # an honest pickle, which torch.save did not write
    assert "to be unpickled, being no file of torch.save" in refused(path)


@given(
    at=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    write=st.sampled_from([*WRITERS]),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_read_or_refused(path: Path, at: float, byte: int, write: str) -> None:
    WRITERS[write](path)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] = byte
    path.write_bytes(data)
    try:
        read_torch_file(path)
    except SegjaxError as error:
        assert "\n" not in str(error)


def test_a_length_beyond_the_file_takes_no_memory(path: Path) -> None:
    long = b"\x80\x04\x8d" + struct.pack("<Q", 2**50) + b"text."
    path.write_bytes(long)
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", long)
    refused(path)
