"""A step that knows the person by colour, and pictures of one in a room."""

import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from aiohttp import ClientResponse, ClientSession

from segjax.live.backgrounds import Blur, Picture
from segjax.live.frames import Frame, Source
from segjax.live.loop import Loop
from segjax.web import server
from segjax.web.pictures import Pictures
from segjax.web.preview import PageSink, Remote
from segjax.web.security import TOKEN_HEADER, Address
from segjax.web.server import Server, listen
from segjax.web.settings import Settings
from segjax.web.studio import Step, Studio

PERSON, ROOM = (200, 60, 50), (20, 90, 170)
ROOM_BLUE = {"blur": 128, "bokeh": 40}
TOKEN = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Composite:
    image: np.ndarray
    alpha: np.ndarray
    index: int


class RedIsPerson:
    """Keeps what is redder than green, over the background or over a room of one colour: its red is
    the strength, its green the softness, and its blue tells "blur" from "bokeh".

    Only what is in the middle third is a "central" person. `before` is called with each frame's
    index first: to stall, or to raise.
    """

    def __init__(
        self,
        before: Callable[[int], None] = lambda index: None,
        kind: str = "blur",
        person: str = "all",
    ) -> None:
        self.kind, self.person = kind, person
        self.strength = self.softness = 0.5
        self.prepared: list[tuple[int, int]] = []
        self._before = before

    def prepare(self, height: int, width: int) -> None:
        self.prepared.append((height, width))

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 4, width // 4

    def reset(self) -> None:
        pass

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        self._before(index)
        height, width = pixels.shape[:2]
        person = (pixels[..., 0] > pixels[..., 1]).astype(np.float32)
        if self.person == "central":
            person[:, : width // 3] = person[:, -(width // 3) :] = 0
        alpha = cv2.resize(
            person, self.mask_size(height, width)[::-1], interpolation=cv2.INTER_AREA
        )
        behind = background
        if behind is None:
            room = round(255 * self.strength), round(255 * self.softness), ROOM_BLUE[self.kind]
            behind = np.full_like(pixels, room)
        image = np.where(person[..., None] > 0, pixels, behind)
        return Composite(image, alpha, index)


def scene(height: int = 360, width: int = 640, x: float = 0.5) -> np.ndarray:
    """uint8 RGB [height, width, 3]: a person at the share `x` of the width, in a room."""
    pixels = np.full((height, width, 3), ROOM, np.uint8)
    centre = round(x * width)
    cv2.circle(pixels, (centre, height // 3), height // 6, PERSON, -1)
    cv2.ellipse(pixels, (centre, height), (height // 3, height // 2), 0, 180, 360, PERSON, -1)
    return pixels


def studio(
    before: Callable[[int], None] = lambda index: None,
    settings: Settings | None = None,
    steps: list[RedIsPerson] | None = None,
) -> Studio:
    """One that carries two viewers; `steps` are those that it made."""
    steps = [] if steps is None else steps

    def make(step: Step) -> RedIsPerson:
        steps.append(RedIsPerson(before, step.effect, step.person))
        return steps[-1]

    made = Studio(
        make,
        ["red", "other"],
        {"brick.png": lambda: Picture(np.full((90, 160, 3), (150, 70, 40), np.uint8))},
        device="abacus",
        place="desk",
        settings=settings,
        say=lambda line: None,
    )
    made.capacity = 2
    return made


class Room(Source):
    """A camera that films a person who moves in a room."""

    name, live, size, rate = "camera", True, (360, 640), 30.0

    def __iter__(self) -> Iterator[Frame]:
        for index in itertools.count():
            time.sleep(0.03)
            pixels = scene(*self.size, x=0.4 + 0.02 * (index % 10))
            yield Frame(pixels, index, index / self.rate, time.perf_counter())


@contextlib.contextmanager
def remote_run() -> Iterator[Remote]:
    """A run that goes on, as `segjax serve --sink page` makes it."""
    sink, quiet = PageSink(), lambda line: None
    step = RedIsPerson()
    loop = Loop(Room(), step, Blur(), [sink], device="abacus", say=quiet)
    remote = Remote(
        loop, sink, Pictures({}), Settings(), step, lambda effect: RedIsPerson(kind=effect),
        name="camera", device="abacus", place="desk", say=quiet,
    )  # fmt: skip
    running = threading.Thread(target=loop.run)
    running.start()
    try:
        yield remote
    finally:
        loop.stop()
        running.join()


@dataclass(frozen=True)
class Client:
    """What asks a server, with what the page's own requests say in `own`."""

    session: ClientSession
    port: int

    @property
    def own(self) -> dict[str, str]:
        return {"Origin": f"http://127.0.0.1:{self.port}", TOKEN_HEADER: TOKEN}

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self.session.get(path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        return await self.session.post(path, **options)


@contextlib.asynccontextmanager
async def serving(shared: Studio | Remote | None = None) -> AsyncIterator[Client]:
    """A server that answers, as `segjax serve --source browser` runs it."""
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    made = Server(shared or studio(), Address(port=port), TOKEN)
    async with (
        server.serving(made, listening),
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Client(session, port)


def jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    return encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encoded(suffix: str, pixels: np.ndarray, options: list[int] | None = None) -> bytes:
    """A picture's bytes, from uint8 RGB."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr, options or [])[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """uint8 RGB of a picture's bytes."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def write_y4m(path: Path, frames: list[np.ndarray], rate: int = 30) -> Path:
    """A fake camera's film."""
    height, width = frames[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            yuv = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + yuv.tobytes())
    return path


def wait_until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Waits for what another thread does."""
    until_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < until_s, "it did not come to pass"
        time.sleep(0.01)
