"""Frames' way to a device and back, on a CPU that stands in for one: its own pinned memory."""

import jax
import numpy as np
import pytest
from matting_fakes import released, scene

from segjax.matting import Effect, Matting
from segjax.matting.transfer import Pinned, Shared, Transfer

SIZE = (160, 256)
FRAMES = [scene(*SIZE, x=0.3 + 0.05 * t, seed=t) for t in range(4)]
BEHIND = [np.random.default_rng(t).integers(0, 256, (*SIZE, 3), np.uint8) for t in range(4)]


class Counting(Pinned):
    def __init__(self) -> None:
        super().__init__(jax.devices()[0])
        self.went: list[np.ndarray] = []

    def there(self, frame: np.ndarray) -> jax.Array:
        self.went.append(frame)
        return super().there(frame)


@pytest.fixture(scope="module")
def pinned():
    return Matting(released(), Effect("picture"), transfer=Counting())


def composed(matting: Matting, behind: list[np.ndarray]) -> list[np.ndarray]:
    matting.reset()
    pairs = zip(FRAMES, behind, strict=True)
    return [matting(frame, picture, index).image for index, (frame, picture) in enumerate(pairs)]


def test_whichever_way_a_frame_goes_the_same_comes_back(pinned: Matting) -> None:
    shared = Matting(released(), Effect("picture"), transfer=Shared())
    np.testing.assert_array_equal(composed(pinned, BEHIND), composed(shared, BEHIND))


def test_a_frame_is_read_until_its_result_is_there_and_never_written(pinned: Matting) -> None:
    expected = composed(pinned, BEHIND)
    pinned.reset()
    buffer = np.empty_like(FRAMES[0])
    for index, frame in enumerate(FRAMES):
        buffer[:] = frame
        image = pinned(buffer, BEHIND[index], index).image
        np.testing.assert_array_equal(buffer, frame)
        buffer[:] = 77
        np.testing.assert_array_equal(image, expected[index])


def test_results_are_the_receivers_own(pinned: Matting) -> None:
    pinned.reset()
    one, two = (pinned(FRAMES[0], BEHIND[0], index) for index in range(2))
    kept = two.image.copy(), two.alpha.copy()
    one.image[:], one.alpha[:] = 7, np.nan
    np.testing.assert_array_equal(two.image, kept[0])
    np.testing.assert_array_equal(two.alpha, kept[1])


def test_a_picture_that_nobody_can_change_goes_once(pinned: Matting) -> None:
    still, other = BEHIND[0].copy(), BEHIND[1].copy()
    still.flags.writeable = other.flags.writeable = False
    expected = composed(pinned, [BEHIND[0], BEHIND[0], BEHIND[1], BEHIND[0]])
    transfer = pinned._transfer
    assert isinstance(transfer, Counting)
    transfer.went.clear()
    np.testing.assert_array_equal(composed(pinned, [still, still, other, still]), expected)
    pictures = [array for array in transfer.went if array is still or array is other]
    assert len(pictures) == 3 and len(transfer.went) == len(FRAMES) + 3


def test_another_stream_keeps_another_picture(pinned: Matting) -> None:
    still, other = BEHIND[0].copy(), BEHIND[1].copy()
    still.flags.writeable = other.flags.writeable = False
    expected = composed(pinned, [other] * 4), composed(pinned, [still] * 4)
    twin = pinned.another()
    transfer = pinned._transfer
    assert isinstance(transfer, Counting)
    transfer.went.clear()  # which both write to
    pinned.reset()
    for index, frame in enumerate(FRAMES):  # in turns
        np.testing.assert_array_equal(twin(frame, other, index).image, expected[0][index])
        np.testing.assert_array_equal(pinned(frame, still, index).image, expected[1][index])
    assert sum(array is still for array in transfer.went) == 0
    assert sum(array is other for array in transfer.went) == 1


@pytest.mark.parametrize(("backend", "way"), [("cpu", Shared), ("gpu", Pinned), ("tpu", Pinned)])
def test_only_a_cpu_shares_its_memory(
    backend: str, way: type[Transfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert type(Matting(released(), Effect("color"))._transfer) is way
