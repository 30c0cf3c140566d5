"""Backgrounds: what the user may write, what they look like, and their covers."""

from pathlib import Path

import numpy as np
import pytest
from live_fakes import make_video

from segjax import scenery
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.backgrounds import Blur, Bokeh, Video, fit, parse_background


def test_blur_color_and_transparent() -> None:
    blur = parse_background("blur")
    assert (blur.kind, blur.strength, blur.picture(0, 20, 30)) == ("blur", 0.5, None)
    assert parse_background("blur:0.25").strength == 0.25
    assert parse_background("blur:1").strength == 1

    bokeh = parse_background("bokeh:0.25")
    assert (bokeh.kind, bokeh.strength, bokeh.picture(0, 20, 30)) == ("bokeh", 0.25, None)
    assert parse_background("bokeh").strength == 0.5

    green = parse_background("#00fF40")
    assert (green.kind, green.color, green.picture(0, 20, 30)) == ("color", (0, 255, 64), None)
    assert (green.cover(5, 7, 0) == (0, 255, 64)).all()

    nothing = parse_background("transparent")
    assert (nothing.kind, nothing.picture(0, 20, 30)) == ("transparent", None)
    cover = nothing.cover(5, 7, 0)
    assert cover.shape == (5, 7, 4) and not cover.any()


def test_the_cover_of_blur_is_a_plain_gradient() -> None:
    cover = Blur().cover(90, 160, 0)
    assert cover.shape == (90, 160, 3) and cover.dtype == np.uint8
    assert cover.min() > 80 and cover.max() < 200
    assert np.abs(np.diff(cover.astype(int), axis=0)).max() <= 3
    assert np.abs(np.diff(cover.astype(int), axis=1)).max() <= 3
    np.testing.assert_array_equal(cover, Blur(0.9).cover(90, 160, 7.0))
    np.testing.assert_array_equal(cover, Bokeh(0.9).cover(90, 160, 7.0))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("blur:0", "got the background 'blur:0'; the strength of the blur is a number above 0"),
        ("blur:1.01", "the strength of the blur"),
        ("blur:-1", "the strength of the blur"),
        ("blur:nan", "the strength of the blur"),
        ("blur:much", "the strength of the blur"),
        ("blur:", "the strength of the blur"),
        ("bokeh:0", "'bokeh:0'; the strength of the blur is a number above 0, which would show"),
        ("bokeh:x", "write 'bokeh:0.5'"),
        ("#00ff0", "a colour is '#' and six hexadecimal digits"),
        ("#00ff0g", "a colour is '#' and six hexadecimal digits"),
        ("#", "a colour is '#' and six hexadecimal digits"),
        ("brand:", "a colour is '#' and six hexadecimal digits"),
        ("brand:blue", "got the background 'brand:blue'; a colour is '#'"),
        ("studio:1", "plaster, paper, dusk, brand, 'brand:#rrggbb'"),
        ("bleu", "got the background 'bleu', and no such file exists"),
        ("missing.jpg", "no such file exists"),
        ("", "is a folder"),
    ],
)
def test_what_is_no_background_is_refused(spec: str, line: str) -> None:
    with pytest.raises(SegjaxError) as caught:
        parse_background(spec)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.mp4"):
        (tmp_path / name).write_text("text")
        with pytest.raises(SegjaxError, match=name):
            parse_background(str(tmp_path / name))


def test_a_picture_covers_the_frame_and_is_cut_at_the_middle() -> None:
    thirds = np.zeros((30, 90, 3), np.uint8)
    thirds[:, :30], thirds[:, 30:60], thirds[:, 60:] = 50, 100, 150
    assert (fit(thirds, 60, 60) == 100).all()
    assert (fit(thirds, 15, 15) == 100).all()
    assert (fit(thirds.transpose(1, 0, 2), 33, 33) == 100).all()
    np.testing.assert_array_equal(fit(thirds, 30, 90), thirds)
    assert fit(thirds, 1, 1).shape == (1, 1, 3)
    assert fit(thirds[:1, :1], 17, 31).shape == (17, 31, 3)


def test_a_picture_is_fitted_once_a_size_and_its_cover_is_the_caller_s(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((20, 30, 3), 70, np.uint8))
    picture = parse_background(str(tmp_path / "a.png"))
    assert picture.kind == "picture"
    fitted = picture.picture(0, 40, 50)
    assert fitted is not None and fitted is picture.picture(9, 40, 50)
    assert fitted.shape == (40, 50, 3) and not fitted.flags.writeable
    cover = picture.cover(40, 50, 0)
    cover[:] = 1
    assert (picture.cover(40, 50, 0) == 70).all()


def test_a_drawn_background_is_drawn_once_a_size() -> None:
    for spec in scenery.SCENES:
        assert parse_background(spec).kind == "picture"
    studio = parse_background("studio")
    drawn = studio.picture(0, 45, 80)
    assert drawn is studio.picture(9, 45, 80)
    np.testing.assert_array_equal(drawn, scenery.draw("studio", 45, 80))
    np.testing.assert_array_equal(studio.cover(36, 64, 0), scenery.draw("studio", 36, 64))


def test_the_brand_s_wall_has_its_colour() -> None:
    red = parse_background("brand:#c01020").picture(0, 90, 160)
    assert red is not None
    assert (red[..., 0] > red[..., 1:].max(2) + 30).all()


def test_a_video_runs_by_the_stream_s_time_and_starts_anew(tmp_path: Path) -> None:
    # Frames of 0.5 s, of 0.1 s and, by the nominal rate of 1 / 0.2 s, of 0.2 s: a round of 0.8 s.
    path = make_video(tmp_path / "a.mp4", [0, 30_000, 36_000])
    video = parse_background(str(path))
    assert video.kind == "picture"
    rate = video._video.rate  # type: ignore[attr-defined]
    round_s = 0.6 + 1 / rate

    def shown(time_s: float) -> int:
        """Which frame, by the grey of its lower half, which is 40, 45, 50."""
        pixels = video.picture(time_s, 48, 64)
        assert pixels is not None
        return round((float(pixels[-20:].mean()) - 40) / 5)

    for start in (0.0, round_s, 5 * round_s):
        times = [0.001, 0.3, 0.49, 0.51, 0.59, 0.61, 0.6 + 0.9 / rate]
        assert [shown(start + time_s) for time_s in times] == [0, 0, 0, 1, 1, 2, 2]
    cover = video.cover(48, 64, 5 * round_s + 0.61)
    assert round((float(cover[-20:].mean()) - 40) / 5) == 2


def test_a_video_that_was_not_shown_for_long_goes_on_from_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = parse_background(str(make_video(tmp_path / "a.mp4", [0, 30_000, 36_000])))
    advanced: list[int] = []
    advance = Video._advance
    monkeypatch.setattr(Video, "_advance", lambda self: advanced.append(1) or advance(self))

    def shown(time_s: float) -> int:
        pixels = video.picture(time_s, 48, 64)
        assert pixels is not None
        return round((float(pixels[-20:].mean()) - 40) / 5)

    assert [shown(time_s) for time_s in (0.0, 600, 600.49, 600.51)] == [0, 0, 0, 1]
    assert [shown(time_s) for time_s in (1200, 1200.09, 1200.11)] == [1, 1, 2]
    assert len(advanced) == 2


def test_a_video_whose_file_goes_away_keeps_its_last_picture(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", [0, 30_000, 36_000])
    video = parse_background(str(path))
    path.unlink()
    pictures = [video.picture(time_s, 48, 64) for time_s in (0.7, 1.5, 3.0, 4.5, 600)]
    last = pictures[0]
    assert last is not None and round((float(last[-20:].mean()) - 40) / 5) == 2
    assert all(picture is last for picture in pictures)


def test_a_video_of_one_frame_stands_still(tmp_path: Path) -> None:
    video = parse_background(str(make_video(tmp_path / "a.mp4", [0])))
    first = video.picture(0, 20, 30)
    assert first is video.picture(1e6, 20, 30)
