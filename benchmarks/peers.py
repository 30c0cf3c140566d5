"""The kernels' work as others do it: OpenCV and NumPy on a CPU, PyTorch on a GPU, XLA unfused."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import harness
import numpy as np

# --- OpenCV and NumPy ---------------------------------------------------------------------------


def blend_linear(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    import cv2

    large = cv2.resize(alpha, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.blendLinear(frame, background, large, 1 - large)


def blend_bytes(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The mask as bytes: the fastest composite that OpenCV has on most machines."""
    import cv2

    grey = cv2.merge([np.rint(alpha * 255).astype(np.uint8)] * 3)
    large = cv2.resize(grey, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    front = cv2.multiply(frame, large, scale=1 / 255)
    return cv2.add(front, cv2.multiply(background, cv2.bitwise_not(large), scale=1 / 255))


def blend_numpy(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    import cv2

    large = cv2.resize(alpha, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    blended = background + large * (frame.astype(np.float32) - background)
    return np.rint(blended).astype(np.uint8)


def guided_opencv(
    frame: np.ndarray, slope: np.ndarray, offset: np.ndarray, background: np.ndarray
) -> np.ndarray:
    import cv2

    size = frame.shape[1::-1]
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    large = cv2.resize(slope / 255, size) * luma + cv2.resize(offset, size)
    alpha = np.clip(large * 2 - 0.5, 0, 1)
    return cv2.blendLinear(frame, background, alpha, 1 - alpha)


def area_opencv(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(1 / 255)


# --- JAX, unfused -------------------------------------------------------------------------------


def unfused_blend(frame: Any, alpha: Any, background: Any) -> Any:
    """A full-size mask goes to memory and comes back, as with one call for each operation."""
    import jax
    import jax.numpy as jnp

    large = jax.image.resize(alpha, frame.shape[:2], "linear")
    large = jax.lax.optimization_barrier(large)[..., None]
    back = background.astype(jnp.float32)
    return jnp.rint(back + large * (frame.astype(jnp.float32) - back)).astype(jnp.uint8)


def unfused_guided(frame: Any, slope: Any, offset: Any, background: Any) -> Any:
    import jax
    import jax.numpy as jnp

    large = (jax.image.resize(x, frame.shape[:2], "linear") for x in (slope, offset))
    slope, offset = jax.lax.optimization_barrier(tuple(large))
    front, back = frame.astype(jnp.float32), background.astype(jnp.float32)
    luma = front @ jnp.array([0.299, 0.587, 0.114]) / 255
    alpha = jnp.clip((slope * luma + offset) * 2 - 0.5, 0, 1)[..., None]
    return jnp.rint(back + alpha * (front - back)).astype(jnp.uint8)


# --- PyTorch ------------------------------------------------------------------------------------


def torch_blend(frame: Any, alpha: Any, background: Any) -> Any:
    torch = _torch()

    large = _enlarge(alpha, frame)
    return torch.round(torch.lerp(background.float(), frame.float(), large)).to(torch.uint8)


def torch_guided(frame: Any, slope: Any, offset: Any, background: Any) -> Any:
    torch = _torch()

    front = frame.float()
    luma = (0.299 * front[..., :1] + 0.587 * front[..., 1:2] + 0.114 * front[..., 2:]) / 255
    alpha = ((_enlarge(slope, frame) * luma + _enlarge(offset, frame)) * 2 - 0.5).clamp(0, 1)
    return torch.round(torch.lerp(background.float(), front, alpha)).to(torch.uint8)


def torch_area(frame: Any, height: int, width: int) -> Any:
    torch = _torch()

    planes = frame.permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.interpolate(planes, (height, width), mode="area")
    return small[0].permute(1, 2, 0).contiguous()


def _torch() -> Any:
    return importlib.import_module("torch")  # which no other part of the project knows


def _enlarge(small: Any, frame: Any) -> Any:
    """float32 [h, w] → [H, W, 1]."""
    torch = _torch()

    large = torch.nn.functional.interpolate(
        small[None, None], tuple(frame.shape[:2]), mode="bilinear", align_corners=False
    )
    return large[0, 0, :, :, None]


def torch_turn(
    function: Callable[..., Any], sets: Sequence[tuple], *, compiled: bool
) -> harness.Turn:
    """A turn on a GPU like `harness.jax_turn`'s: all sets in a row, in one CUDA graph.

    The graph takes away what Python and the launches cost, for eager PyTorch too.
    """
    torch = _torch()

    if compiled:
        function = torch.compile(function, dynamic=False)
    on_device = [
        tuple(torch.from_numpy(x).cuda() if isinstance(x, np.ndarray) else x for x in arrays)
        for arrays in sets
    ]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side), torch.inference_mode():
        for _ in range(harness.WARM_UP):
            function(*on_device[0])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        results = [function(*arrays) for arrays in on_device]

    def run() -> list:
        for _ in range(harness.SWEEPS):
            graph.replay()
        torch.cuda.synchronize()
        return results  # its memory is the graph's

    return harness.Turn(run, harness.SWEEPS * len(sets))
