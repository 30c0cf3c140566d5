import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segjax.geometry import AREA, MULTIPLE, Sight, network_size

SIDES = st.integers(1, 8000)


@pytest.mark.parametrize(
    ("picture", "seen"),
    [
        ((720, 1280), (144, 256)),
        ((1080, 1920), (144, 256)),
        ((480, 640), (160, 224)),
        ((1280, 720), (256, 144)),
        ((500, 500), (192, 192)),
        ((16, 16), (192, 192)),
    ],
)
def test_sizes_of_cameras(picture: tuple[int, int], seen: tuple[int, int]) -> None:
    assert network_size(*picture) == seen


@given(SIDES, SIDES)
def test_any_picture_gets_sides_that_the_network_takes(height: int, width: int) -> None:
    h, w = network_size(height, width)
    assert h % MULTIPLE == 0 and w % MULTIPLE == 0 and min(h, w) >= MULTIPLE
    assert h * w <= 1.15 * AREA


@given(st.integers(1, 8000), st.floats(1 / 2.5, 2.5))
def test_a_usual_picture_keeps_its_shape_and_its_pixels(height: int, aspect: float) -> None:
    width = max(1, round(height * aspect))
    if not 1 / 2.5 <= width / height <= 2.5:
        return
    h, w = network_size(height, width)
    assert h * w >= 0.8 * AREA
    assert abs(math.log((h / w) / (height / width))) < math.log(1.15)


@given(SIDES, SIDES)
def test_a_turned_picture_is_seen_as_much(height: int, width: int) -> None:
    upright, turned = network_size(height, width), network_size(width, height)
    cost = [
        abs(math.log((h / w) / aspect)) + abs(math.log(h * w / AREA))
        for (h, w), aspect in ((upright, height / width), (turned, width / height))
    ]
    assert cost[0] == pytest.approx(cost[1])


@given(SIDES, SIDES, st.integers(2, 20))
def test_only_the_shape_counts(height: int, width: int, factor: int) -> None:
    assert network_size(height * factor, width * factor) == network_size(height, width)


def test_another_area_and_multiple() -> None:
    assert network_size(720, 1280, area=288 * 512, multiple=32) == (288, 512)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(720, 1280, (80, 160)), (480, 640, (96, 128)), (1080, 1920, (80, 144)), (17, 31, (80, 160))],
)
def test_sides_that_divide_the_picture_s(height: int, width: int, expected: tuple) -> None:
    """Where a tenth of distortion gets them; else the sides are those of the picture's shape."""
    assert network_size(height, width, area=35 * AREA // 100, even=True) == expected


def test_sight_is_a_share_of_the_weights_own_pixels_or_of_the_frame_s() -> None:
    assert Sight().size(720, 1280) == network_size(720, 1280) == (144, 256)
    assert Sight(176 * 320).size(720, 1280) == (176, 320)
    # A fast one would rather divide the frame's sides.
    assert Sight(176 * 320, 0.65).size(720, 1280) == (144, 256)
    assert Sight(176 * 320, 0.23).size(720, 1280) == (80, 160)
    assert Sight(0).size(100, 64) == (96, 64)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_no_size_is_no_picture(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"got a picture of {size[0]}x{size[1]}; both sides"):
        network_size(*size)
