"""Clips with a known truth, and how masks that follow, trail, leak or cut score on them."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from segjax.data.synthetic import SyntheticPeople
from segjax.errors import SegjaxError
from segjax.evaluation.clips import (
    NOBODY,
    VIDEO,
    Clip,
    Frames,
    empty_clips,
    folder_clip,
    moving_clips,
)
from segjax.evaluation.quality import score_clip, summarize_clips, worst_cases
from segjax.evaluation.quality_page import draw_page
from segjax.evaluation.robustness import CHANGES
from segjax.images import write_image

SIZE = (36, 64)


def moving(speeds=(4.0,), frames=12, people=1) -> list[Clip]:
    source = SyntheticPeople(20, size=(48, 64))
    return moving_clips(source, SIZE, speeds, people=people, frames=frames)


class Follower:
    """Knows the masks of a clip, and gives each some frames late."""

    def __init__(self, clip: Clip, late: int = 0):
        masks = [mask for _, mask in clip.frames() if mask is not None]
        self._given = iter([masks[max(0, t - late)] for t in range(len(masks))])

    def __call__(self, _: np.ndarray) -> np.ndarray:
        return next(self._given).astype(np.float32) / 255


def test_a_cut_out_moves_at_its_speed_and_is_the_same_every_time():
    (clip,) = moving([4])
    first, second = ([*clip.frames()] for _ in range(2))
    masks = []
    for (pixels, mask), (again, mask_again) in zip(first, second, strict=True):
        assert mask is not None and mask_again is not None
        np.testing.assert_array_equal(pixels, again)
        np.testing.assert_array_equal(mask, mask_again)
        assert pixels.shape == (*SIZE, 3) and pixels.dtype == mask.dtype == np.uint8
        masks.append(mask.astype(float))
    centres = [(mask.sum(0) @ np.arange(SIZE[1])) / mask.sum() for mask in masks]
    # Half of the width is the way, so it turns after 4 frames; before it goes straight on.
    np.testing.assert_allclose(np.abs(np.diff(centres))[:3], 4, atol=0.2)
    assert max(centres) - min(centres) <= SIZE[1] / 2 + 0.5


def test_the_room_stands_still_behind_who_moves():
    (clip,) = moving([4], frames=9)
    frames = [*clip.frames()]
    for (before, mask_before), (after, mask_after) in itertools.pairwise(frames):
        assert mask_before is not None and mask_after is not None
        room = (mask_before == 0) & (mask_after == 0)
        change = np.abs(after.astype(int) - before)[room]
        assert 1 < change.mean() < 6, "the sensor's noise alone"


def test_people_who_lean_out_of_their_picture_are_not_cut_out():
    class Wide(SyntheticPeople):
        def __getitem__(self, index: int, /):
            item = super().__getitem__(index)
            item["mask"][:, 0] = 255
            return item

    with pytest.raises(SegjaxError, match=r"got 0 people who stand free .* 2 are needed"):
        moving_clips(Wide(5, size=(48, 64)), SIZE, [4], people=2, frames=2)


def test_rooms_without_anybody_hold_nobody():
    clips = empty_clips(SyntheticPeople(9, size=(48, 64)), SIZE, rooms=3, frames=2)
    assert [clip.kind for clip in clips] == [NOBODY] * 3
    for clip in clips:
        for pixels, mask in clip.frames():
            assert pixels.shape == (*SIZE, 3) and mask is not None and not mask.any()


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_mask_that_trails_has_its_lag_leak_and_cut(late: int):
    (clip,) = moving([2], frames=14)
    score = score_clip(Follower(clip, late), clip)
    assert score.lag == pytest.approx(late, abs=0.05)
    assert score.dtssd is not None
    figures = summarize_clips([score])
    if not late:
        assert score.dtssd < 1e-5
        assert figures["cut"]["share"] == figures["leak"]["share"] == 0
    else:
        assert min(figures["cut"]["share"], figures["leak"]["share"], score.dtssd / 100) > 0.01
        worst = figures["leak"]
        assert worst["worst_mean"] >= worst["mean"] > worst["far_mean"]


def still(name: str, kind: str, masks: list[np.ndarray]) -> Clip:
    def frames() -> Frames:
        for mask in masks:
            yield np.full((*mask.shape, 3), 100, np.uint8), mask

    return Clip(name, kind, frames)


def test_a_summary_by_hand():
    person = np.zeros((8, 8), np.uint8)
    person[:, :4] = 255
    nobody = np.zeros((8, 8), np.uint8)
    levels = iter([0.0, 0.5, 1.0, 0.25])

    def predict(pixels: np.ndarray) -> np.ndarray:
        return np.full(pixels.shape[:2], next(levels), np.float32)

    scores = [
        score_clip(predict, still("half", "folder", [person, person])),
        score_clip(predict, still("room", NOBODY, [nobody, nobody])),
    ]
    figures = summarize_clips(scores)
    # In the frames with somebody alpha is 0 and then 0.5 everywhere.
    assert figures["frames"] == 4 - 2
    assert figures["leak"]["mean"] == pytest.approx(0.25)
    assert figures["leak"]["share"] == pytest.approx(0.5)
    assert figures["leak"]["worst_frame"] == "half, frame 1"
    assert figures["cut"]["mean"] == pytest.approx(0.75)
    assert figures["cut"]["worst_frame"] == "half, frame 0"
    assert figures["leak_nobody"]["mean"] == pytest.approx(0.625)
    assert figures["leak_nobody"]["share"] == pytest.approx(1)
    assert figures["dtssd"] == pytest.approx(50)
    assert figures["lag"] is figures["flip_rate"] is None
    assert figures["kinds"]["folder"]["leak_nobody"] is None
    assert [case.name for case in worst_cases(scores, 1)] == [
        "half, frame 1: leak 50.0 %",
        "half, frame 0: cut 100.0 %",
        "room, frame 0: leak 100.0 %",
    ]


def test_a_video_has_a_flip_rate_alone():
    levels = iter([0.4, 0.6, 0.6])
    clip = still("film", VIDEO, [np.zeros((6, 10), np.uint8)] * 3)
    score = score_clip(lambda pixels: np.full(pixels.shape[:2], next(levels)), clip)
    assert (score.flip_rate, score.dtssd, score.lag, score.frames) == (5000, None, None, 3)
    figures = summarize_clips([score])
    assert figures["flip_rate"] == 5000 and figures["flip_rate_by_clip"] == {"film": 5000}
    assert figures["leak"] is figures["cut"] is figures["leak_nobody"] is None


def test_a_clip_of_one_frame_or_two_sizes_is_named():
    one = still("short", VIDEO, [np.zeros((6, 10), np.uint8)])
    with pytest.raises(SegjaxError, match=r"short: got 1 frames; .* give another clip"):
        score_clip(lambda pixels: pixels[..., 0] / 255, one)
    two = still("grows", "folder", [np.zeros((6, 10), np.uint8), np.zeros((6, 12), np.uint8)])
    with pytest.raises(SegjaxError, match=r"grows: .* all must have one size; give another clip"):
        score_clip(lambda pixels: pixels[..., 0] / 255, two)


def test_a_folder_of_frames_needs_its_masks(tmp_path: Path):
    with pytest.raises(SegjaxError, match="has no images/"):
        folder_clip(tmp_path)
    for name in ("b", "a"):
        write_image(tmp_path / "images" / f"{name}.png", np.full((16, 16, 3), ord(name), np.uint8))
        write_image(tmp_path / "masks" / f"{name}.png", np.full((16, 16), 255, np.uint8))
    assert [int(pixels[0, 0, 0]) for pixels, _ in folder_clip(tmp_path).frames()] == [97, 98]
    assert len([*folder_clip(tmp_path, 1).frames()]) == 1
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(SegjaxError, match=r"has no mask b.png; every frame needs one"):
        folder_clip(tmp_path)


@pytest.mark.parametrize("name", CHANGES)
def test_a_bad_camera_makes_a_picture_worse_and_no_other(name: str):
    pixels = SyntheticPeople(1, size=(48, 64))[0]["image"]
    changed = CHANGES[name](pixels)
    assert changed.shape == pixels.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, CHANGES[name](pixels))
    assert np.abs(changed.astype(int) - pixels).mean() > 1


def test_the_page_names_what_it_shows_and_escapes_it():
    figures = {
        **dict.fromkeys(("mean_iou", "median_iou", "worst_iou", "dataset_iou", "boundary_f"), 0.9),
        "mad": 12.0,
        **summarize_clips([]),
    }
    worse = {**figures, "mean_iou": 0.7, "robustness": {"dark": 0.5}}
    report = {
        "made": "today",
        "data": "<people>",
        "clips": "clips",
        "quick": False,
        "versions": {"device": "a CPU"},
        "models": {"ours": figures, "<peer>": worse},
    }
    page = draw_page(report, {"ours": [("a & b", np.zeros((20, 30, 3), np.uint8))]})
    assert '<td class="best">0.900</td><td>0.700</td>' in page
    assert "&lt;peer&gt;" in page and "<peer>" not in page and "<people>" not in page
    assert 'alt="a &amp; b"' in page and "data:image/jpeg;base64," in page
    assert "<script" not in page and "http:" not in page and "https:" not in page
    assert re.search(r"<td>–</td><td[^>]*>0\.500</td>", page), "what was not measured has a dash"
