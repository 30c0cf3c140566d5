"""A viewer on a thread of its own, which is answered in time whatever the model does."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from segjax.web.studio import Studio
from segjax.web.viewer import Answer, Viewer
from segjax.web.worker import Worker

COVER_AFTER_S = 0.5
"""A frame whose picture is not ready by then is answered with a cover."""

Packed = TypeVar("Packed")


class Composer:
    """What carries frames asks this, from asyncio's thread, for one answer after another."""

    def __init__(self, studio: Studio) -> None:
        self.viewer = Viewer(studio)
        self._worker = Worker("viewer")
        self._working: asyncio.Future | None = None

    async def __call__(
        self,
        unpack: Callable[[], np.ndarray],
        pack: Callable[[np.ndarray], Packed],
        number: int,
        size: tuple[int, int],
        *,
        may_stand: bool = False,
    ) -> tuple[Answer, Packed]:
        """The answer to a frame with a number that grows, also as `pack` makes it of its pixels.

        `unpack` gives uint8 RGB of `size` (height, width). Both are called in another thread; but
        `pack` in this one, if the other is late. `may_stand` is a viewer's.
        """
        if self._working is None or self._working.done():
            composing = self._worker.submit(self._compose, unpack, pack, number, may_stand)
            self._working = asyncio.wrap_future(composing)
            self._working.add_done_callback(_forget)
            done, _ = await asyncio.wait([self._working], timeout=COVER_AFTER_S)
            if done:
                return self._working.result()
        answer = self.viewer.late(*size, number)
        return answer, pack(answer.output.pixels)

    def _compose(
        self,
        unpack: Callable[[], np.ndarray],
        pack: Callable[[np.ndarray], Packed],
        number: int,
        may_stand: bool,
    ) -> tuple[Answer, Packed]:
        answer = self.viewer(unpack(), number, may_stand=may_stand)
        return answer, pack(answer.output.pixels)

    def close(self) -> None:
        self._worker.close()


def _forget(done: asyncio.Future) -> None:
    """Looks at an exception that came too late for anybody, so that asyncio does not complain."""
    if not done.cancelled():
        done.exception()
