import gc
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.training.checkpoint import Checkpoints
from segjax.training.state import TrainState

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What orbax left unfinished when it failed complains here, not in somebody else's test."""
    yield
    gc.collect()


def state(step: int, width: int = 3) -> TrainState:
    rng = np.random.default_rng(step)
    params = {"layers": {0: {"kernel": jnp.asarray(rng.normal(size=(2, width)), jnp.float32)}}}
    stats = {"mean": jnp.asarray(rng.normal(size=width), jnp.float32)}
    opt_state = ({"count": jnp.asarray(step, jnp.int32)}, jnp.zeros(()))
    return TrainState(jnp.asarray(step, jnp.int32), params, stats, opt_state, (params, stats))


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing a file beyond `size` bytes fails, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_saved_comes_back_bit_by_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None and checkpoints.restore(state(0)) is None
    checkpoints.save(state(7), {"best": 0.1 + 0.2, "pictures": 5}, None)
    checkpoints.close()
    restored = Checkpoints(tmp_path, keep=2).restore(state(0))
    assert restored is not None
    assert restored[1] == {"best": 0.1 + 0.2, "pictures": 5}
    wanted = state(7)
    assert jax.tree.structure(restored[0]) == jax.tree.structure(wanted)
    for found, value in zip(jax.tree.leaves(restored[0]), jax.tree.leaves(wanted), strict=True):
        assert found.dtype == value.dtype and found.sharding == value.sharding
        np.testing.assert_array_equal(found, value)


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, mean_iou in enumerate([0.2, 0.9, None, 0.5, None, 0.3], 1):
        checkpoints.save(state(step), {}, mean_iou)
    assert steps(tmp_path) == [2, 5, 6]
    again = Checkpoints(tmp_path, keep=2)  # what was best is not forgotten
    again.save(state(7), {}, 0.8)
    again.save(state(8), {}, 0.1)
    assert steps(tmp_path) == [2, 7, 8]
    again.save(state(9), {}, 0.95)
    again.save(state(10), {}, None)
    again.save(state(11), {}, None)
    assert steps(tmp_path) == [9, 10, 11]
    assert again.newest() == 11


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("state", "cannot read the checkpoint of step 2 in {} .* remove that folder's 2/ to go on"),
        ("position", "cannot read the checkpoint of step 2 in {} .* remove that folder's 2/ to go"),
        ("metrics", "cannot read the checkpoints in {} .* one is damaged; remove the newest to go"),
    ],
    ids=["state", "position", "metrics"],
)
def test_a_truncated_checkpoint_is_named_and_the_one_before_is_whole(
    tmp_path: Path, part: str, words: str
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        checkpoints.save(state(step), {"best": 0.5}, None)
    for file in (tmp_path / "2" / part).rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SegjaxError, match=words.format(re.escape(str(tmp_path)))) as raised:
        Checkpoints(tmp_path, keep=2).restore(state(0))
    assert "\n" not in str(raised.value)

    shutil.rmtree(tmp_path / "2")  # as the message says
    restored = Checkpoints(tmp_path, keep=2).restore(state(0))
    assert restored is not None and int(restored[0].step) == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state(1), {}, None)
    with pytest.raises(SegjaxError, match="it is damaged or of another network"):
        checkpoints.restore(state(0, width=4))


def test_a_full_disk_leaves_the_earlier_checkpoints_whole(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state(1), {}, None)
    big = state(2, width=1 << 16)
    with (
        largest_file(4096),
        pytest.raises(SegjaxError, match=r"cannot write the checkpoint of step 2: .*; free some"),
    ):
        checkpoints.save(big, {}, None)
    assert steps(tmp_path) == [1]
    again = Checkpoints(tmp_path, keep=1)
    restored = again.restore(state(0))
    assert restored is not None
    np.testing.assert_array_equal(restored[0].stats["mean"], state(1).stats["mean"])
    again.save(big, {}, None)
    assert steps(tmp_path) == [2]
