"""Frames by WebRTC, with a page's part played by another connection in this process."""

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from av import VideoFrame
from web_fakes import PERSON, ROOM, scene, studio

from segjax.errors import SegjaxError
from segjax.web.composer import Composer
from segjax.web.peer import Peer, only_from
from segjax.web.viewer import Answer

HERE = "127.0.0.1"

OFFER = """v=0\r
m=video 9 UDP/TLS/RTP/SAVPF 96\r
a=candidate:1 1 udp 2122260223 0f1e.local 50000 typ host generation 0\r
a=candidate:2 1 UDP 2122260222 192.168.1.7 50001 typ host\r
a=candidate:3 1 udp 2122260221 10.0.0.9 50002 typ host\r
a=candidate:4 1 tcp 1518280447 192.168.1.7 9 typ host tcptype active\r
a=candidate:5 1 udp 1686052607 192.168.1.7 50003 typ srflx raddr 0.0.0.0 rport 0\r
a=candidate:6\r
a=mid:0\r
"""


def test_of_an_offers_candidates_only_the_pages_own_address_stays() -> None:
    kept = only_from(OFFER, "192.168.1.7").splitlines()
    assert kept == [
        "v=0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:1 1 udp 2122260223 192.168.1.7 50000 typ host generation 0",
        "a=candidate:2 1 UDP 2122260222 192.168.1.7 50001 typ host",
        "a=mid:0",
    ]


async def nobody(answer: Answer) -> None:
    pass


@pytest.mark.parametrize(
    "offer",
    [None, "", "v=0", "v=0\r\nm=video x", OFFER, OFFER + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
     "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", OFFER + " " * 70_000],
    ids=["none", "empty", "head", "nonsense", "cut", "sound", "data", "long"],
)  # fmt: skip
def test_an_offer_of_anything_else_is_refused(offer: object, needs: Callable) -> None:
    needs("aiortc")

    async def test() -> None:
        composer = Composer(studio())
        made = Peer(composer, HERE, HERE, nobody)
        with pytest.raises(SegjaxError, match="the offer is not of one video and nothing else"):
            await made.accept(offer)
        await made.close()
        composer.close()

    asyncio.run(test())


async def there_and_back(
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, str, list[Answer]]:
    """A composed picture that came back, the server's session description, and its answers."""
    import aiortc

    from segjax.web.peer import _listen_only_at

    class Camera(aiortc.MediaStreamTrack):
        kind = "video"

        async def recv(self) -> VideoFrame:
            await asyncio.sleep(0.03)
            picture = scene(x=0.4 + 0.02 * (time.perf_counter() % 1))
            made = VideoFrame.from_ndarray(picture, format="rgb24")
            made.pts, made.time_base = int(90_000 * time.perf_counter()), Fraction(1, 90_000)
            return made

    answers: list[Answer] = []

    async def tell(answer: Answer) -> None:
        answers.append(answer)

    composer = Composer(studio())
    server = Peer(composer, HERE, HERE, tell)
    page = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    try:
        page.addTransceiver(Camera(), direction="sendrecv")
        (transceiver,) = page.getTransceivers()
        offer = await page.createOffer()
        _listen_only_at(HERE, transceiver.receiver.transport.transport.iceGatherer)
        await page.setLocalDescription(offer)
        described = await server.accept(page.localDescription.sdp)
        await page.setRemoteDescription(aiortc.RTCSessionDescription(described, "answer"))
        while True:
            shown = await transceiver.receiver.track.recv()
            assert isinstance(shown, VideoFrame)
            if answers[-1].output.kind == "composed" and len(answers) > 10:
                meanwhile()
                return shown.to_ndarray(format="rgb24"), described, answers
    finally:
        await page.close()
        await server.close()
        composer.close()


def test_a_video_goes_there_and_comes_back_composed(needs: Callable) -> None:
    needs("aiortc")
    shown, described, answers = asyncio.run(asyncio.wait_for(there_and_back(), 20))
    assert shown.shape == (360, 640, 3)

    def near(color: tuple[int, int, int]) -> float:
        return float((np.abs(shown.astype(int) - color).max(2) < 40).mean())

    assert near(PERSON) > 0.1 and near(ROOM) < 0.001
    assert {answer.output.kind for answer in answers} <= {"composed", "covered", "repeated"}
    candidates = [line.split() for line in described.splitlines() if "a=candidate" in line]
    assert {(parts[4], parts[7]) for parts in candidates} == {(HERE, "host")}  # and no STUN
    assert "m=audio" not in described
