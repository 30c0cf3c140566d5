"""The ladder of sizes, by a scripted clock."""

from segjax.web.sizes import SIDES, Figures, Ladder
from segjax.web.studio import carried, sizes_like

GOOD = Figures(shown_fps=30, camera_fps=30, p95_ms=40, busy=0.1)
SLOW = Figures(shown_fps=30, camera_fps=30, p95_ms=200, busy=0.3)
FEW = Figures(shown_fps=15, camera_fps=30, p95_ms=60, busy=0.3)
BUSY = Figures(shown_fps=30, camera_fps=30, p95_ms=40, busy=0.3)
BETWEEN = Figures(shown_fps=29, camera_fps=30, p95_ms=120, busy=0.1)


def play(ladder: Ladder, *script: tuple[Figures, int], ready: int = 3, from_s: int = 0) -> list:
    """(second, side) of every change, for figures that hold for so many seconds each."""
    changes, now_s = [], from_s
    for figures, seconds in script:
        for _ in range(seconds):
            before = ladder.side
            if ladder.advise(now_s, figures, ready) != before:
                changes.append((now_s, ladder.side))
            now_s += 1
    return changes


def test_it_steps_up_while_all_is_well() -> None:
    assert play(Ladder(), (GOOD, 30)) == [(5, 960), (11, 1280)]


def test_it_goes_no_further_than_the_step_is_ready() -> None:
    assert play(Ladder(), (GOOD, 30), ready=1) == []
    assert play(Ladder(), (GOOD, 30), ready=2) == [(5, 960)]


def test_it_stays_where_all_is_neither_well_nor_badly_or_time_is_short() -> None:
    assert play(Ladder(), (BETWEEN, 60)) == []
    assert play(Ladder(), (BUSY, 60)) == []
    assert play(Ladder(), (GOOD, 6), (BETWEEN, 60)) == [(5, 960)]


def test_it_steps_down_and_rests_longer_every_time() -> None:
    ladder = Ladder()
    for bad in (SLOW, FEW):
        assert play(ladder, (GOOD, 6), (bad, 4), ready=2)[-1][1] == 640
        ladder = Ladder()
    changes = play(ladder, (GOOD, 6), (SLOW, 8), (GOOD, 60), (SLOW, 10), (GOOD, 120), ready=2)
    ups = [at for at, side in changes if side == 960]
    downs = [at for at, side in changes if side == 640]
    assert [side for _, side in changes] == [960, 640, 960, 640, 960]
    assert 30 <= ups[1] - downs[0] <= 31 and 60 <= ups[2] - downs[1] <= 61


def test_one_bad_second_changes_nothing() -> None:
    assert play(Ladder(), (GOOD, 6), (SLOW, 1), (GOOD, 3), (SLOW, 1), (BETWEEN, 9)) == [(5, 960)]


def test_sizes_keep_their_shape_and_are_even() -> None:
    assert sizes_like(360, 640) == [(360, 640), (540, 960), (720, 1280)]
    assert sizes_like(640, 360) == [(640, 360), (960, 540), (1280, 720)]
    assert all(max(size) == side for size, side in zip(sizes_like(481, 853), SIDES, strict=True))
    assert all(length % 2 == 0 for size in sizes_like(481, 853) for length in size)


def test_so_many_viewers_as_the_step_leaves_time_for() -> None:
    assert [carried(step_s) for step_s in (0.5, 0.012, 0.005, 0.0001)] == [1, 1, 3, 8]
