"""A frame's way to the device that composes it, and back: on a CPU none, else by pinned memory."""

from typing import Any, Protocol

import jax
import numpy as np

PINNED = "pinned_host"
"""JAX's name for memory of the host that a device reads and writes by itself."""


class Transfer(Protocol):
    """What a stream asks; each has its own."""

    @property
    def in_place(self) -> bool:
        """Whether the step may write over what `there` gives."""
        ...

    def there(self, frame: np.ndarray) -> np.ndarray | jax.Array:
        """A frame for the step; the array is read until the step's results are `back`."""
        ...

    def kept(self, picture: np.ndarray) -> np.ndarray | jax.Array:
        """A picture for the step that may come again with the next frame."""
        ...

    def back(self, image: jax.Array, alpha: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """The step's results once they are there: the receiver's own, and writable. Nobody else
        holds them."""
        ...


class Shared:
    """On a CPU: the step reads NumPy's memory, and its picture's memory becomes NumPy's."""

    in_place = False

    def there(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def kept(self, picture: np.ndarray) -> np.ndarray:
        return picture

    def back(self, image: jax.Array, alpha: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(_Memory(image.block_until_ready())), np.array(alpha)


class Pinned:
    """By the device's own copying. Without it JAX goes by memory of its own in between, and copies
    one result after the other.

    A picture whose array cannot be written to goes there once, and is taken for the same as long as
    the array is.
    """

    in_place = True

    def __init__(self, device: Any):
        self._device = jax.sharding.SingleDeviceSharding(device)
        self._host = jax.sharding.SingleDeviceSharding(device, memory_kind=PINNED)
        self._kept: tuple[np.ndarray, jax.Array] | None = None

    def there(self, frame: np.ndarray) -> jax.Array:
        # A copy: on a device that shares the host's memory it would be the caller's own.
        pinned = jax.device_put(frame, self._host, may_alias=False)
        return jax.device_put(pinned, self._device)

    def kept(self, picture: np.ndarray) -> jax.Array:
        if picture.flags.writeable:
            return self.there(picture)
        if self._kept is None or self._kept[0] is not picture:
            self._kept = picture, self.there(picture)
        return self._kept[1]

    def back(self, image: jax.Array, alpha: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        # Both are on their way before one is waited for.
        image, alpha = jax.device_put((image, alpha), self._host)
        return np.array(image), np.array(alpha)


class _Memory:
    """The memory of a JAX array on a CPU, which it keeps; NumPy's view keeps this."""

    def __init__(self, array: jax.Array):
        self._array = array
        self.__array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.unsafe_buffer_pointer(), False),  # not read-only
        }
