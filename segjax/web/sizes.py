"""Which size a page should send: as large as the machine and the way between them carry."""

from collections import deque
from dataclasses import dataclass

SIDES = (640, 960, 1280)
"""Long sides of the pictures that are sent, from small to large."""

UP_AFTER_S, DOWN_AFTER_S = 5.0, 3.0
"""How long all must be well before a larger size, and badly before a smaller one."""

REST_S = 30.0
"""How long a size that was too large is not tried again; twice as long every time."""

WELL_MS, BADLY_MS = 80.0, 150.0
"""95th percentile of the time from capture to presentation."""

FULL = 0.6
"""The share of the time that composing may take at the larger size, as far as can be foretold."""


@dataclass(frozen=True)
class Figures:
    """What was measured in the last second or so.

    shown_fps: pictures that the page presented; camera_fps: that its camera gave.
    p95_ms: from capture to presentation.
    busy: the share of the time that this viewer's frames were being worked on, 0 to 1.
    """

    shown_fps: float
    camera_fps: float
    p95_ms: float
    busy: float

    @property
    def badly(self) -> bool:
        return self.p95_ms > BADLY_MS or self.shown_fps < 0.75 * self.camera_fps

    def well(self, growth: float) -> bool:
        """Whether there is room for pictures of `growth` times as many pixels."""
        return (
            self.p95_ms < WELL_MS
            and self.shown_fps >= 0.9 * self.camera_fps
            and self.busy * growth < FULL
        )


class Ladder:
    """Steps up while all is well, down when it is not, and rests after a size that was too large.

    `largest` is the number of sizes that the step is ready for: none of the others is advised.
    """

    def __init__(self, sides: tuple[int, ...] = SIDES) -> None:
        self._sides = sides
        self._now = 0
        self._recent: deque[tuple[float, Figures]] = deque()
        self._rest_s = REST_S
        self._not_before_s = 0.0

    @property
    def side(self) -> int:
        return self._sides[self._now]

    def advise(self, time_s: float, figures: Figures, largest: int) -> int:
        """The long side to send, after the figures of another second."""
        self._recent.append((time_s, figures))
        while self._recent[0][0] < time_s - UP_AFTER_S:
            self._recent.popleft()
        if self._now and self._throughout(time_s, DOWN_AFTER_S, lambda one: one.badly):
            self._move(-1)
            self._not_before_s = time_s + self._rest_s
            self._rest_s *= 2
        elif self._now + 1 < min(largest, len(self._sides)) and time_s >= self._not_before_s:
            growth = (self._sides[self._now + 1] / self.side) ** 2
            if self._throughout(time_s, UP_AFTER_S, lambda one: one.well(growth)):
                self._move(1)
        return self.side

    def _throughout(self, time_s: float, span_s: float, holds) -> bool:
        began_s = self._recent[0][0]
        last = [one for at, one in self._recent if at > time_s - span_s]
        return began_s <= time_s - span_s and all(map(holds, last))

    def _move(self, by: int) -> None:
        self._now += by
        self._recent.clear()
