"""Scenes with depth behind the person."""

import cv2
import numpy as np

from segjax.scenery.canvas import Canvas, Light, smooth, soften

TUNGSTEN: Light = (1.0, 0.62, 0.26)


def evening(c: Canvas) -> np.ndarray:
    """A city in the evening through a window, out of focus: every lamp is a disc."""
    horizon = 0.60
    up = np.clip((horizon - c.y) / horizon, 0, 1) + 0 * c.x
    c.add((0.020, 0.030, 0.075), 0.55 + 0.45 * up)
    c.add((0.26, 0.105, 0.080), np.exp(-up * 4.2) * (c.y < horizon + 0.05))
    for depth in range(3):  # rows of houses, the nearer the darker
        x = -c.half - 0.1
        while x < c.half:
            wide = c.rng.uniform(0.09, 0.24)
            top = horizon - c.rng.uniform(0.02, 0.27) + 0.09 * depth
            tone = np.array((0.030, 0.026, 0.045)) * (1 - 0.26 * depth)
            c.lay(tone, c.box(x, top, x + wide, 1.1))
            x += wide * c.rng.uniform(0.8, 1.3)
    c.defocus(0.022)
    hues: list[tuple[Light, float]] = [
        (TUNGSTEN, 0.42), ((1.0, 0.42, 0.12), 0.2), ((1.0, 0.86, 0.66), 0.17),
        ((0.95, 0.10, 0.07), 0.08), ((0.25, 0.75, 0.70), 0.07), ((0.45, 0.55, 1.0), 0.06),
    ]  # fmt: skip
    chances = np.array([chance for _, chance in hues])
    for _ in range(230):
        x, near = c.rng.uniform(-1.05, 1.05) * max(c.half, 0.9), c.rng.random() ** 1.7
        y = horizon - 0.16 + 0.34 * near + c.rng.normal(0, 0.055)
        radius = 0.015 + 0.050 * near * c.rng.uniform(0.6, 1.1)
        power = 0.75 * c.rng.lognormal(-0.9, 0.75) * (0.030 / radius)
        color = hues[c.rng.choice(len(hues), p=chances / chances.sum())][0]
        _lamp(c, x, y, radius, power, color)
    # The room's own side of the window: frame and sill, far too near to be sharp.
    frame = np.zeros((c.height, c.width), np.float32)
    for left, right in ((-0.70 * c.half, -0.70 * c.half + 0.045), (0.97 * c.half, 2 * c.half)):
        frame = np.maximum(frame, c.box(left, -1, right, 2, 0.02))
    frame = np.maximum(frame, c.box(-9, 0.93, 9, 2, 0.025))
    lit = 0.55 + 0.45 * smooth(-c.half, c.half, c.x)
    c.lay(np.array((0.050, 0.034, 0.024), np.float32) * (lit + 0 * c.y)[..., None], frame)
    c.add(TUNGSTEN, 0.05 * np.exp(-((c.x - 0.9 * c.half) ** 2 + (c.y - 0.15) ** 2) / 0.09))
    return c.develop(vignette=0.3, grain=1.2)


def _lamp(c: Canvas, x: float, y: float, radius: float, power: float, color: Light) -> None:
    """A disc of light, a little brighter at its rim and, off the middle, cut by the lens's edge."""
    c = c.part(x - radius, y - radius, x + radius, y + radius)
    dx, dy = (c.x - x) / radius, (c.y - y) / radius
    distance = np.hypot(dx, dy)
    cut = np.hypot(dx + 0.28 * x, dy + 0.28 * (y - 0.5))
    edge = max(0.05, 1 / (radius * c.pixels))
    disc = np.clip((1 - distance) / edge + 0.5, 0, 1) * np.clip((1.12 - cut) / edge + 0.5, 0, 1)
    rim = 0.78 + 0.30 * distance**4
    c.add(color, power * disc * rim)


SPINES: list[Light] = [
    (0.30, 0.06, 0.045), (0.055, 0.10, 0.17), (0.06, 0.14, 0.11), (0.42, 0.34, 0.24),
    (0.55, 0.50, 0.42), (0.34, 0.17, 0.06), (0.035, 0.035, 0.04), (0.20, 0.24, 0.26),
    (0.46, 0.23, 0.09), (0.14, 0.06, 0.08), (0.27, 0.30, 0.20), (0.62, 0.58, 0.52),
]  # fmt: skip


def bookshelf(c: Canvas) -> np.ndarray:
    """Shelves of books with a few things between, out of focus, lit by a warm lamp."""
    bay, shelf, board = 0.86, 0.335, 0.022
    c.light[:] = (0.060, 0.038, 0.024)
    tops = np.arange(-1, 4) * shelf - 0.14
    lefts = np.arange(-np.ceil(c.half / bay) - 1, np.ceil(c.half / bay) + 1) * bay + 0.27
    shade = np.ones((c.height, c.width), np.float32)
    for top in tops:
        floor = top + shelf - board
        for left in lefts:
            _fill_bay(c, left + board, left + bay, top, floor)
        below = np.clip((c.y - top) / 0.13, 0, 1)
        shade *= np.where((c.y >= top) & (c.y < floor), 0.38 + 0.62 * below**0.7, 1)
    wood = np.array((0.30, 0.165, 0.085), np.float32)
    wood = wood * (1 + 0.10 * c.noise(14, 3, stretch=8))[..., None]
    for top in tops:
        c.lay(wood * 0.95, c.box(-9, top + shelf - board, 9, top + shelf))
    for left in lefts:
        shade *= 1 - 0.45 * np.exp(-np.maximum(c.x - left - board, 0) / 0.03) * (c.x > left + board)
        c.lay(wood * 0.8, c.box(left, -1, left + board, 2))
    lamp = 0.42 + 1.25 * np.exp(-((c.x + 0.55 * c.half) ** 2) / 0.7 - (c.y - 0.25) ** 2 / 0.5)
    c.light *= (shade * lamp)[..., None] * np.array((1.10, 0.98, 0.84), np.float32)
    c.defocus(0.0125)
    c.add((1.0, 0.70, 0.40), 0.02 * lamp)
    return c.develop(vignette=0.35, grain=0.8)


def _fill_bay(c: Canvas, left: float, right: float, top: float, floor: float) -> None:
    """Books, standing, leaning on nothing and lying, and things, from left to right."""
    x = left + 0.01
    room = floor - top
    while x < right - 0.03:
        kind = c.rng.random()
        if kind < 0.10:
            x += _lying(c, x, min(0.16, right - x), floor)
        elif kind < 0.16 and right - x > 0.14:
            _vase(c, x + 0.06, floor, room * c.rng.uniform(0.45, 0.7))
            x += 0.14
        elif kind < 0.22:
            x += c.rng.uniform(0.02, 0.09)
        else:  # a set of books of about the same height
            tall = room * c.rng.uniform(0.58, 0.88)
            for _ in range(c.rng.integers(3, 9)):
                wide = c.rng.uniform(0.016, 0.040)
                if x + wide > right:
                    return
                _standing(c, x, x + wide, floor - tall * c.rng.uniform(0.92, 1.04), floor)
                x += wide


def _standing(c: Canvas, left: float, right: float, top: float, floor: float) -> None:
    color = np.array(SPINES[c.rng.integers(len(SPINES))]) * c.rng.uniform(0.7, 1.25)
    c = c.part(left, top, right, floor)
    middle, half = (left + right) / 2, (right - left) / 2
    rounded = np.clip(1.08 - 0.5 * ((c.x - middle + 0.2 * half) / half) ** 2, 0.25, 1.1)
    c.lay(color * (rounded + 0 * c.y)[..., None], c.box(left, top, right, floor))
    label = c.rng.uniform(0.12, 0.3) * (floor - top)
    band = np.minimum(color * 2.2 + 0.05, 0.7) if c.rng.random() < 0.5 else color * 0.4
    c.lay(band, c.box(left, top + label, right, top + label + c.rng.uniform(0.01, 0.045)))


def _lying(c: Canvas, left: float, wide: float, floor: float) -> float:
    c = c.part(left, floor - 0.2, left + wide, floor)
    for _ in range(c.rng.integers(2, 5)):
        thick, narrower = c.rng.uniform(0.018, 0.034), c.rng.uniform(0, 0.03)
        color = np.array(SPINES[c.rng.integers(len(SPINES))]) * c.rng.uniform(0.7, 1.2)
        c.lay(color, c.box(left, floor - thick, left + wide - narrower, floor))
        c.lay(color * 0.35, c.box(left, floor - 0.003, left + wide - narrower, floor))
        floor -= thick
    return wide + 0.012


def _vase(c: Canvas, x: float, floor: float, tall: float) -> None:
    """A glazed pot; every other one with a plant in it."""
    color = np.array(
        [(0.50, 0.46, 0.40), (0.10, 0.20, 0.22), (0.42, 0.17, 0.09)][c.rng.integers(3)]
    )
    pot = 0.5 * tall
    c = c.part(x - tall, floor - 1.3 * tall, x + tall, floor)
    if not c.light.size:
        return
    body = 1 - ((c.x - x) / 0.042) ** 2 - ((c.y - floor + 0.5 * pot) / (0.56 * pot)) ** 2
    gloss = 0.75 + 0.7 * np.exp(-(((c.x - x + 0.014) / 0.014) ** 2)) + 0 * c.y
    c.lay(color * gloss[..., None], c.inside(body * 0.03) * c.inside(floor - c.y))
    for _ in range(26):
        turn, long = c.rng.normal(0, 0.75), tall * c.rng.uniform(0.3, 0.62)
        tip = np.array((x + long * np.sin(turn), floor - 0.95 * pot - long * np.cos(turn) * 0.8))
        foot = np.array((x, floor - 0.9 * pot))
        over = np.array((tip[1] - foot[1], foot[0] - tip[0])) * 0.13
        leaf = np.array([foot, (foot + tip) / 2 + over, tip, (foot + tip) / 2 - over])
        green = np.array((0.055, 0.13, 0.04)) * c.rng.uniform(0.6, 1.7)
        c.lay(green, c.polygons([leaf]))


def dusk(c: Canvas) -> np.ndarray:
    """Mountains behind a lake after sunset."""
    water = 0.80
    stops = [0.0, 0.22, 0.42, 0.55, 0.62]
    sky = [
        (0.030, 0.052, 0.135), (0.085, 0.110, 0.225), (0.300, 0.200, 0.270),
        (0.700, 0.330, 0.210), (0.950, 0.520, 0.250),
    ]  # fmt: skip
    for channel in range(3):
        levels = [color[channel] for color in sky]
        c.light[..., channel] = np.interp(c.y, stops, levels)
    sunset = 0.34 * c.half
    glow = np.exp(-(((c.x - sunset) / 0.55) ** 2) - ((c.y - 0.6) / 0.16) ** 2)
    c.add((0.75, 0.42, 0.14), 0.75 * glow)
    cloud = smooth(0.2, 2.2, c.noise(7, 5, stretch=5) + 0.6 * c.noise(2, 2, stretch=3))
    cloud *= smooth(0.02, 0.3, c.y) * smooth(0.66, 0.42, c.y)
    warm = np.exp(-(((c.x - sunset) / 0.8) ** 2)) * smooth(0.15, 0.55, c.y)
    lit = np.array((0.13, 0.115, 0.20)) + (0.8 * warm)[..., None] * np.array((0.95, 0.36, 0.24))
    c.lay(lit, 0.72 * cloud)
    far, near = np.array((0.36, 0.225, 0.265)), np.array((0.010, 0.016, 0.028))
    for depth, share in enumerate(np.linspace(0, 1, 5)):
        ridge = 0.565 + 0.047 * depth - (0.052 - 0.006 * depth) * c.line(2 + depth, 6)
        ridge -= 0.05 * (1 - share) * np.exp(-(((c.x + 0.3 * c.half) / 0.35) ** 2))
        if depth >= 3:  # near enough to see the trees on it
            ridge -= (0.004 + 0.004 * (depth == 4)) * np.abs(c.line(70, 2))
        tone = far * (1 - share) ** 1.5 + near * (1 - (1 - share) ** 1.5)
        mist = smooth(0.50, 0.78, c.y) * (1 - share) * 0.6
        haze = tone + mist[..., None] * (np.array((0.60, 0.36, 0.31)) - tone)
        c.lay(haze, c.inside(c.y - ridge) * c.inside(water + 0.01 - c.y))
    # The lake mirrors all this, in ripples that grow towards the shore where we stand.
    deep = np.maximum(c.y - water, 0)
    ripple = c.noise(70, 2, stretch=9) * np.minimum(deep, 0.05)
    source = (2 * water - c.y + 0.16 * ripple) * c.height - 0.5
    source = np.clip(np.rint(source), 0, c.height - 1).astype(int)
    lake = c.light[source, np.arange(c.width)[None]]
    lake = cv2.blur(lake, (1, max(1, round(0.016 * c.height))))
    bright = np.clip(0.80 - 1.3 * deep, 0.3, 1)[..., None] * np.array((0.86, 0.90, 1.0), np.float32)
    c.lay(lake * bright, c.inside(c.y - water + 0 * c.x))
    shore = np.exp(-(((c.y - water) / 0.006) ** 2)) + 0 * c.x
    c.add((0.5, 0.33, 0.30), 0.05 * shore)
    c.light = soften(c.light, 0.0008 * c.height)
    return c.develop(vignette=0.2, grain=0.9)
