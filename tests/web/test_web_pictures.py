"""Pictures from strangers, and the folder of backgrounds."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from web_fakes import encoded, scene

from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.backgrounds import Picture, fit
from segjax.web import pictures
from segjax.web.pictures import (
    NoPicture,
    Pictures,
    TooLarge,
    backgrounds_in,
    read_upload,
    scenes,
    size_of,
)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes whose header promises more pixels than there is memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_three_kinds_are_read(suffix: str) -> None:
    data = encoded(suffix, scene(90, 160))
    assert size_of(data) == (90, 160)
    assert np.abs(read_upload(data).astype(int) - scene(90, 160)).mean() < 3


def test_a_large_picture_is_kept_no_larger_than_a_frame() -> None:
    assert read_upload(encoded(".jpg", scene(1500, 2400))).shape == (800, 1280, 3)
    assert read_upload(encoded(".jpg", scene(2400, 1500))).shape == (2048, 1280, 3)


@pytest.mark.parametrize("size", [(64, 6000), (6000, 64)], ids=str)
def test_of_a_long_picture_only_the_middle_is_kept(size: tuple[int, int]) -> None:
    whole = np.zeros((*size, 3), np.uint8)
    whole[size[0] // 2 :, size[1] // 2 :] = 200
    kept = read_upload(encoded(".png", whole))
    assert max(kept.shape) == pictures.KEPT_LONGEST and kept.base is None
    assert (fit(kept, 720, 1280) == fit(whole, 720, 1280)).all()


@pytest.mark.parametrize("size", [(60_000, 60_000), (8_000, 5_001), (2**31 - 1, 1), (1, 2**31 - 1)])
def test_a_bomb_is_known_by_its_header(size: tuple[int, int], monkeypatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(pictures, "decode_image", decode)
    with pytest.raises(TooLarge, match="more than 40 megapixels, the most that is taken; make it"):
        read_upload(png_bomb(*size))


def test_what_is_allowed_at_most_is_read_as_far_as_it_goes() -> None:
    assert size_of(png_bomb(8_000, 5_000)) == (5_000, 8_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"\x00\x00\x00\x18ftypmp42" + bytes(64),
        b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n",
        b"GIF89a" + bytes(64),
        b"BM" + bytes(64),
        encoded(".bmp", scene(20, 30)),
        encoded(".tiff", scene(20, 30)),
        encoded(".png", scene(20, 30))[:60],
        encoded(".jpg", scene(20, 30))[:100],
        encoded(".webp", scene(20, 30))[:30],
        encoded(".png", scene(8, 30)),
    ],
    ids=["nothing", "svg", "mp4", "playlist", "gif", "bmp head", "bmp", "tiff", "cut png",
         "cut jpg", "cut webp", "too small"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(NoPicture):
        read_upload(data)


def test_more_bytes_than_are_taken() -> None:
    with pytest.raises(TooLarge, match="more than 10 MB"):
        read_upload(encoded(".png", scene(20, 30)) + bytes(10 * 1024 * 1024))


def test_the_picture_used_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "KEPT", 2)
    kept = Pictures({})
    first, second = (kept.add(encoded(".png", scene(20, 30, x))) for x in (0.2, 0.4))
    kept.background(first)
    third = kept.add(encoded(".png", scene(20, 30, 0.6)))
    kept.background(first)
    kept.background(third)
    with pytest.raises(SegjaxError, match="that picture is no longer there; choose it again"):
        kept.background(second)
    assert kept.names() == []


def test_scenes_are_drawn_once_and_fit_every_size() -> None:
    made = scenes()
    assert {"studio", "bookshelf", "dusk"} <= set(made)
    kept = Pictures({"paper": made["paper"]})
    assert size_of(kept.thumbnail("given-0")) == pictures.THUMBNAIL
    one, other = (kept.background("given-0").picture(0.0, *size) for size in ((180, 320), (90, 60)))
    assert one is not None and one.shape == (180, 320, 3)
    assert other is not None and other.shape == (90, 60, 3)


# --- the folder -------------------------------------------------------------------------------


def test_a_folder_offers_its_own_pictures_and_videos_only(tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    (folder / "more").mkdir(parents=True)
    write_image(folder / "office.png", scene(40, 60))
    write_image(tmp_path / "secret.png", scene(40, 60))
    write_image(folder / "more" / "inner.png", scene(40, 60))
    write_image(folder / ".hidden.png", scene(40, 60))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "notes.txt").write_text("")
    (folder / "list.m3u8").write_text("#EXTM3U")
    (folder / "drawing.svg").write_text("<svg/>")
    made = backgrounds_in(folder)
    assert list(made) == ["office.png"]
    background = made["office.png"]()
    assert isinstance(background, Picture)
    shown = background.picture(0.0, 40, 60)
    assert shown is not None and (shown == scene(40, 60)).all()


def test_a_folder_without_backgrounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SegjaxError, match=r"holds no backgrounds; they are pictures, and videos t"):
        backgrounds_in(tmp_path)
    with pytest.raises(SegjaxError, match=r"got --backgrounds .+, which is no folder"):
        backgrounds_in(tmp_path / "nowhere")


def write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()


def test_a_playlist_with_a_videos_name_opens_no_other_file(tmp_path: Path) -> None:
    """Without the guard, the second of these shows the video that it names."""
    write_video(tmp_path / "real.mp4")
    (tmp_path / "hls.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile real.mp4\n")
    (tmp_path / "session.mp4").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    )
    made = backgrounds_in(tmp_path)
    shown = made["real.mp4"]().picture(0.0, 48, 64)
    assert shown is not None and abs(int(shown.mean()) - 90) < 4
    for name in ("hls.mp4", "concat.mp4", "session.mp4"):
        with pytest.raises(SegjaxError, match="is not a video that can be read"):
            made[name]()


def test_a_video_with_a_pictures_name_is_none(tmp_path: Path) -> None:
    write_video(tmp_path / "room.mp4")
    (tmp_path / "room.mp4").rename(tmp_path / "room.jpg")
    with pytest.raises(SegjaxError, match=r"room\.jpg"):
        backgrounds_in(tmp_path)["room.jpg"]()
