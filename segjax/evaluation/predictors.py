"""Networks behind one call, ours or an ONNX file: a picture in, what is seen at each pixel out.

A `Predictor` knows one picture at a time; what remembers the picture before is
`segjax.matting.AlphaClip`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.geometry import MULTIPLE
from segjax.images import resize

if TYPE_CHECKING:
    from segjax.postprocess import DenseCRF
    from segjax.weights import Released

BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32) / 255
"""Of red, green and blue bytes."""

LOWEST, HIGHEST = 0.25, 0.75
"""Alphas outside become 0 and 1, as in a stream."""

Predictor = Callable[[np.ndarray], np.ndarray]
"""pixels uint8 RGB [H, W, 3] → float32: alpha [H, W] in [0, 1], or probabilities [H, W, classes],
whose sums are 1. Without temporal state."""


class Scaled(Protocol):
    """The same of a picture shown so many times as high and wide."""

    def __call__(self, pixels: np.ndarray, scale: float = 1.0, /) -> np.ndarray: ...


def load_predictor(model: str) -> "ReleasedPredictor | OnnxPredictor":
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


def refine(
    predictor: "ReleasedPredictor | OnnxPredictor",
    *,
    window: tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    crf: "DenseCRF | None" = None,
) -> Predictor:
    """More from a network at the cost of more time.

    Args:
      predictor: of whole pictures.
      window: (height, width) of overlapping tiles of the picture, which the network is shown one
        by one, each at its own size.
      scales: how many times as high and wide as otherwise it is shown the picture; probabilities
        are averaged.
      flip: at each scale the mirrored picture too.
      crf: draws the result to the picture's edges.

    Raises:
      SegjaxError: a side of the window does not fit the network, a scale is not positive, or the
        network has one size of input.
    """
    if window and any(side < 1 or side % predictor.multiple for side in window):
        raise SegjaxError(
            f"got windows of {window[0]} {window[1]}; {predictor.name} takes sides that are "
            f"multiples of {predictor.multiple}; give such"
        )
    if not scales or min(scales) <= 0:
        raise SegjaxError(
            f"got the scales {list(scales)}; they are above 0, and 1 is the picture's"
        )
    if set(scales) != {1.0} and not window and isinstance(predictor, OnnxPredictor):
        raise SegjaxError(
            f"got the scales {list(scales)}; {predictor.name} has one size of input, so they "
            "change nothing; leave them out or give a window"
        )
    scaled: Scaled = _by_windows(predictor.of_tiles(), window) if window else predictor
    predict: Predictor = scaled
    if set(scales) != {1.0} or flip:
        predict = _averaged(scaled, scales, flip)
    return _by_crf(predict, crf) if crf else predict


class ReleasedPredictor:
    """Our own network on whole pictures; see `segjax.prediction.PicturePredictor`.

    Where a network sees a mask's picture smaller than it is, the mask's edges are drawn to the
    picture's at full size, as `guided_upsample_blend` does.

    Attributes:
      name: of the weights.
      classes: 1 for an alpha.
      multiple: of what a window's sides are.
      info: facts of the run.

    Args:
      released: the weights.
      tiles: are what it is called with: parts of pictures, which it sees at their own size.
    """

    def __init__(self, released: "Released", *, tiles: bool = False):
        import jax

        from segjax.prediction import HOLES, PicturePredictor, decide, picture_area

        area = 0 if tiles else picture_area(released.config)
        self._released = released
        self.name = released.name
        self.classes: int = released.config.classes
        self.multiple: int = released.model.multiple
        self.info: dict[str, Any] = released.info
        self._guided = self.classes == 1 and area > 0

        def coefficients(alpha: jax.Array, small: jax.Array) -> jax.Array:
            from segjax_kernels import drop_islands, fill_holes, guided_coefficients

            decided = decide(drop_islands(fill_holes(alpha, reach=HOLES)))
            return jax.numpy.stack(guided_coefficients(decided, small), axis=-1)

        finish = coefficients if self._guided else None
        self._predict = PicturePredictor(
            released.model, area=area, multiple=1 if tiles else MULTIPLE, finish=finish
        )

    def of_tiles(self) -> "ReleasedPredictor":
        """The same network, which sees a part of a picture at its own size."""
        return ReleasedPredictor(self._released, tiles=True)

    def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """pixels uint8 RGB [H, W, 3] → alpha [H, W] or probabilities [H, W, classes], float32."""
        found = self._predict(pixels, scale)
        if not self._guided:
            return found
        alpha = found[..., 0] * (pixels @ BRIGHTNESS) + found[..., 1]
        return np.clip((alpha - LOWEST) / (HIGHEST - LOWEST), 0, 1)


class OnnxPredictor:
    """A network from an ONNX file: the picture squashed to its input size, RGB / 255.

    The input is float32 [1, h, w, 3] or [1, 3, h, w] with fixed sides. The output, in the same
    order and of any size, has one channel, the person's probability; two, logits of room and
    person; or more, the logits of as many classes.

    Attributes:
      name: of the file.
      classes: 1 for an alpha.
      multiple: 1, as windows are squashed to the input size too.
      info: nothing.

    Raises:
      SegjaxError: no such file, not an ONNX network, a network of another form, or onnxruntime
        is not installed.
    """

    multiple = 1

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
        self.name = model
        self.info: dict[str, Any] = {}
        self._input, self._size, self._channels_first = self._read_input()
        # Run once, so that a network of another form is refused before any work is done.
        found = self(np.zeros((*self._size, 3), np.uint8))
        self.classes: int = 1 if found.ndim == 2 else found.shape[2]

    def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """pixels uint8 RGB [H, W, 3] → alpha [H, W] or probabilities [H, W, classes], float32.

        The input has one size, whatever `scale` is.
        """
        small = cv2.resize(pixels, self._size[::-1], interpolation=cv2.INTER_LINEAR)
        x = small.astype(np.float32)[None] / 255
        if self._channels_first:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        out = np.asarray(self._session.run(None, {self._input: x})[0])
        found = self._read_output(out).astype(np.float32)
        return cv2.resize(found, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)

    def of_tiles(self) -> "OnnxPredictor":
        """Itself: a part of a picture is squashed as a picture is."""
        return self

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
            f"{self.name} takes {got}; one float input [1, h, w, 3] or [1, 3, h, w] with fixed "
            f"sides is needed; export it so"
        )

    def _read_output(self, out: np.ndarray) -> np.ndarray:
        if self._channels_first and out.ndim == 4:
            out = out.transpose(0, 2, 3, 1)
        if out.ndim != 4 or out.shape[0] != 1 or not 1 <= out.shape[3] <= 255:
            raise SegjaxError(
                f"{self.name} gives {list(out.shape)}; one channel of probabilities, or two or "
                "more of logits, at a batch of 1 are needed; export it so"
            )
        if out.shape[3] == 1:
            return np.clip(out[0, ..., 0], 0, 1)
        if out.shape[3] == 2:
            # The softmax of two logits, with an exponential that cannot overflow.
            return 0.5 + 0.5 * np.tanh((out[0, ..., 1] - out[0, ..., 0]) / 2)
        powers = np.exp(out[0] - out[0].max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)


def _by_windows(predict: Predictor, window: tuple[int, int]) -> Scaled:
    from segjax.postprocess import predict_tiled

    def tiled(pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        if scale == 1:
            return predict_tiled(predict, pixels, window)
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        found = predict_tiled(predict, resize(pixels, (height, width)), window)
        return cv2.resize(found, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)

    return tiled


def _averaged(predict: Scaled, scales: Sequence[float], flip: bool) -> Predictor:
    def average(pixels: np.ndarray) -> np.ndarray:
        total = np.float32(0)
        for scale in scales:
            found = predict(pixels, scale)
            if flip:
                mirrored = predict(np.ascontiguousarray(pixels[:, ::-1]), scale)
                found = (found + mirrored[:, ::-1]) / 2
            total = total + found
        return np.asarray(total / np.float32(len(scales)))

    return average


def _by_crf(predict: Predictor, crf: "DenseCRF") -> Predictor:
    from segjax.postprocess import dense_crf

    def refined(pixels: np.ndarray) -> np.ndarray:
        found = predict(pixels)
        if found.ndim == 3:
            return np.array(dense_crf(found, pixels, crf))
        return np.array(dense_crf(np.stack([1 - found, found], axis=-1), pixels, crf))[..., 1]

    return refined
