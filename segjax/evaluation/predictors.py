"""Anything that turns a picture into an alpha mask, behind one call.

`Predictor` knows one picture at a time; what remembers the picture before is
`segjax.matting.AlphaClip`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.geometry import network_size

if TYPE_CHECKING:
    from segjax.weights import Released

BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32) / 255
"""Of red, green and blue bytes."""

LOWEST, HIGHEST = 0.25, 0.75
"""Alphas outside become 0 and 1, as in a stream."""

Predictor = Callable[[np.ndarray], np.ndarray]
"""pixels uint8 RGB [H, W, 3] → alpha float32 [H, W] in [0, 1], without temporal state."""


def load_predictor(model: str) -> Predictor:
    """Loads released weights by name or path, or a foreign network from an `.onnx` file.

    Raises:
      SegjaxError: there is no such model, its file is damaged or of an unknown form, or
        onnxruntime is not installed.
    """
    if is_onnx(model):
        return OnnxPredictor(model)
    from segjax import weights
    from segjax.compilation import use_cache

    use_cache()
    return ReleasedPredictor(weights.load(model))


def is_onnx(model: str) -> bool:
    """Whether the model's name is that of an ONNX file."""
    return model.lower().endswith(".onnx")


class ReleasedPredictor:
    """Our own network at the picture's own aspect ratio; one compilation for each network size.

    The mask's edges are drawn to the picture's at full size, as `guided_upsample_blend` does.

    Raises:
      SegjaxError: the weights are of a network that tells more than a person from a room.
    """

    def __init__(self, released: "Released"):
        import jax
        from flax import nnx

        if released.config.classes != 1:
            raise SegjaxError(
                f"{released.name} tells {released.config.classes} classes apart; an alpha mask "
                "needs weights with one, the person; give others, such as portrait"
            )
        from segjax_kernels import guided_coefficients

        graph, parameters = nnx.split(released.model)

        @jax.jit
        def forward(parameters: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            small = x.astype(np.float32) / 255
            logits = nnx.merge(graph, parameters)(small[None])
            return guided_coefficients(jax.nn.sigmoid(logits[0, ..., 0]), small)

        self._forward = lambda x: map(np.asarray, forward(parameters, x))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels uint8 RGB [H, W, 3] → alpha float32 [H, W] in [0, 1]."""
        height, width = pixels.shape[:2]
        rows, columns = network_size(height, width)
        small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        slope, offset = (_enlarge(part, height, width) for part in self._forward(small))
        alpha = slope * (pixels @ BRIGHTNESS) + offset
        return np.clip((alpha - LOWEST) / (HIGHEST - LOWEST), 0, 1)


class LabelPredictor:
    """Probabilities of a network's classes for a picture of any size, without temporal state.

    The network sees the whole picture, at the nearest size that it takes; one compilation for each.
    """

    def __init__(self, released: "Released"):
        import jax
        from flax import nnx

        graph, parameters = nnx.split(released.model)
        self.classes: int = released.config.classes
        self._multiple = released.model.multiple

        @jax.jit
        def forward(parameters: Any, x: jax.Array) -> jax.Array:
            logits = nnx.merge(graph, parameters)(x.astype(np.float32)[None] / 255)[0]
            return jax.nn.softmax(logits, axis=-1)

        self._forward = lambda x: np.array(forward(parameters, x))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels uint8 RGB [H, W, 3] → float32 [H, W, classes], each pixel's sum is 1."""
        height, width = pixels.shape[:2]
        rows, columns = (
            max(1, round(side / self._multiple)) * self._multiple for side in (height, width)
        )
        if (rows, columns) == (height, width):
            return self._forward(pixels)
        resized = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        found = cv2.resize(self._forward(resized), (width, height), interpolation=cv2.INTER_LINEAR)
        return found.reshape(height, width, self.classes)


class OnnxPredictor:
    """A network from an ONNX file: the picture squashed to its input size, RGB / 255.

    The input is float32 [1, h, w, 3] or [1, 3, h, w] with fixed sides. The output, in the same
    order, has either one channel, the person's probability, or two, logits of room and person.

    Raises:
      SegjaxError: no such file, not an ONNX network, a network of another form, or onnxruntime
        is not installed.
    """

    def __init__(self, model: str):
        if not Path(model).is_file():
            raise SegjaxError(f"{model} does not exist; give the path of an ONNX file")
        try:
            import onnxruntime
        except ImportError:
            raise SegjaxError(
                f'{model} needs onnxruntime, which is not installed; run pip install "segjax[onnx]"'
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same bits on every machine
        options.log_severity_level = 4  # what goes wrong is said below, in one line
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime's exceptions have no class in common but Exception.
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise SegjaxError(
                f"{model} is not an ONNX network that can be run ({reason}); export it again"
            ) from error
        self._model = model
        self._input, self._size, self._channels_first = self._read_input()
        # Run once, so that a network of another form is refused before any work is done.
        self(np.zeros((*self._size, 3), np.uint8))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels uint8 RGB [H, W, 3] → alpha float32 [H, W] in [0, 1]."""
        small = cv2.resize(pixels, self._size[::-1], interpolation=cv2.INTER_LINEAR)
        x = small.astype(np.float32)[None] / 255
        if self._channels_first:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        out = np.asarray(self._session.run(None, {self._input: x})[0])
        return _enlarge(self._alpha(out), *pixels.shape[:2])

    def _read_input(self) -> tuple[str, tuple[int, int], bool]:
        """The name, the size (height, width) and the order of the one input."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        match shape:
            case [_, int(height), int(width), 3] if inputs[0].type == "tensor(float)":
                return inputs[0].name, (height, width), False
            case [_, 3, int(height), int(width)] if inputs[0].type == "tensor(float)":
                return inputs[0].name, (height, width), True
        got = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise SegjaxError(
            f"{self._model} takes {got}; one float input [1, h, w, 3] or [1, 3, h, w] with fixed "
            f"sides is needed; export it so"
        )

    def _alpha(self, out: np.ndarray) -> np.ndarray:
        if self._channels_first and out.ndim == 4:
            out = out.transpose(0, 2, 3, 1)
        if out.ndim == 4 and out.shape[0] == 1 and out.shape[3] == 1:
            return np.clip(out[0, ..., 0], 0, 1)
        if out.ndim == 4 and out.shape[0] == 1 and out.shape[3] == 2:
            # The softmax of two logits, with an exponential that cannot overflow.
            return 0.5 + 0.5 * np.tanh((out[0, ..., 1] - out[0, ..., 0]) / 2)
        raise SegjaxError(
            f"{self._model} gives {list(out.shape)}; one channel of probabilities or two of "
            f"logits at a batch of 1 are needed; export it so"
        )


def _enlarge(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    alpha = alpha.astype(np.float32)
    return cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
