"""Keeps a live run in time with its source, or within a share of the processor."""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

RATES = (30.0, 20.0, 15.0)
"""Frames a second that are left, one after another, when the coarsest mask takes too long, too."""

APART_S = 10.0
"""Seconds between two changes, at least: each may be seen."""

SECONDS, BAD, LATEST = 4, 3, 2
"""Of so many seconds, so many must be too busy before the quality goes down, which a load of a
second or two is not; before it goes up, none may be. If only the latest two allow for more, it
waits for them all."""

FULL = 0.9
"""Share of the time between two frames that the step may take: it varies, and what takes longer
than that makes the next frame wait."""

MISSED = 0.07
"""Share of the frames that may be missed: 2 of 30."""

DOUBT, ROOM = 1.35, 0.75
"""Going down, a level is tried if it is expected to take up to so much of what it may, at which it
still gives more frames than the next one would; going up, only if it takes less than this."""

VARIES = 0.5
"""Share of the processor's time that follows the step's: the camera and the sinks take the rest."""

RUED_S = 15.0
"""Who goes down again so soon after going up should not have."""

WAIT_S = 60.0, 960.0
"""Then it is not tried again for so long, unless things are clearly better; each time that it was
wrong doubles this, up to the second."""

BETTER = 0.8
"""Clearly better: it is expected to take so much of what was expected when it was wrong."""


@dataclass(frozen=True, slots=True)
class Level:
    """One of the ways to run, from best to cheapest.

    quality: of the step, 0 is the best.
    rate: frames a second at most.
    """

    quality: int
    rate: float
    name: str


@dataclass(frozen=True, slots=True)
class _Second:
    """Means over about a second: a step's duration, the time between two frames of the source, the
    share of them that was missed, and the share of the processor that was taken."""

    step_s: float
    interval_s: float
    missed: float
    cpu: float


class Governor:
    """Chooses how well, and how often, a live source's frames are composed.

    It judges by what steps take beside the time between two frames, so that a camera which itself
    becomes slow in the dark changes nothing. What another level would take is expected from what
    the present one does and from `costs`: each quality's duration as a share of the best one's, as
    far as they are prepared. One that is not is not chosen.

    For one thread, except that anyone may read `level`. It has no clock: times are given.

    Args:
      qualities: the step's, by name, the best first.
      rate: the source's, frames a second.
      cpu_share: of all processors, in (0, 1]; 1 is no limit.
    """

    def __init__(
        self, qualities: Sequence[str], *, rate: float = 30.0, cpu_share: float = 1.0
    ) -> None:
        last = len(qualities) - 1
        self.levels = [Level(q, math.inf, name) for q, name in enumerate(qualities)] + [
            Level(last, slower, f"{qualities[last]}, {slower:g} fps")
            for slower in RATES
            if slower < 0.9 * rate
        ]
        self.level = self.levels[0]
        self.on = True
        """Whether it changes anything."""
        self.skipped = 0
        """Frames that were not composed for the sake of a lower rate."""
        self.changes: list[tuple[float, str]] = []
        """When each level was chosen, by its name; of the latest hundred."""
        self._cpu_share = cpu_share if cpu_share < 1 else math.inf
        self._costs: Sequence[float] = (1.0,)
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self._steps: list[float] = []
        self._seen = 0
        self._began: tuple[int, float, float, float] | None = None
        self._due_s = self._changed_s = -math.inf
        self._spent = dict.fromkeys((level.name for level in self.levels), 0.0)
        self._chosen = Counter([self.level.name])
        self._went_up: float | None = None
        """What the present level was expected to take, if it was gone up to."""
        self._rued, self._rued_until_s, self._wait_s = math.inf, -math.inf, WAIT_S[0]

    def takes(self, arrived_s: float) -> bool:
        """Whether a frame that came then is wanted at the present rate."""
        self._seen += 1
        period_s = 1 / self.level.rate
        if not self.on or arrived_s >= self._due_s - period_s / 4:
            due_s = self._due_s + period_s
            self._due_s = due_s if due_s > arrived_s else arrived_s + period_s
            return True
        self.skipped += 1
        return False

    def forget(self) -> None:
        """What comes next has nothing to do with what came before: the source was away."""
        self._seconds.clear()
        self._began = None

    def stepped(
        self,
        index: int,
        arrived_s: float,
        now_s: float,
        step_s: float,
        cpu_s: float,
        costs: Sequence[float] = (1.0,),
    ) -> str | None:
        """Notes what a frame's step took, and changes the level if that is called for.

        Args:
          index: the frame's, which counts those that were missed too.
          arrived_s: when it came.
          now_s: when its step had ended.
          step_s: what that took.
          cpu_s: what the process has taken of all processors so far, in seconds.
          costs: of the qualities that are ready, from the best on.

        Returns:
          A line for the user if the level changed.
        """
        if costs != self._costs:
            self._costs = costs
            self.forget()
        if self._began is None:
            self._begin(index, arrived_s, now_s, cpu_s)
            return None
        self._steps.append(step_s)
        first_index, first_s, began_s, began_cpu_s = self._began
        lasted_s, came = now_s - began_s, index - first_index
        if lasted_s < 1 or came < 1:
            return None
        self._seconds.append(
            _Second(
                fmean(self._steps),
                (arrived_s - first_s) / came,
                1 - min(1.0, self._seen / came),
                (cpu_s - began_cpu_s) / lasted_s,
            )
        )
        self._begin(index, arrived_s, now_s, cpu_s)
        if not self.on:
            self._seconds.clear()
        if now_s - self._changed_s < APART_S:
            return None
        return self._lower(now_s) or self._higher(now_s)

    def times(self) -> dict[str, dict[str, float]]:
        """Of each level that was chosen: how often, and for how many seconds up to the last
        frame."""
        return {
            name: {"count": count, "seconds": round(self._spent[name], 3)}
            for name, count in self._chosen.items()
        }

    def _begin(self, index: int, arrived_s: float, now_s: float, cpu_s: float) -> None:
        if self._began is not None:
            self._spent[self.level.name] += now_s - self._began[2]
        self._began = index, arrived_s, now_s, cpu_s
        self._steps, self._seen = [], 0

    def _takes(self, second: _Second, level: Level) -> float:
        """What a level takes of what it may, as that second went."""
        now = self.level
        ready = len(self._costs) - 1
        cost = self._costs[min(level.quality, ready)] / self._costs[min(now.quality, ready)]
        period_s = max(second.interval_s, 1 / level.rate)
        more = cost * max(second.interval_s, 1 / now.rate) / period_s
        time = cost * second.step_s / period_s
        cpu = second.cpu * (1 - VARIES + VARIES * more)
        return max(time / FULL, cpu / self._cpu_share)

    def _expected(self, level: Level) -> float:
        return fmean(self._takes(second, level) for second in self._seconds)

    def _lower(self, now_s: float) -> str | None:
        bad = [s for s in self._seconds if s.missed > MISSED or self._takes(s, self.level) > 1]
        below = self.levels[self.levels.index(self.level) + 1 :]
        below = [level for level in below if level.quality < len(self._costs)]
        if len(bad) < BAD or not below:
            return None
        if self._went_up is not None:
            if now_s - self._changed_s < RUED_S:
                self._rued, self._rued_until_s = self._went_up, now_s + self._wait_s
                self._wait_s = min(2 * self._wait_s, WAIT_S[1])
            else:
                self._wait_s = WAIT_S[0]
        level = next((level for level in below if self._expected(level) <= DOUBT), below[-1])
        last = bad[-1]
        self._went_up = None
        self._change(level, now_s)
        if last.cpu > self._cpu_share:
            return (
                f"quality: {level.name}, since {last.cpu:.0%} of the processors were taken and "
                f"--cpu-share allows {self._cpu_share:.0%}"
            )
        words = (
            f"a frame takes {last.step_s * 1e3:.0f} ms, and the next one comes after "
            f"{last.interval_s * 1e3:.0f}"
        )
        if last.step_s < FULL * last.interval_s:
            words = f"{last.missed:.0%} of the frames were missed"
        return f"quality: {level.name}, since the machine is busy: {words}"

    def _higher(self, now_s: float) -> str | None:
        if len(self._seconds) < SECONDS or any(s.missed > MISSED for s in self._seconds):
            return None
        for level in self.levels[: self.levels.index(self.level)]:
            takes = [self._takes(second, level) for second in self._seconds]
            rued = now_s < self._rued_until_s and fmean(takes) > BETTER * self._rued
            if rued or level.quality >= len(self._costs) or max(takes[-LATEST:]) > ROOM:
                continue
            if max(takes) > ROOM:  # it seems to become better still: rather one change than two
                return None
            self._went_up = fmean(takes)
            self._change(level, now_s)
            return f"quality: {level.name}, since there is time for it"
        return None

    def _change(self, level: Level, now_s: float) -> None:
        self.level, self._changed_s = level, now_s
        self.changes = [*self.changes[-99:], (now_s, level.name)]
        self._chosen[level.name] += 1
        self.forget()
