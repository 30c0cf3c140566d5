"""Streams: from servers on this machine that break off, go silent and come back."""

import base64
import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from live_fakes import Collector, FakeMatting, make_video

from segjax.errors import SegjaxError
from segjax.live.backgrounds import Color
from segjax.live.frames import SourceLost
from segjax.live.loop import Loop
from segjax.live.sources import open_source
from segjax.live.streams import Stream

Answer = Callable[[socket.socket], None]


class Server:
    """Answers connections on this machine, one after another, each as `answers` says; the last
    answer serves all further ones."""

    def __init__(self, *answers: Answer) -> None:
        self.ending = threading.Event()
        self.count = 0
        self._answers = answers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            answer = self._answers[min(self.count, len(self._answers) - 1)]
            self.count += 1
            threading.Thread(target=self._answer, args=(answer, connection), daemon=True).start()

    def _answer(self, answer: Answer, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            answer(connection)

    def close(self) -> None:
        self.ending.set()
        self._listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def transport_stream(count: int, value: int = 60) -> bytes:
    """`count` grey pictures as MPEG-TS, which has no length and may break off anywhere."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        video: Any = container.add_stream("mpeg2video", rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(count):
            pixels = np.full((48, 64, 3), value, np.uint8)
            frame = VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return file.getvalue()


def http(body: bytes, then: Callable[[], object] = lambda: None) -> Answer:
    """Sends a body of unknown length, then waits as it is told, then hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + body)
        then()

    return answer


def refuse(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def test_frames_come_as_they_are_and_the_end_is_a_loss(serve: Callable[..., Server]) -> None:
    server = serve(http(transport_stream(20)))
    source = open_source(f"http://127.0.0.1:{server.port}/camera.ts")
    assert isinstance(source, Stream) and source.live
    assert (source.size, source.rate) == ((48, 64), 30.0)
    frames = []
    with source, pytest.raises(SourceLost, match=r"127.0.0.1:\d+/camera.ts broke off"):
        frames.extend(source)
    assert [frame.index for frame in frames] == list(range(len(frames))) and len(frames) >= 18
    assert all(abs(int(frame.pixels.mean()) - 60) <= 2 for frame in frames)


def test_a_stream_that_goes_silent_is_lost(serve: Callable[..., Server]) -> None:
    body = transport_stream(40)
    server = serve(http(body))
    source = Stream(f"http://127.0.0.1:{server.port}/", silent_s=0.5)
    silent = serve(http(body, lambda: server.ending.wait(20)))
    source._address = f"http://127.0.0.1:{silent.port}/"
    with source, pytest.raises(SourceLost, match="broke off"):
        for _ in source:
            pass


def test_a_loop_goes_on_after_the_stream_came_back(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segjax.live.loop.PATIENCE_S", (0.05, 0.2))
    first, second = transport_stream(10, 60), transport_stream(10, 200)
    # Looked at, shown, then gone twice, then back.
    server = serve(http(first), http(first), refuse, refuse, http(second))

    class Enough(Collector):
        @property
        def ended(self) -> bool:
            kinds = [(f.kind, int(f.pixels[0, 0, 0]) > 130) for f in self.frames]  # type: ignore
            return ("composed", True) in kinds

    sink, said = Enough(), []
    source = Stream(f"http://127.0.0.1:{server.port}/")
    background = Color((0, 0, 0))
    report = Loop(source, FakeMatting(), background, [sink], device="", say=said.append).run()
    assert sink.ended and server.count >= 5
    assert report.states["reconnecting"]["count"] >= 1
    assert any("reconnecting" in line for line in said)


def test_a_file_behind_http_is_shown_at_its_own_times_and_ends(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    path = make_video(
        tmp_path / "a.mp4", range(0, 20_000, 2_000), options={"movflags": "faststart"}
    )
    data = path.read_bytes()

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)

    source = Stream(f"http://127.0.0.1:{serve(answer).port}/a.mp4")
    with source:
        frames = list(source)
    assert len(frames) == 10
    # 0.3 s by their own times; the first one may be handed on late, which the others do not repeat.
    assert frames[-1].captured_s - frames[0].captured_s >= 0.2


def test_what_is_no_stream_is_one_line(serve: Callable[..., Server]) -> None:
    def refusal(address: str) -> str:
        with pytest.raises(SegjaxError) as caught:
            Stream(address, open_s=1.0, silent_s=0.5)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = listening.getsockname()[1]
    for kind in ("rtsp", "http"):
        line = refusal(f"{kind}://ann:secret@127.0.0.1:{free}/door")
        assert f"there is no stream at {kind}://127.0.0.1:{free}/door" in line
        assert "secret" not in line and "ann" not in line
        line = refusal(f"{kind}://ann:se@cret@127.0.0.1:{free}/d@or")
        assert f"there is no stream at {kind}://127.0.0.1:{free}/d@or" in line
    assert "Not Found" in refusal(f"http://127.0.0.1:{serve(refuse).port}/")
    assert "there is no stream" in refusal(f"http://127.0.0.1:{serve(http(b'text')).port}/")


def rtsp_camera(pictures: list[bytes], then: Callable[[], object] = lambda: None) -> Answer:
    """A camera that speaks RTSP over TCP, each H.264 unit in an RTP packet of its own."""
    units = [unit for picture in pictures for unit in split_units(picture)]
    kept = [unit for unit in units if unit[0] & 31 in (7, 8)][:2]  # parameter sets
    sprop = ",".join(base64.b64encode(unit).decode() for unit in kept)
    described = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        "a=rtpmap:96 H264/90000\r\n"
        f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={sprop}\r\na=control:track1\r\n"
    )

    def answer(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        while True:
            request = lines.readline().decode().split()
            headers = dict(
                line.decode().strip().split(": ", 1) for line in iter(lines.readline, b"\r\n")
            )
            if not request:
                return
            more = {
                "OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n",
                "DESCRIBE": f"Content-Length: {len(described)}\r\n"
                "Content-Type: application/sdp\r\n",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "PLAY": "Session: 1\r\n",
            }.get(request[0], "")
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{more}\r\n"
            reply += described if request[0] == "DESCRIBE" else ""
            connection.sendall(reply.encode())
            if request[0] == "PLAY":
                break
        number = 0
        for index, picture in enumerate(pictures):
            parts = split_units(picture)
            for unit in parts:
                last = unit is parts[-1]
                head = bytes([0x80, 96 | last << 7]) + number.to_bytes(2, "big")
                packet = head + (index * 3000).to_bytes(4, "big") + b"\0\0\0\1" + unit
                connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                number += 1
        then()

    return answer


def split_units(picture: bytes) -> list[bytes]:
    """H.264's units between their start codes."""
    return [unit for unit in picture.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]


def test_a_camera_that_speaks_rtsp(serve: Callable[..., Server]) -> None:
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "g": "10"}
    pictures = []
    for index in range(40):
        frame = VideoFrame.from_ndarray(np.full((48, 64, 3), 120, np.uint8), format="rgb24")
        frame.pts = index
        pictures += [bytes(packet) for packet in encoder.encode(frame)]
    server = serve(rtsp_camera(pictures))
    source = Stream(f"rtsp://ann:secret@127.0.0.1:{server.port}/door")
    assert (source.name, source.size) == (f"rtsp://127.0.0.1:{server.port}/door", (48, 64))
    frames = []
    with source, pytest.raises(SourceLost):
        frames.extend(source)
    assert len(frames) >= 35
    assert all(abs(int(frame.pixels.mean()) - 120) <= 2 for frame in frames)
