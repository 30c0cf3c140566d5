"""ONNX networks of one multiplication, written byte by byte: no exporter is needed to test.

`python tests/evaluation/tiny_onnx.py` makes those beside it anew: mean.onnx takes float
[1, 16, 32, 3] to its mean over colours, [1, 16, 32, 1], which serves as a probability; colours.onnx
[1, 40, 64, 3] to 9 times the same, the logits of three classes.
"""

from pathlib import Path

import numpy as np

MEAN = Path(__file__).with_name("mean.onnx")
COLOURS = Path(__file__).with_name("colours.onnx")


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor_info(name: str, shape: tuple[int | str, ...], kind: int = 1) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(d, int) else 2, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, dims)))


def network(
    operation: str,
    weights: np.ndarray,
    input_shape: tuple[int | str, ...],
    output_shape: tuple[int | str, ...],
    kind: int = 1,
) -> bytes:
    """The bytes of `out = operation(in, weights)`; `kind` is 1 for float32, 11 for float64.

    MatMul takes weights [3, channels] to a picture [1, h, w, 3], Conv [channels, 3, 1, 1] to one
    of [1, 3, h, w].
    """
    node = _field(1, "in") + _field(1, "weights") + _field(2, "out") + _field(4, operation)
    initializer = b"".join(_field(1, d) for d in weights.shape) + _field(2, kind)
    initializer += _field(8, "weights") + _field(9, weights.tobytes())
    graph = _field(1, node) + _field(2, "tiny") + _field(5, initializer)
    graph += _field(11, _tensor_info("in", input_shape, kind))
    graph += _field(12, _tensor_info("out", output_shape, kind))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def mean() -> bytes:
    """A network [1, 16, 32, 3] → [1, 16, 32, 1]: the mean over colours."""
    weights = np.full((3, 1), 1 / 3, np.float32)
    return network("MatMul", weights, (1, 16, 32, 3), (1, 16, 32, 1))


def colours() -> bytes:
    """A network [1, 40, 64, 3] → [1, 40, 64, 3]: 9 times the picture."""
    return network("MatMul", 9 * np.eye(3, dtype=np.float32), (1, 40, 64, 3), (1, 40, 64, 3))


if __name__ == "__main__":
    MEAN.write_bytes(mean())
    COLOURS.write_bytes(colours())
