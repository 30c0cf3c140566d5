"""Overlays: what may be one, and what stands before and behind it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_fakes import Collector, FakeMatting, FakeSource

from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.backgrounds import Background, Blur, Bokeh, Color, Picture, Transparent
from segjax.live.loop import Loop
from segjax.live.overlays import Overlaid, Overlay

RED = (200, 40, 60)


@pytest.fixture
def frame_png(tmp_path: Path) -> Path:
    """A border of a quarter: opaque above, half seen through below; red, and green where unseen."""
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[..., 1] = 255
    pixels[:12] = (*RED, 255)
    pixels[-12:] = (*RED, 128)
    write_image(tmp_path / "frame.png", pixels)
    return tmp_path / "frame.png"


def test_it_lies_over_a_picture_and_its_cover(frame_png: Path) -> None:
    behind = Picture(np.full((48, 64, 3), 100, np.uint8))
    both = Overlaid(behind, Overlay(frame_png))
    assert (both.kind, both.layered) == ("picture", False)
    picture = both.picture(0, 48, 64)
    assert (picture[:12] == RED).all() and (picture[12:-12] == 100).all()
    half = np.rint(100 + 128 / 255 * (np.array(RED) - 100))
    assert np.abs(picture[-12:] - half).max() <= 1
    assert picture is both.picture(9, 48, 64) and not picture.flags.writeable
    cover = both.cover(48, 64, 0)
    np.testing.assert_array_equal(cover, picture)
    cover[:] = 1
    assert (both.picture(0, 96, 128)[:20] == RED).all()


def test_a_colour_becomes_a_picture(frame_png: Path) -> None:
    both = Overlaid(Color((1, 2, 3)), Overlay(frame_png))
    assert both.kind == "picture"
    assert (both.picture(0, 48, 64)[12:-12] == (1, 2, 3)).all()


def test_a_video_s_pictures_are_each_laid_under_it(frame_png: Path) -> None:
    class Changing(Picture):
        def picture(self, time_s: float, height: int, width: int) -> np.ndarray:
            return np.full((height, width, 3), int(time_s), np.uint8)

    both = Overlaid(Changing(np.zeros((9, 9, 3), np.uint8)), Overlay(frame_png))
    assert [int(both.picture(t, 48, 64)[24, 32, 0]) for t in (3, 7, 3)] == [3, 7, 3]


@pytest.mark.parametrize("behind", [Blur(0.3), Bokeh(0.3), Transparent()])
def test_what_the_step_makes_gets_the_layer(behind: Background, frame_png: Path) -> None:
    both = Overlaid(behind, Overlay(frame_png))
    assert (both.kind, both.strength, both.layered) == (behind.kind, behind.strength, True)
    layer = both.picture(0, 48, 64)
    assert layer.shape == (2, 48, 64, 3) and layer is both.picture(5, 48, 64)
    adds, through = layer
    assert (adds[:12] == RED).all() and (through[:12] == 0).all()
    assert not adds[13:-13].any() and (through[13:-13] == 255).all()
    assert (through[-12:] == 127).all()

    cover, plain = both.cover(48, 64, 0), behind.cover(48, 64, 0)
    assert cover.shape == plain.shape
    assert (cover[:12, :, :3] == RED).all()
    np.testing.assert_array_equal(cover[12:-12], plain[12:-12])
    if behind.kind == "transparent":
        assert (cover[:12, :, 3] == 255).all() and (cover[-12:, :, 3] == 128).all()
        assert np.abs(cover[-12:, :, :3].astype(int) - RED).max() <= 1


@pytest.mark.parametrize("size", [(48, 64), (33, 91), (300, 200), (1, 1)])
def test_enlarged_or_shrunk_it_adds_no_more_than_it_hides(
    size: tuple[int, int], frame_png: Path
) -> None:
    layer = Overlay(frame_png).layer(*size)
    assert layer.shape == (2, *size, 3)
    assert (layer.astype(int).sum(0) <= 255).all()
    assert (layer[0, ..., 1] <= 60).all(), "no green from where nothing is seen"


def test_in_a_run_covers_show_it_too(frame_png: Path) -> None:
    class Fails(FakeMatting):
        def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Any:
            assert background is not None and background.shape == (2, *pixels.shape)
            raise RuntimeError("boom")

    sink = Collector()
    background = Overlaid(Blur(), Overlay(frame_png))
    loop = Loop(FakeSource(3), Fails(), background, [sink], device="", say=lambda _: None)
    assert loop.run().covered == 3
    height = sink.copies[0].shape[0]
    assert all((pixels[: height // 6] == RED).all() for pixels in sink.copies)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("missing.png", None, "does not exist; give the path of a picture"),
        ("empty.png", b"", "is empty (0 bytes)"),
        ("text.png", b"not a picture", "is not a picture that can be decoded"),
        ("folder", "folder", "cannot read"),
        ("plain.png", np.zeros((20, 30, 3), np.uint8), "has no transparent part and would hide"),
        ("grey.png", np.zeros((20, 30), np.uint8), "has no transparent part"),
        ("opaque.png", np.full((20, 30, 4), 255, np.uint8), "give a PNG with transparency"),
        ("photo.jpg", np.zeros((20, 30, 3), np.uint8), "has no transparent part"),
    ],
)
def test_what_is_no_overlay_is_refused(
    name: str, content: object, line: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        write_image(path, content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(SegjaxError) as caught:
        Overlay(path)
    assert line in str(caught.value) and str(path) in str(caught.value)


def test_a_broken_png_is_refused(frame_png: Path) -> None:
    data = frame_png.read_bytes()
    frame_png.write_bytes(data[:40])
    with pytest.raises(SegjaxError, match=r"frame\.png is not a picture"):
        Overlay(frame_png)
