"""Where alpha is 0, no byte of the source gets out: the loop around the real composition."""

import jax.numpy as jnp
import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, ScriptedClock
from live_world import Camera, Painted

from segjax.live.backgrounds import Background, Color, Transparent
from segjax.live.loop import Loop
from segjax_kernels import upsample_blend
from segjax_kernels.upsample_blend.reference import upsample

SIZE = (45, 61)
FRAMES = 6

BACKGROUNDS: dict[str, tuple[Background, np.ndarray | None]] = {
    "color": (Color((9, 200, 90)), np.array((9, 200, 90), np.uint8)),
    "picture": (Painted((9, 200, 90)), None),
    "small picture": (Color((0, 0, 0)), np.random.default_rng(2).random((5, 7, 3), np.float32)),
    "transparent": (Transparent(), None),
}


def alpha_of(index: int) -> np.ndarray:
    """Noise around a hole: float32 [11, 15], every value from 0.05 on or exactly 0."""
    alpha = np.random.default_rng(index).random((11, 15), np.float32)
    alpha[2:7, 3 + index % 4 : 10] = 0
    return np.where(alpha < 0.05, np.float32(0), alpha)


class Injected(FakeMatting):
    """Composes as the step does, by a mask that it is given."""

    def __init__(self, background: np.ndarray | None) -> None:
        super().__init__()
        self._background = background

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        return 11, 15

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        alpha = alpha_of(index)
        behind = self._background if background is None else background
        return Composite(np.array(upsample_blend(pixels, alpha, behind)), alpha, index)


def run(kind: str, *, changed: bool) -> list[np.ndarray]:
    """What leaves; if `changed`, of frames that differ wherever alpha is 0, and there alone."""
    background, behind = BACKGROUNDS[kind]

    def make(_: np.ndarray, number: int) -> np.ndarray:
        random = np.random.default_rng((7, number))
        pixels = random.integers(0, 256, (*SIZE, 3), np.uint8)
        hidden = np.array(upsample(jnp.asarray(alpha_of(number)), *SIZE)) == 0
        assert 0.05 < hidden.mean() < 0.5
        if changed:
            pixels[hidden] += random.integers(1, 256, (int(hidden.sum()), 3), np.uint8)
        return pixels

    with ScriptedClock() as clock:
        camera, tape = Camera(clock, FRAMES, low=True), Collector()
        camera.size = SIZE
        camera.makes.append((range(FRAMES), make))
        Loop(camera, Injected(behind), background, [tape], device="", clock=clock).run()
    return [frame.pixels for frame in tape.frames if getattr(frame, "kind", "") == "composed"]


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_source_pixels_where_alpha_is_0_change_no_output_byte(kind: str) -> None:
    one, other = run(kind, changed=False), run(kind, changed=True)
    assert len(one) == len(other) == FRAMES
    for index in range(FRAMES):
        np.testing.assert_array_equal(one[index], other[index])
        assert len(np.unique(one[index])) > 20  # the rest of the frame is there
