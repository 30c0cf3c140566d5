from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segjax.cli import demo
from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.live.sample import Sample


def write_video(path: Path, times_ms: list[int], height: int, width: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            level = time_ms // 20
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8))
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_before_and_after_are_of_one_moment(tmp_path: Path) -> None:
    video, picture = tmp_path / "demo.mp4", tmp_path / "demo.png"
    height, width = Sample.size
    write_video(video, [0, 2000, 2600, 3000], height, width)
    demo.main(demo.Options(video, picture))
    pixels = read_image(picture)
    assert pixels.shape == (height, 2 * width, 3)
    np.testing.assert_array_equal(pixels[:, :width], Sample().picture(2.6))
    assert abs(int(pixels[300, width + 300, 0]) - 130) <= 3  # the level of the frame at 2.6 s


def test_a_video_that_is_not_the_sample_is_refused(tmp_path: Path) -> None:
    video = tmp_path / "other.mp4"
    write_video(video, [0, 2600], 48, 64)
    with pytest.raises(SegjaxError, match=r"shows no sample after 2\.5 s; make it by"):
        demo.main(demo.Options(video, tmp_path / "demo.png"))
    assert not (tmp_path / "demo.png").exists()
