"""A scripted world around the real loop: a camera, a model, sinks and a user that err on purpose.

Every frame has its number burnt into each of its columns. The model reads the number from the
pixels it was given, and answers with a mask whose place encodes it; so what comes out shows by its
place which frame the mask is of, and by its pixels which frame is shown. The rows at the bottom
show, by their place, how many frames the model has seen since it last forgot: its state.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from live_fakes import Composite, ScriptedClock

from segjax.live.backgrounds import Picture
from segjax.live.clock import Clock
from segjax.live.frames import Frame, Output, Sink, Source, SourceLost
from segjax.live.governor import Governor
from segjax.live.loop import Loop, Status
from segjax.live.timings import Report

SIZE = (34, 64)
BITS = 15
"""Of the number: two rows each from the top, most significant last."""
PLACES = 8
RATE = 30.0
BACKGROUNDS = [(120, 130, 140), (110, 115, 125), (140, 105, 150)]
"""Colours that no frame holds."""


def burnt(number: int, *, low: bool, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The frame of a number: all bytes in 30..80 or, unless `low`, in 170..220."""
    height, width = size
    bits = (number >> np.arange(BITS)) & 1
    rows = np.repeat(bits, 2)
    rows = np.concatenate([rows, np.arange(height - len(rows)) % 2])
    values = (30 if low else 170) + 50 * rows
    return np.broadcast_to(values[:, None, None], (height, width, 3)).astype(np.uint8)


def read_number(column: np.ndarray) -> int:
    """The number burnt into one column of a frame: uint8 [H, 3]."""
    bits = column[: 2 * BITS : 2, 0].astype(int) % 140 > 55
    return int(bits @ (1 << np.arange(BITS)))


def mask(number: int, seen: int, height: int, width: int) -> np.ndarray:
    """bool [height, width]: one of eight places for the number, and one for the state below."""
    place = width // PLACES
    alpha = np.zeros((height, width), bool)
    alpha[: 2 * BITS, (start := place * (number % PLACES)) : start + place] = True
    alpha[2 * BITS :, (start := place * (seen % PLACES)) : start + place] = True
    return alpha


def compose(
    pixels: np.ndarray, seen: int, color: Sequence[int], alpha: np.ndarray | None = None
) -> np.ndarray:
    """A frame with the mask of its number; where another mask is given that is not finite, or of
    another shape, the frame as it is: the worst that a step could do."""
    shape = pixels.shape[:2]
    own = mask(read_number(pixels[:, 0]), seen, *shape) if alpha is None else alpha
    shown = own > 0.5 if own.shape == shape and np.isfinite(own).all() else np.ones(shape, bool)
    return np.where(shown[..., None], pixels, np.array(color, np.uint8))


class Model:
    """The step of that world. `errs` maps a number to what goes wrong with it."""

    def __init__(self, clock: Clock) -> None:
        self.errs: dict[int, Callable[[Composite], Composite]] = {}
        self.takes: list[Callable[[int], float]] = [lambda number: 0.005]
        """How many seconds each fault lets a frame's step take; the longest counts."""
        self.seen_before: dict[int, int] = {}
        """The state that a frame met, by its index."""
        self.erred: set[int] = set()
        """Indices of the frames for which something went wrong."""
        self.resets = 0
        self.qualities = ("full", "coarse")
        self.quality = 0
        self.busy = False
        self._clock = clock
        self._seen = 0

    def prepare(self, height: int, width: int) -> None:
        self._clock.sleep(0.3)
        self._seen = 0

    def prepare_quality(self, quality: int, height: int, width: int) -> float:
        self._clock.sleep(0.3)
        return 0.5

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def reset(self) -> None:
        self.resets += 1
        self._seen = 0

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        assert background is not None and not self.busy
        self.busy = True
        number = read_number(pixels[:, 0])
        self.seen_before[index], seen = self._seen, self._seen
        self._seen += 1
        try:
            self._clock.sleep(max(takes(number) for takes in self.takes))
            # Read late, as JAX may: whoever writes to the frame meanwhile is found out.
            image = compose(pixels, seen, background[0, 0])
            alpha = mask(read_number(pixels[:, 0]), seen, *pixels.shape[:2]).astype(np.float32)
            made = Composite(image, alpha, index)
            if number in self.errs:
                self.erred.add(index)
                before, made = made, self.errs[number](made)
                if made.alpha is not before.alpha:
                    made = Composite(
                        compose(pixels, seen, background[0, 0], made.alpha), made.alpha, made.index
                    )
            return made
        finally:
            self.busy = False


class Painted(Picture):
    """A colour given as a picture, which can be switched without another step."""

    def __init__(self, color: tuple[int, int, int]) -> None:
        super().__init__(np.full((2, 2, 3), color, np.uint8))


class Camera(Source):
    """Gives frame after frame, 30 a second, from one buffer that it writes to again and again.

    `before` maps a number to what happens before that frame is given; `makes` to what its pixels
    become, from that frame on if it stands in `from_then_on`.
    """

    name = "scripted camera"
    live = True
    rate = RATE
    size = SIZE

    def __init__(self, clock: Clock, count: int, *, low: bool) -> None:
        self.before: dict[int, Callable[[], None]] = {}
        self.makes: list[tuple[range, Callable[[np.ndarray, int], np.ndarray]]] = []
        self.away_until_s = 0.0
        self.interval_s = 1 / RATE
        self.entered = self.left = 0
        self.clock = clock
        self.count = count
        self._low = low
        self._number = 0
        self.came_s: dict[int, float] = {}

    def pixels(self, number: int) -> np.ndarray:
        """What the camera gives as its frame of that number."""
        made = burnt(number, low=self._low)
        for numbers, make in self.makes:
            if number in numbers:
                made = make(made, number)
        return made

    def burnt(self, number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
        return burnt(number, low=self._low, size=size)

    @property
    def black(self) -> int:
        return 0 if self._low else 9

    def __enter__(self) -> Self:
        self.entered += 1
        self.clock.sleep(0.2)
        if self.clock.now() < self.away_until_s:
            raise SourceLost("the scripted camera is not there")
        return self

    def __exit__(self, *_: object) -> None:
        self.left += 1

    def __iter__(self) -> Iterator[Frame]:
        first = self._number
        buffer = np.zeros(0, np.uint8)
        while self._number < self.count:
            number = self._number
            self.clock.sleep(self.interval_s)
            if number in self.before:
                self.before.pop(number)()
            pixels = self.pixels(number)
            if buffer.shape != pixels.shape or buffer.dtype != pixels.dtype:
                buffer = pixels.copy()
            buffer[:] = pixels
            self._number += 1
            self.came_s[number] = now = self.clock.now()
            yield Frame(buffer, number - first, (number - first) / RATE, now)
            buffer[:] = 250 if self._low else 5  # overwritten after the hand-over

    def lose(self, for_s: float) -> None:
        """Unplugged, and back after some time."""
        self.away_until_s = self.clock.now() + for_s
        raise SourceLost("the scripted camera was unplugged")


@dataclass
class Left:
    """An output as it left: when, and its bytes then."""

    output: Output
    pixels: np.ndarray
    at_s: float


class Tape(Sink):
    """Keeps what leaves, without loss, and then writes over what it was given."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.left: list[Left] = []
        self.after: dict[int, Callable[[], None]] = {}
        """What happens after the so-manyth output was taken."""
        self.closed_with: list[type[BaseException] | None] = []
        self.write_s = 0.0
        self._clock = clock

    def write(self, frame: Frame) -> None:
        assert isinstance(frame, Output)
        self.left.append(Left(frame, frame.pixels.copy(), self._clock.now()))
        frame.pixels[:] = 33
        self._clock.sleep(self.write_s)
        if (count := len(self.left)) in self.after:
            self.after.pop(count)()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.closed_with.append(kind)


@dataclass
class World:
    """One run. A fault is a function that changes a world before it starts.

    stopped_s: when all threads stood still for long, and until when, which nothing could be done
    about. paused_s: likewise, times when the user had paused.
    """

    clock: ScriptedClock
    low: bool
    frames: int = 60
    stopped_s: list[tuple[float, float]] = field(default_factory=list)
    paused_s: list[tuple[float, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    fails: bool = False
    """Whether the run cannot go on, and ends with an error."""

    def __post_init__(self) -> None:
        self.camera = Camera(self.clock, self.frames, low=self.low)
        self.model = Model(self.clock)
        self.tape = Tape("tape", self.clock)
        self.other = Tape("other", self.clock)
        self.governor = Governor(self.model.qualities, rate=RATE)
        self.loop = Loop(
            self.camera,
            self.model,
            Painted(BACKGROUNDS[0]),
            [self.tape, self.other],
            device="",
            governor=self.governor,
            say=self.said.append,
            clock=self.clock,
        )
        self.report: Report | None = None
        self.status: Status | None = None
        self.error: Exception | None = None

    def aside(self, work: Callable[[], None]) -> None:
        """Does something on a thread of its own."""
        self.clock.start(work, "aside")

    def switch(self, number: int) -> None:
        """The user chooses another background."""
        self.loop.switch(Painted(BACKGROUNDS[number % len(BACKGROUNDS)]))

    def run(self) -> None:
        try:
            self.report = self.loop.run()
        except Exception as error:
            self.error = error
        self.status = self.loop.status()


Fault = Callable[[World, int], None]


def watch(faults: Sequence[tuple[Fault, int]]) -> tuple[World, World]:
    """Runs a world with these faults, each at a frame, twice: with no pixel in common."""
    worlds = []
    for low in (True, False):
        with ScriptedClock() as clock:
            world = World(clock, low)
            for fault, at in faults:
                fault(world, at)
            world.run()
        worlds.append(world)
    return worlds[0], worlds[1]


def prove(low: World, high: World) -> None:
    """That both runs show frames composed as they should be, repeat what is half a second old at
    most, and cover with the same bytes; and that something leaves twice a second at least."""
    pairs = zip(low.tape.left, high.tape.left, strict=True)
    for one, other in pairs:
        assert one.output.kind == other.output.kind
        assert one.output.index == other.output.index
        assert one.at_s == other.at_s
        assert one.output.time_s == other.output.time_s
        if one.output.kind == "covered":
            np.testing.assert_array_equal(one.pixels, other.pixels)
    for world in (low, high):
        assert bool(world.error) == world.fails, world.error
        _prove_each(world)
        _prove_times(world)
        assert world.status is not None and world.status.state == "stopped"


def _prove_each(world: World) -> None:
    composed: dict[int, list[Left]] = {}
    for left in world.tape.left:
        output = left.output
        if output.kind == "covered":
            assert any((left.pixels == color).all() for color in BACKGROUNDS)
            continue
        assert output.index not in world.model.erred
        _prove_usable(world.camera, output.index)
        assert not any(start < left.at_s < end for start, end in world.paused_s)
        if output.kind == "repeated":
            assert any(
                np.array_equal(left.pixels, earlier.pixels) and left.at_s - earlier.at_s <= 0.5
                for earlier in composed[output.index]
            )
            continue
        composed.setdefault(output.index, []).append(left)
        assert left.at_s - world.camera.came_s[output.index] <= 0.5
        frame = world.camera.pixels(output.index)
        seen = world.model.seen_before[output.index]
        assert any(
            np.array_equal(left.pixels, compose(frame, seen, color)) for color in BACKGROUNDS
        )
        _prove_place(left.pixels)


def _prove_usable(camera: Camera, index: int) -> None:
    """A frame that is shown was one: neither black, nor the same to the byte for a second."""
    frame = camera.pixels(index)
    assert frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
    assert frame.max() > 15
    first = index
    while first and np.array_equal(camera.pixels(first - 1), frame):
        first -= 1
    assert camera.came_s[index] - camera.came_s[first] <= 1.001


def _prove_place(pixels: np.ndarray) -> None:
    """The place where a picture shows a frame is that of the number it shows."""
    top = pixels[: 2 * BITS]
    shows = ~np.any([(top == color).all(axis=(0, 2)) for color in BACKGROUNDS], axis=0)
    columns = np.flatnonzero(shows)
    place = pixels.shape[1] // PLACES
    assert len(columns) == place
    assert {read_number(pixels[:, column]) % PLACES for column in columns} == {columns[0] // place}


def _prove_times(world: World) -> None:
    times = [left.at_s for left in world.tape.left]
    for before, after in itertools.pairwise(times):
        stood_still = sum(
            max(0.0, min(end, after) - max(start, before)) for start, end in world.stopped_s
        )
        assert after - before - stood_still <= 0.5
    stamps = [left.output.time_s for left in world.tape.left]
    assert stamps == sorted(stamps)
