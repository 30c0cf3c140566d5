"""How fast the page is: frames a second, and the time from capture to presentation.

    python benchmarks/page.py --height 360 --seconds 20 --out out/page.json

Headless Chromium (the system's) films a person on whose chest each frame's number stands in black
and white blocks. The page reads the number in the browser's own picture and in the result, whenever
it draws: the delay of a frame is what lies between its two first appearances. `worker` is what the
page's own figures say: from when its worker had a frame until the result was drawn.

    python benchmarks/page.py --pictures out/page

draws the page instead, as it is with a drawn room behind the largest person: on a desktop and on a
phone, light and dark.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from playwright.async_api import Browser, Page, async_playwright

from segjax.live.sample import Sample

FRAMES = 64
BITS = 6
PLACE = (0.39, 0.86, 0.025, 0.05)
"""Left, top, width and height of the first block, as shares of the picture's width and height."""

SERVE = """
import sys
from segjax.web import sizes
sizes.SIDES = tuple(int(side) for side in sys.argv[1].split(","))
from segjax.cli import run
run("serve", ["--source", "browser", "--port", "0"], prog="serve")
"""

WATCH = """([bits, left, top, width, height]) => {
  const [original, result] = ["original", "result"].map((id) => document.getElementById(id));
  const canvas = new OffscreenCanvas(bits, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const seen = (window.seen = { original: [], result: [] });
  const read = (from, w, h, list) => {
    if (!w) return;
    for (let bit = 0; bit < bits; bit += 1) {
      const x = (left + (bit + 0.25) * width) * w;
      context.drawImage(from, x, (top + height / 4) * h, (width / 2) * w, (height / 2) * h, bit, 0, 1, 1);
    }
    const data = context.getImageData(0, 0, bits, 1).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit += 1) number |= (data[4 * bit + 1] > 127) << bit;
    if (list.at(-1)?.[0] !== number) list.push([number, performance.now()]);
  };
  const watch = () => {
    read(original, original.videoWidth, original.videoHeight, seen.original);
    read(result, result.width, result.height, seen.result);
    requestAnimationFrame(watch);
  };
  watch();
}"""  # noqa: E501


SCREENS = {"desktop": (1280, 900), "phone": (360, 740)}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ROOM = "plaster"
TIDY = """() => {
  document.querySelector("#camera").options[0].text = "Webcam"; // whose name is the film's path
  window.scrollTo(0, 0);
}"""


def write_film(path: Path, height: int, *, numbered: bool = True) -> None:
    """The sample moves; or it stands still, with each frame's number on it."""
    width = height * 16 // 9 // 2 * 2
    left, top, wide, high = PLACE
    sample = Sample()
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(FRAMES):
            picture = sample.picture(0.0 if numbered else number / sample.rate)
            frame = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            for bit in range(BITS if numbered else 0):
                x, y = round((left + bit * wide) * width), round(top * height)
                shape = np.s_[y : y + round(high * height), x : x + round(wide * width)]
                frame[shape] = 255 * (number >> bit & 1)
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


@contextlib.asynccontextmanager
async def chromium(film: Path) -> AsyncIterator[Browser]:
    """A browser whose camera shows the film."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--disable-gpu",  # or the CPU draws what it thinks a GPU does
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={film}",
            ],
        )
        yield browser
        await browser.close()


async def live(browser: Browser, address: str, **options: Any) -> Page:
    page = await (await browser.new_context(permissions=["camera"], **options)).new_page()
    page.set_default_timeout(120_000)
    await page.goto(address)
    await page.click("#start")
    await page.wait_for_selector("#state[data-state=live]")
    return page


async def draw(address: str, film: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium(film) as browser:
        for (name, (width, height)), theme in itertools.product(SCREENS.items(), THEMES):
            view: Any = {"width": width, "height": height}
            page = await live(browser, address, viewport=view, color_scheme=theme)
            await page.locator("#effects .choices label", has_text="Picture").click()
            await page.locator("#gallery label", has_text=ROOM).click()
            await page.select_option("#person", "largest")
            await page.wait_for_timeout(2_000)
            await page.wait_for_selector("#waiting:empty", state="attached")
            await page.evaluate(TIDY)
            await page.wait_for_timeout(6_000)
            await page.screenshot(path=folder / f"{name}-{theme}.png")
            await page.context.close()


async def measure(address: str, film: Path, seconds: float) -> dict:
    async with chromium(film) as browser:
        page = await live(browser, address)
        await page.wait_for_timeout(8_000)
        await page.evaluate(WATCH, [BITS, *PLACE])
        worker = []
        for _ in range(int(seconds)):
            await page.wait_for_timeout(1_000)
            worker.append(float((await page.inner_text("#p95")).split()[0]))
        seen = await page.evaluate("seen")
        size = await page.inner_text("#size")
    return {"size": size, "worker_p95_ms": float(np.median(worker)), **delays(**seen)}


def delays(original: list[tuple[int, float]], result: list[tuple[int, float]]) -> dict:
    """Frames a second in either picture, and the delay of those that were seen in both."""
    came: dict[int, float] = {}
    took, at = [], 0
    for number, shown_ms in result:
        while at < len(original) and original[at][1] <= shown_ms:
            came[original[at][0]] = original[at][1]
            at += 1
        if number in came and shown_ms - came[number] < 1e3 * FRAMES / 60:
            took.append(shown_ms - came[number])

    def rate(seen: list[tuple[int, float]]) -> float:
        return round(1e3 * (len(seen) - 1) / (seen[-1][1] - seen[0][1]), 1)

    p50, p95 = (round(float(np.percentile(took, share)), 1) for share in (50, 95))
    return {
        "camera_fps": rate(original), "shown_fps": rate(result), "frames": len(took),
        "p50_ms": p50, "p95_ms": p95,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=360, help="of the camera's picture")
    parser.add_argument("--sides", default="640,960,1280", help="long sides that may be sent")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder; draws the page instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.y4m"
        write_film(film, options.height, numbered=not options.pictures)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, options.sides],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"SEGJAX_SETTINGS": "off"},
        )
        try:
            assert server.stdout
            address = server.stdout.readline().strip()
            if options.pictures:
                asyncio.run(draw(address, film, options.pictures))
                return
            figures = asyncio.run(measure(address, film, options.seconds))
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
