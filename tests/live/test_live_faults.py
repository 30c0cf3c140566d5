"""The rule under faults, alone and in pairs, and what each guard is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_fakes import Composite
from live_world import SIZE, Fault, World, compose, prove, watch

from segjax.live import loop
from segjax.live import watch as watching
from segjax.live.gate import Gate
from segjax.live.guard import Guard

Make = Callable[[np.ndarray, int], np.ndarray]
AT = 15


def unplugged(world: World, at: int) -> None:
    world.camera.before[at] = lambda: world.camera.lose(10.0)


def taken_by_another_program(world: World, at: int) -> None:
    def fails() -> None:
        world.camera.away_until_s = world.clock.now() + 3.0
        raise OSError("device or resource busy")

    world.camera.before[at] = fails


def silent(world: World, at: int) -> None:
    """The driver holds the call for some seconds, and goes on."""
    world.camera.before[at] = lambda: world.clock.sleep(6.0)


def slower(world: World, at: int) -> None:
    world.camera.before[at] = lambda: setattr(world.camera, "interval_s", 0.3)
    world.camera.before[at + 20] = lambda: setattr(world.camera, "interval_s", 1 / 60)


def makes(world: World, at: int, count: int, make: Make) -> None:
    """The camera gives `count` frames other than they are."""
    world.camera.makes.append((range(at, at + count), make))


def another_size(world: World, at: int) -> None:
    makes(world, at, 10**6, lambda _, n: world.camera.burnt(n, (SIZE[0] + 7, SIZE[1] + 16)))


def grey(world: World, at: int) -> None:
    makes(world, at, 9, lambda frame, _: frame[..., 0])


def with_opacity(world: World, at: int) -> None:
    makes(world, at, 9, lambda frame, _: frame[..., [0, 1, 2, 0]])


def floats(world: World, at: int) -> None:
    makes(world, at, 9, lambda frame, _: frame.astype(np.float32))


def nothing(world: World, at: int) -> None:
    makes(world, at, 9, lambda frame, _: frame[:0])


def black(world: World, at: int) -> None:
    """For longer than is borne without opening the camera anew."""
    makes(world, at, 32, lambda frame, _: frame * 0 + world.camera.black)
    world.camera.interval_s = 0.1


def frozen(world: World, at: int) -> None:
    makes(world, at, 32, lambda *_: world.camera.burnt(at))
    world.camera.interval_s = 0.1


def errs(world: World, at: int, count: int, err: Callable[[Composite], Composite]) -> None:
    for number in range(at, at + count):
        world.model.errs[number] = err


def raises(error: Exception) -> Callable[[Composite], Composite]:
    def err(_: Composite) -> Composite:
        raise error

    return err


def masks(make: Callable[[np.ndarray], np.ndarray]) -> Callable[[Composite], Composite]:
    return lambda good: replace(good, alpha=make(good.alpha))


def model_raises(world: World, at: int) -> None:
    errs(world, at, 3, raises(RuntimeError("boom")))


def out_of_memory(world: World, at: int) -> None:
    errs(world, at, 3, raises(MemoryError()))


def mask_of_nan(world: World, at: int) -> None:
    errs(world, at, 2, masks(lambda alpha: alpha * np.nan))


def mask_of_inf(world: World, at: int) -> None:
    errs(world, at, 2, masks(lambda alpha: alpha + np.inf))


def mask_of_ones(world: World, at: int) -> None:
    errs(world, at, 9, masks(np.ones_like))


def mask_of_another_shape(world: World, at: int) -> None:
    errs(world, at, 2, masks(lambda alpha: alpha[1:]))


def mask_of_another_frame(world: World, at: int) -> None:
    def err(good: Composite) -> Composite:
        before = compose(world.camera.pixels(good.index - 1), 0, (120, 130, 140))
        return replace(good, image=before, index=good.index - 1)

    errs(world, at, 2, err)


def picture_of_another_shape(world: World, at: int) -> None:
    errs(world, at, 2, lambda good: replace(good, image=good.image[:, 1:]))


def slow_model(world: World, at: int) -> None:
    world.model.takes.append(lambda number: 0.25 if at <= number < at + 30 else 0.025)


def very_slow_model(world: World, at: int) -> None:
    """So slow that what it makes is over."""
    world.model.takes.append(lambda number: 0.8 if at <= number < at + 15 else 0.025)
    world.camera.interval_s = 0.1


def stalled_model(world: World, at: int) -> None:
    world.model.takes.append(lambda number: 6.0 if at <= number < at + 3 else 0.025)
    world.camera.interval_s = 0.2


def model_that_never_returns(world: World, at: int) -> None:
    world.model.takes.append(lambda number: 1e9 if number >= at else 0.025)
    world.camera.interval_s = 0.5
    world.frames = world.camera.count = 1_000  # 500 s, and it is given up after 60
    world.fails = True


def blocked_sink(world: World, at: int) -> None:
    world.other.after[at] = lambda: world.clock.sleep(10.0)


def sink_blocked_for_good(world: World, at: int) -> None:
    world.other.after[at] = lambda: world.clock.sleep(1e9)


def slow_sink(world: World, at: int) -> None:
    """The one whose outputs are looked at takes longer over each than there is time."""
    world.tape.write_s = 0.05


def sink_fails(world: World, at: int, error: BaseException) -> None:
    def fails() -> None:
        raise error

    world.other.after[at] = fails


def sink_gone(world: World, at: int) -> None:
    sink_fails(world, at, BrokenPipeError(32, "Broken pipe"))


def disk_full(world: World, at: int) -> None:
    sink_fails(world, at, OSError(28, "No space left on device"))


def output_thread_dies(world: World, at: int) -> None:
    sink_fails(world, at, SystemExit())


def stood_still(world: World, at: int) -> None:
    """SIGSTOP and SIGCONT, or a lid that is closed and opened."""

    def stop() -> None:
        start_s = world.clock.now()
        world.clock.jump(30.0)
        world.stopped_s.append((start_s, world.clock.now()))

    world.tape.after[at] = stop


def paused(world: World, at: int) -> None:
    def pause() -> None:
        world.loop.pause()
        start_s = world.clock.now()
        world.clock.sleep(3.0)
        world.paused_s.append((start_s, world.clock.now()))
        world.loop.resume()

    world.camera.before[at] = lambda: world.aside(pause)


def background_switched_at_every_frame(world: World, at: int) -> None:
    for number in range(at, world.frames):
        world.camera.before.setdefault(number, lambda n=number: world.switch(n))


def quality_switched_at_every_frame(world: World, at: int) -> None:
    levels = world.governor.levels

    def switch(number: int) -> None:
        world.governor.level = levels[number % len(levels)]

    for number in range(at, world.frames):
        world.camera.before.setdefault(number, lambda n=number: switch(n))


def switched_while_unplugged(world: World, at: int) -> None:
    def lose() -> None:
        def switch() -> None:
            world.clock.sleep(2.0)
            world.switch(1)

        world.aside(switch)
        world.camera.lose(4.0)

    world.camera.before[at] = lose


FAULTS: dict[str, tuple[Fault, str]] = {
    fault.__name__: (fault, said)
    for fault, said in [
        (unplugged, "reconnecting: the scripted camera was unplugged; a cover is shown"),
        (taken_by_another_program, "reconnecting: device or resource busy"),
        (silent, "reconnecting: the source has given no picture for a while"),
        (slower, "live"),
        (another_size, "preparing the model for 80x41"),
        (grey, "covered: the frame is uint8 (34, 64), not uint8 [H, W, 3]"),
        (with_opacity, "covered: the frame is uint8 (34, 64, 4), not uint8 [H, W, 3]"),
        (floats, "covered: the frame is float32 (34, 64, 3), not uint8 [H, W, 3]"),
        (nothing, "covered: the frame is uint8 (0, 64, 3), not uint8 [H, W, 3]"),
        (black, "reconnecting: scripted camera gives only black pictures"),
        (frozen, "reconnecting: scripted camera gives only frozen pictures"),
        (model_raises, "covered: the model failed with RuntimeError: boom"),
        (out_of_memory, "covered: the machine has too little free memory for the model"),
        (mask_of_nan, "covered: the mask holds values outside [0, 1]"),
        (mask_of_inf, "covered: the mask holds values outside [0, 1]"),
        (mask_of_ones, "covered: the mask suddenly covers far more or far less"),
        (mask_of_another_shape, "covered: the mask is float32 (33, 64), not float32 (34, 64)"),
        (mask_of_another_frame, "covered: a mask of another frame came"),
        (picture_of_another_shape, "covered: the picture is uint8 (34, 63, 3), not uint8"),
        (slow_model, "held: no new picture comes"),
        (very_slow_model, "covered: the model takes longer than 0.5 s for a frame"),
        (stalled_model, "covered: no picture was ready in time"),
        (model_that_never_returns, "covered: no picture was ready in time"),
        (blocked_sink, "live"),
        (sink_blocked_for_good, "other is stuck: its output is not whole"),
        (sink_gone, "other failed, and the others go on: [Errno 32] Broken pipe"),
        (disk_full, "other failed, and the others go on: [Errno 28] No space left on device"),
        (output_thread_dies, "other failed, and the others go on: SystemExit"),
        (stood_still, "live"),
        (paused, "paused: the source is let go"),
        (background_switched_at_every_frame, "live"),
        (quality_switched_at_every_frame, "live"),
        (switched_while_unplugged, "reconnecting: the scripted camera was unplugged"),
    ]
}


def shown_at_last(world: World) -> bool:
    """Whether the run was live again at its end."""
    return any(left.output.kind == "composed" for left in world.tape.left[-5:])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_covered_and_got_over(name: str) -> None:
    fault, said = FAULTS[name]
    low, high = watch([(fault, AT)])
    prove(low, high)
    assert low.said == high.said
    assert any(line.startswith(said) for line in low.said), low.said
    assert len(low.said) <= 11, low.said
    assert low.fails or shown_at_last(low)
    assert low.tape.closed_with == [None]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(FAULTS)), st.integers(3, 40)),
        min_size=2,
        max_size=2,
    )
)
def test_the_rule_holds_under_any_two_faults(pair: list[tuple[str, int]]) -> None:
    low, high = watch([(FAULTS[name][0], at) for name, at in pair])
    prove(low, high)


def nothing_is_refused(*_: object) -> None:
    pass


def always(*_: object, **__: object) -> bool:
    return True


def never(*_: object, **__: object) -> bool:
    return False


GUARDS: dict[str, tuple[object, str, Any, list[Fault]]] = {
    "the mask is of this frame": (
        Guard,
        "check_index",
        nothing_is_refused,
        [mask_of_another_frame],
    ),
    "the mask has its shape": (
        Guard,
        "check_mask_shape",
        nothing_is_refused,
        [mask_of_another_shape],
    ),
    "the mask holds shares": (Guard, "check_mask_values", nothing_is_refused, [mask_of_nan]),
    "the picture has its shape": (
        Guard,
        "check_image",
        nothing_is_refused,
        [picture_of_another_shape],
    ),
    "the mask does not jump": (Guard, "check_coverage", nothing_is_refused, [mask_of_ones]),
    "black is no picture": (watching, "BLACK_BELOW", 0, [black]),
    "a frozen picture is none": (watching, "FROZEN_AFTER_S", 1e9, [frozen]),
    "a source's buffer is copied": (loop, "aligned", lambda pixels: pixels, []),
    "each sink has its own": (loop, "_copy", lambda output: output, [silent]),
    "a cover comes in time": (Gate, "wait_s", lambda _: 3.0, [stalled_model]),
    "a repeated output is young": (Gate, "_repeatable", lambda gate, _=0: gate._last, [silent]),
    "a composed frame is young": (Gate, "_is_late", never, [very_slow_model]),
    "what is over when a pause begins does not leave": (Gate, "_is_over", never, [paused]),
    "what waits for a sink is young": (Gate, "lets_out", always, [slow_sink, stood_still]),
    "what waits for a sink when a pause begins does not leave": (
        Gate,
        "lets_out",
        always,
        [slow_sink, paused],
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_without_a_guard_the_rule_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, instead, faults = GUARDS[name]
    prove(*watch([(fault, AT) for fault in faults]))
    monkeypatch.setattr(where, what, instead)
    with pytest.raises(AssertionError):
        prove(*watch([(fault, AT) for fault in faults]))


@pytest.mark.parametrize("fault", [model_raises, mask_of_nan, unplugged, silent, paused])
def test_the_step_forgets_what_came_before_a_fault(fault: Fault) -> None:
    world, _ = watch([(fault, AT)])
    before = [index for index, seen in world.model.seen_before.items() if seen == 0]
    assert before[0] == 0 and before[-1] >= AT
    assert world.model.resets == len(before) - 1
