"""Ways back to finer maps: unpooling, transposed convolutions. Maps are float [N, H, W, C]."""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import conv, depth_to_space, space_to_depth
from segjax.models.initial import drawn


def max_pool_indices(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maxima of windows of 2×2, and where in its window each was: 0 1 / 2 3.

    A window that an odd side cuts counts what it has; of equal values the first counts.

    Returns:
      The pooled map and int32 places, both [N, ceil(H / 2), ceil(W / 2), C].
    """
    n, height, width, c = x.shape
    h, w = -(-height // 2), -(-width // 2)
    pads = ((0, 0), (0, 2 * h - height), (0, 2 * w - width), (0, 0))
    windows = space_to_depth(jnp.pad(x, pads, constant_values=-jnp.inf), 2).reshape(n, h, w, 4, c)
    places = jnp.argmax(windows, axis=3)
    # A choice and a sum instead of a gather, whose gradient would be slow on a CPU.
    chosen = places[:, :, :, None] == jnp.arange(4)[:, None]
    return jnp.where(chosen, windows, 0).sum(3), places


def max_unpool(x: jax.Array, places: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Puts each value where its maximum was in a map of `size`, and zeros elsewhere.

    Zeiler and Fergus, 2014; SegNet's decoder.

    Args:
      x: [N, h, w, C].
      places: of `max_pool_indices`, of the same shape.
      size: of the map that was pooled: (2h, 2w), or a row or column less.
    """
    n, h, w, c = x.shape
    chosen = places[:, :, :, None] == jnp.arange(4)[:, None]
    spread = jnp.where(chosen, x[:, :, :, None], 0)
    return depth_to_space(spread.reshape(n, h, w, 4 * c), 2)[:, : size[0], : size[1]]


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    """Each pixel of [N, H, W, C] paints the [k, k, C, F] kernel, `stride` pixels from the last.

    A side of n becomes stride · (n − 1) + k: PyTorch's, without padding. Computed as a small
    convolution whose channels are the stride² phases of the result (Shi et al., 2016), so that no
    multiplication is spent on zeros between the pixels.
    """
    size, _, channels, features = kernel.shape
    _, height, width, _ = x.shape
    taps = -(-size // stride)
    missing = taps * stride - size
    kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
    # [tap, phase, tap, phase, C, F] → [tap, tap, C, phase, phase, F], the last tap first.
    phases = kernel.reshape(taps, stride, taps, stride, channels, features)
    phases = phases.transpose(0, 2, 4, 1, 3, 5)[::-1, ::-1]
    phases = phases.reshape(taps, taps, channels, stride**2 * features)
    y = depth_to_space(conv(x, phases, padding=taps - 1), stride)
    return y[:, : stride * (height - 1) + size, : stride * (width - 1) + size]


def bilinear_kernel(stride: int, channels: int) -> jax.Array:
    """The kernel [2s, 2s, C, C] with which a transposed convolution interpolates bilinearly.

    Long et al., 2015: what FCN's transposed convolutions begin with. Every channel for itself.
    """
    at = (jnp.arange(2 * stride) + 0.5) / stride - 1
    hat = 1 - jnp.abs(at)
    return (hat[:, None] * hat)[:, :, None, None] * jnp.eye(channels)


class ConvTranspose(nnx.Module):
    """Transposed convolution + bias, `factor`² times as many pixels, whose kernels do not overlap.

    U-Net's up-convolution (Ronneberger et al., 2015).
    """

    def __init__(self, in_features: int, features: int, factor: int = 2, *, rngs: nnx.Rngs):
        # Of the factor² kernel's pixels only one meets a pixel of the result: no part of the fan.
        kernel = drawn(rngs, (in_features, factor, factor, features))
        self.kernel = nnx.Param(kernel.transpose(1, 2, 0, 3))
        self.bias = nnx.Param(jnp.zeros((features,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...].astype(x.dtype)
        return conv_transpose(x, kernel, stride=kernel.shape[0]) + self.bias[...].astype(x.dtype)


class LearnedUpsampling(nnx.Module):
    """A transposed convolution that begins as bilinear interpolation (Long et al., 2015).

    The map is continued by its border, so that at the start this is `resize_bilinear` up to the
    last pixel, and any size can be asked for that a stride of `factor`, an even one, left.
    """

    def __init__(self, features: int, factor: int):
        self.factor = factor
        self.kernel = nnx.Param(bilinear_kernel(factor, features))

    def __call__(self, x: jax.Array, size: tuple[int, ...]) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), mode="edge")
        y = conv_transpose(x, self.kernel[...].astype(x.dtype), stride=self.factor)
        # The kernel reaches half a pixel of the coarse map beyond it, and one was added.
        at = self.factor + self.factor // 2
        return y[:, at : at + size[0], at : at + size[1]]
