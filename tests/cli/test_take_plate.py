"""`segjax plate`: what is taken, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segjax.cli import plate
from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.live.frames import Frame, Source

ROOM = np.random.default_rng(0).integers(40, 200, (180, 320, 3))


class Room(Source):
    """A live room at 10 frames a second, in which somebody is about until `leaves_s`."""

    name, size, rate, live = "room", (180, 320), 10.0, True

    def __init__(self, leaves_s: float, frames: int = 100) -> None:
        self._leaves_s, self._count = leaves_s, frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            time_s = index / self.rate
            noise = np.random.default_rng(index).integers(-1, 2, ROOM.shape)
            pixels = (ROOM + noise).astype(np.uint8)
            if time_s < self._leaves_s:
                pixels[:, 10 * index % 300 : 10 * index % 300 + 20] = 255
            yield Frame(pixels, index, time_s, 0.0)


def take(monkeypatch: pytest.MonkeyPatch, room: Source, out: Path) -> None:
    monkeypatch.setattr(plate, "open_source", lambda *_, **__: room)
    plate.main(plate.Options(out=out, wait_s=3))


def test_the_mean_of_the_empty_room_is_taken_after_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take(monkeypatch, Room(leaves_s=3), tmp_path / "room.png")
    assert np.abs(read_image(tmp_path / "room.png").astype(int) - ROOM).max() <= 1
    said = capsys.readouterr().err
    assert "leave the picture: it is taken in 3 s" in said and "segjax serve --plate" in said


@pytest.mark.parametrize(
    ("room", "line"),
    [
        (Room(leaves_s=3.5), "something moved in the picture while it was taken; leave it"),
        (Room(leaves_s=99), "try again, with more time by --wait-s"),
        (Room(leaves_s=0, frames=20), "room gave no picture; try again"),
    ],
)
def test_what_is_no_empty_room_is_not_written(
    room: Source, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SegjaxError) as caught:
        take(monkeypatch, room, tmp_path / "room.png")
    assert line in str(caught.value)
    assert not (tmp_path / "room.png").exists()
