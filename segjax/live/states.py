"""The states of a run, what leads from one to another, and what the user is told."""

from collections.abc import Callable
from enum import StrEnum, auto

from segjax.live.clock import Clock

SAY_AGAIN_S = 10.0
"""The same line is not said again within this time, however often a state is entered."""


class State(StrEnum):
    """What a run is doing. What leaves in `live` is composed, or repeated when nothing moves; in
    `held`, repeated; in all others, a cover."""

    WARMING = auto()
    """No mask yet: at the start, for a new size of frame, after a reconnection or a pause."""
    LIVE = auto()
    """Frames are composed with their own masks."""
    HELD = auto()
    """Nothing new came for a moment: the last output is repeated, for less than half a second."""
    COVERED = auto()
    """The frames or their masks may not be shown, or none come in time."""
    RECONNECTING = auto()
    """The source gives nothing that can be used; it is tried again and again."""
    PAUSED = auto()
    """The user paused; the source is let go."""
    STOPPED = auto()
    """The run is over."""


class Event(StrEnum):
    """What changes the state."""

    SHOWN = auto()
    """A frame is shown: composed or, since it hardly differs from the last, repeated."""
    SILENT = auto()
    """Nothing new came for a moment."""
    OVERDUE = auto()
    """Nothing new came for so long that the last output may not be repeated any more."""
    REFUSED = auto()
    """A frame or its mask is not fit to be shown."""
    UNREADY = auto()
    """A frame came that the model is not prepared for yet."""
    LOST = auto()
    """The source gives nothing, or nothing but black or frozen pictures."""
    FOUND = auto()
    """A lost source gives pictures again."""
    PAUSE = auto()
    RESUME = auto()
    STOP = auto()


_ENDS = {Event.PAUSE: State.PAUSED, Event.STOP: State.STOPPED}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.WARMING: {
        Event.SHOWN: State.LIVE,
        Event.REFUSED: State.COVERED,
        Event.LOST: State.RECONNECTING,
        **_ENDS,
    },
    State.LIVE: {
        Event.SILENT: State.HELD,
        Event.OVERDUE: State.COVERED,
        Event.REFUSED: State.COVERED,
        Event.UNREADY: State.WARMING,
        Event.LOST: State.RECONNECTING,
        **_ENDS,
    },
    State.HELD: {
        Event.SHOWN: State.LIVE,
        Event.OVERDUE: State.COVERED,
        Event.REFUSED: State.COVERED,
        Event.UNREADY: State.WARMING,
        Event.LOST: State.RECONNECTING,
        **_ENDS,
    },
    State.COVERED: {
        Event.SHOWN: State.LIVE,
        Event.UNREADY: State.WARMING,
        Event.LOST: State.RECONNECTING,
        **_ENDS,
    },
    State.RECONNECTING: {Event.FOUND: State.WARMING, **_ENDS},
    State.PAUSED: {Event.RESUME: State.WARMING, Event.STOP: State.STOPPED},
    State.STOPPED: {},
}
"""state → event → the next state; an event that a state does not name changes nothing."""

LINES = {
    State.WARMING: "warming up: a cover is shown until there is a mask",
    State.LIVE: "live",
    State.HELD: "held: no new picture comes; the last one is repeated for less than 0.5 s",
    State.COVERED: "covered: {why}",
    State.RECONNECTING: "reconnecting: {why}; a cover is shown, and it is tried again by itself",
    State.PAUSED: "paused: the source is let go, and a cover is shown",
    State.STOPPED: "stopped",
}


class Machine:
    """The state of one run, with the time spent in each. Used under its owner's lock.

    Args:
      tell: whether a change of state is said; if not, only why something was covered is, once.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None], *, tell: bool) -> None:
        self.state = State.WARMING
        self._clock = clock
        self._say = say
        self._tell = tell
        self._entered_s = clock.now()
        self._entries = dict.fromkeys(State, 0)
        self._seconds = dict.fromkeys(State, 0.0)
        self._entries[self.state] = 1
        self._said: dict[tuple[State, str], float] = {}
        self._line = ""

    def happen(self, event: Event, why: str = "", kind: str = "") -> bool:
        """Goes where the table says; whether that is another state than before.

        `why` goes into the line that the user is told; causes of one `kind` are one to them.
        """
        old, new = self.state, TRANSITIONS[self.state].get(event, self.state)
        again = event is Event.REFUSED and old is State.COVERED  # for another reason, perhaps
        if new is old and not again:
            return False
        self._line = LINES[new].format(why=why)
        now = self._clock.now()
        if event is Event.RESUME:  # the user wants to hear what comes of it
            self._said.clear()
        if new is not old:
            self._seconds[old] += now - self._entered_s
            self._entries[new] += 1
            self.state, self._entered_s = new, now
        said_s = self._said.get((new, kind))
        if said_s is None or (self._tell and now - said_s >= SAY_AGAIN_S):
            self._said[new, kind] = now
            if self._tell or new is State.COVERED:
                self._say(self._line)
        return new is not old

    @property
    def line(self) -> str:
        """What the user is told of the present state."""
        return self._line or LINES[self.state]

    def times(self) -> dict[str, dict[str, float]]:
        """count: how often each state was entered; seconds: how long it lasted in all."""
        lasting = self._clock.now() - self._entered_s
        return {
            state.value: {
                "count": self._entries[state],
                "seconds": round(self._seconds[state] + lasting * (state is self.state), 3),
            }
            for state in State
        }
