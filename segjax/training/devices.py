"""The devices of a run, of one process or of several, as one row among which a batch is divided.

Sharding is JAX's own: a step is one program over all devices, so that means over a batch, also
those of batch norms, are over the whole of it wherever its pictures lie.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.errors import SegjaxError

SMALLEST = 2**12
"""Arrays of fewer numbers are not worth sharding."""


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Makes this process one of several; to be called before anything asks JAX for a device.

    Args:
      coordinator: HOST:PORT where process 0 listens, or "auto" where the cluster's manager tells
        all three (Slurm, Open MPI, Kubernetes, Cloud TPU).
      processes: how many there are.
      process: which this is, from 0.

    Raises:
      SegjaxError: the numbers do not fit together, or the others did not come.
    """
    if coordinator != "auto" and (processes is None or process is None):
        raise SegjaxError(
            f"got --distributed {coordinator} without --processes and --process; all processes are "
            "told their number and which they are, from 0; give both"
        )
    # Of SIGTERM the training loop learns itself, and tells the other processes.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            None if coordinator == "auto" else coordinator,
            processes,
            process,
            shutdown_timeout_seconds=60,
        )
    except (ValueError, RuntimeError) as error:
        line = str(error).partition("\n")[0]
        raise SegjaxError(
            f"cannot join the other processes by --distributed {coordinator} ({line}); it is auto, "
            "where a cluster's manager tells, or HOST:PORT of process 0; correct it"
        ) from error
    # Now, while all are here: on CPUs a first exchange waits for half a minute and no longer.
    find_devices(jax.device_count()).any(True)
    multihost_utils.sync_global_devices("segjax: joined")


def first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


@contextmanager
def first_process_first() -> Iterator[None]:
    """Lets the first process do the block before the others: what it leaves on disk they find."""
    if not first():
        multihost_utils.sync_global_devices("segjax: after the first")
    yield
    if first():
        multihost_utils.sync_global_devices("segjax: after the first")


@dataclass(frozen=True)
class Devices:
    """All devices of all processes. Methods are to be called by all processes alike.

    Attributes:
      mesh: the row, its axis is "data".
      fsdp: whether large arrays of the state are divided among the devices (fully sharded data
        parallelism, Rajbhandari et al., 2020) instead of being on each.
    """

    mesh: Mesh
    fsdp: bool

    def layout(self, state: Any) -> Any:
        """Where each array lies: whole on each device, or divided along its longest side."""
        return jax.tree.map(lambda array: self._sharding(array.shape), state)

    def put_batch(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """The whole batch, of which each process has its rows."""
        rows = NamedSharding(self.mesh, PartitionSpec("data"))
        return {
            name: jax.make_array_from_process_local_data(rows, value)
            for name, value in batch.items()
        }

    def local(self, tree: Any) -> Any:
        """Arrays that all devices share, whole and on one device of this process."""
        whole = jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))
        return jax.tree.map(lambda array: array.addressable_data(0), whole)

    def any(self, flag: bool) -> jax.Array | bool:
        """Whether any process has the flag up: to be read later, since devices may be busy."""
        if jax.process_count() == 1:
            return flag
        flags = np.full(len(self.mesh.local_devices), flag)
        return _any(self.put_batch({"flags": flags})["flags"])

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The arrays of all processes, which have one shape, bit by bit: [processes, ...]."""
        # As bytes: JAX would round 64 bits to 32.
        parts = multihost_utils.process_allgather(np.frombuffer(values.tobytes(), np.uint8))
        return np.stack([np.frombuffer(part.tobytes(), values.dtype) for part in parts]).reshape(
            -1, *values.shape
        )

    def _sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        count = self.mesh.size
        fitting = [(side, axis) for axis, side in enumerate(shape) if side % count == 0]
        if not self.fsdp or not fitting or np.prod(shape) < SMALLEST:
            return NamedSharding(self.mesh, PartitionSpec())
        axis = max(fitting)[1]
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, "data"))


def find_devices(batch_size: int, *, fsdp: bool = False) -> Devices:
    """All devices there are, for batches of `batch_size`.

    Raises:
      SegjaxError: the batch does not divide among them.
    """
    devices = jax.devices()
    if batch_size % len(devices):
        raise SegjaxError(
            f"a batch of {batch_size} pictures does not divide among {len(devices)} devices; it "
            f"must; {len(devices) * max(1, batch_size // len(devices))} would"
        )
    return Devices(Mesh(np.array(devices), ("data",)), fsdp)


@jax.jit
def _any(flags: jax.Array) -> jax.Array:
    return flags.any()
