"""Which video files are opened, and what they say about their own length."""

from pathlib import Path
from typing import BinaryIO

PLAIN = (".mp4", ".mov", ".mkv", ".webm", ".avi")
"""What the usual video files end in."""

FILE_ALONE = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,yuv4mpegpipe,ivf,"
    "mxf",
}
"""Options of FFmpeg for a file that holds its own pictures. It goes by a file's contents and not by
its name: without these, a playlist called .mp4 makes it open other files, or the network."""

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"styp", b"uuid"}


def is_cut_short(path: Path) -> bool:
    """Whether the file ends before the end that its header promises: a copy or a download that
    broke off. Knows MP4 and MOV, Matroska and WebM, and AVI; any other file passes.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:8], "little") > length
        if head[:4] == _EBML and _SEGMENT in head:
            return _end_of_segment(head) > length
        if head[4:8] == b"ftyp":
            return _end_of_boxes(file, length) > length
    return False


def _end_of_segment(head: bytes) -> int:
    """Where Matroska's one segment ends. Its length is stored in 1 to 8 bytes, as many as the first
    one has leading zero bits, plus one; all ones mean that the length was not known."""
    start = head.index(_SEGMENT) + len(_SEGMENT)
    count = 9 - head[start].bit_length()
    unknown = (1 << 7 * count) - 1
    size = int.from_bytes(head[start : start + count], "big") & unknown
    return 0 if size == unknown else start + count + size


def _end_of_boxes(file: BinaryIO, length: int) -> int:
    """Where MP4's last top-level box ends; bytes that are no box end the walk."""
    end = 0
    while end < length:
        file.seek(end)
        head = file.read(16)
        if head[4:8] not in _BOXES:
            break
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size == 0:  # up to the end of the file
            break
        end += size
    return end
