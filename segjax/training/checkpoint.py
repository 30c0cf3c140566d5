"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from segjax.errors import SegjaxError
from segjax.files import cannot_write
from segjax.training.state import TrainState


class Checkpoints:
    """Keeps a run's newest states, and the best by validation IoU, in `folder`.

    A checkpoint is written beside and renamed, so that a kill leaves the last good one. It holds
    the state and a table of plain values.

    Raises:
      SegjaxError: the folder cannot be made, or a checkpoint in it is damaged.
    """

    def __init__(self, folder: Path | str, *, keep: int):
        policies = ocp.checkpoint_managers
        best = policies.BestN(get_metric_fn=_mean_iou, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(n=keep), best]),
            best_fn=_mean_iou,  # without it metrics are not written, and forgotten at a restart
            enable_async_checkpointing=False,
        )
        # It logs tracebacks of what is said below in one line.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        try:
            self._manager = ocp.CheckpointManager(Path(folder).absolute(), options=options)
        except OSError as error:
            raise SegjaxError(cannot_write(folder, error)) from error
        except ValueError as error:
            raise SegjaxError(
                f"cannot read the checkpoints in {folder} ({_first_line(error)}); one is damaged; "
                "remove the newest to go on from an older one, or choose another --workdir"
            ) from error

    def newest(self) -> int | None:
        """The newest checkpoint's step; None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, position: dict[str, Any], mean_iou: float | None) -> None:
        """Writes a checkpoint; the best one is chosen among those that were validated.

        Raises:
          SegjaxError: the disk is full or not writable; older checkpoints stay.
        """
        step = int(state.step)
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state._asdict()),
                    position=ocp.args.JsonSave(position),
                ),
                metrics={"mean_iou": -1.0 if mean_iou is None else mean_iou},
            )
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise SegjaxError(
                f"cannot write the checkpoint of step {step}: {_first_line(error)}; earlier ones "
                "are whole; free some space and run the same command again"
            ) from error

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest state and its position, placed on devices as `like` is; None if none.

        Raises:
          SegjaxError: the checkpoint is damaged or of another network.
        """
        step = self.newest()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract),
                    position=ocp.args.JsonRestore(),
                ),
            )
        except Exception as error:  # orbax raises whatever its storage layer does
            raise SegjaxError(
                f"cannot read the checkpoint of step {step} in {self._manager.directory} "
                f"({_first_line(error)}); it is damaged or of another network; remove that "
                f"folder's {step}/ to go on from an older one, or choose another --workdir"
            ) from error
        return TrainState(**restored["state"]), restored["position"]

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.close()


def _mean_iou(metrics: Any) -> float:
    return metrics["mean_iou"]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
