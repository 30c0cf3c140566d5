"""Scenes with a wall close behind the person."""

import math

import numpy as np

from segjax.scenery.canvas import Canvas, Light, relief, smooth, soften


def studio(c: Canvas) -> np.ndarray:
    """A hand-painted canvas backdrop with a lamp on it, behind the head."""
    mottle = c.noise(2, 4)
    brush = c.noise(9, 3, stretch=0.6)
    glow = np.exp(-(((c.x + 0.08) / 0.62) ** 2) - ((c.y - 0.4) / 0.46) ** 2)
    lit = (0.035 + 0.33 * glow) * np.exp(0.13 * mottle + 0.05 * brush)
    c.add((0.80, 0.94, 1.06), lit * (1 - 0.25 * glow))
    c.add((1.00, 0.95, 0.86), lit * 0.25 * glow)
    c.light *= (1 - 0.45 * smooth(0.8, 1.05, c.y))[..., None]
    return c.develop(vignette=0.25, grain=0.8)


def blinds(c: Canvas) -> np.ndarray:
    """A warm wall in the late afternoon: sun through a window with blinds, and a plant's shadow."""
    rough = c.noise(40, 4)
    shade = 0.30 - 0.10 * c.y + 0.05 * c.x / c.half
    c.add((0.92, 0.73, 0.58), shade * (1 + 0.012 * rough))
    # The window's picture on the wall leans, since the sun stands to the left and low.
    u = c.x + 0.12 - 0.30 * (c.y - 0.5)
    v = c.y + 0.24 * c.x
    far = smooth(-0.9, 0.9, c.x)
    soft = 0.009 + 0.012 * far
    slats = _within(np.abs((v / 0.055) % 1 - 0.5) * 0.055, 0.0175, soft)
    panes = _within(np.abs(np.abs(u) - 0.29), 0.262, soft * 1.4)
    sun = slats * panes * _within(np.abs(v - 0.47), 0.37, soft * 1.6)
    leaves = []
    for stem in range(5):
        lean = -0.75 + 0.36 * stem + c.rng.normal(0, 0.05)
        leaves += _frond(c, (0.33 * c.half, 1.08), lean, 0.62 + c.rng.normal(0, 0.05))
    sun *= 1 - 0.85 * c.polygons(leaves, 0.007)
    c.add((1.0, 0.72, 0.42), sun * (0.62 + 0.02 * rough))
    c.add((1.0, 0.75, 0.5), 0.07 * soften(sun.astype(np.float32), 0.1 * c.height))
    return c.develop(vignette=0.3)


def plaster(c: Canvas) -> np.ndarray:
    """A plastered wall with a framed print, and a lamp on a sideboard."""
    trowel = c.noise(8, 6) + 0.25 * c.noise(90, 2, stretch=1.6)
    slope = relief(trowel) * c.height / 720
    wall = np.array((0.80, 0.74, 0.66), np.float32)
    lamp_x, lamp_y, shelf = 0.66 * c.half, 0.43, 0.86
    daylight = 0.23 + 0.15 * smooth(c.half, -c.half, c.x) + 0 * c.y
    rough = np.clip(1 + 0.42 * slope, 0.6, 1.4) * (1 + 0.025 * c.noise(3, 3))
    c.light[:] = wall * np.array((0.98, 0.98, 0.99)) * (daylight * rough)[..., None]

    dx, dy = c.x - lamp_x, c.y - lamp_y
    distance = np.hypot(dx, dy)
    angle = np.abs(dx) / np.maximum(np.abs(dy), 1e-4)
    opening = np.where(dy < 0, 0.85, 1.25)
    cone = smooth(1.25, 0.75, angle / opening)
    pool = (0.22 + cone) / (1 + (distance / 0.24) ** 2)
    c.add((0.80, 0.50, 0.24), 0.85 * pool * rough)

    left, right = -0.80 * c.half, -0.80 * c.half + 0.38
    _framed(c, left, 0.13, right, 0.62)
    c.light *= (1 - 0.35 * c.box(-2 * c.half, shelf - 0.03, 2 * c.half, 1, 0.09))[..., None]
    grain = c.noise(30, 3, stretch=14)
    wood = (0.115 + 0.010 * grain)[..., None] * np.array((1.5, 0.86, 0.48), np.float32)
    warm = 1 + 3.2 / (1 + (np.abs(dx) / 0.22) ** 2)
    c.lay(wood * warm[..., None], c.inside(c.y - shelf + 0 * c.x))
    c.lay(wood * 0.42, c.inside(c.y - shelf - 0.045 + 0 * c.x, 0.004))

    # The lamp: a ceramic foot, a neck, and a linen shade that glows most near its bulb.
    foot = ((c.x - lamp_x) / 0.07) ** 2 + ((c.y - 0.765) / 0.098) ** 2
    ceramic = 0.10 + 0.35 * np.exp(-(((c.x - lamp_x - 0.02) / 0.03) ** 2)) * smooth(0.86, 0.66, c.y)
    coverage = c.inside((1 - foot) * 0.05) * c.inside(shelf + 0.004 - c.y)
    c.lay(ceramic[..., None] * np.array((0.55, 0.75, 0.72), np.float32), coverage)
    c.lay((0.16, 0.10, 0.05), c.box(lamp_x - 0.009, 0.55, lamp_x + 0.009, 0.69))
    side = 0.105 + 0.075 * (c.y - 0.30) / 0.28 - np.abs(c.x - lamp_x)
    shade = c.inside(side) * c.inside(np.minimum(c.y - 0.30, 0.58 - c.y))
    bulb = np.exp(-((dx / 0.12) ** 2) - ((c.y - 0.45) / 0.13) ** 2)
    glow = 0.62 + 0.75 * bulb + 0.02 * c.noise(60, 2, stretch=0.1)
    c.lay(glow[..., None] * np.array((1.12, 0.76, 0.42), np.float32), shade)
    c.defocus(0.0035)
    bloom = soften((glow * shade).astype(np.float32), 0.05 * c.height)
    c.add((0.9, 0.55, 0.25), 0.10 * bloom)
    return c.develop(vignette=0.25)


def paper(c: Canvas) -> np.ndarray:
    """Sheets of heavy paper laid over each other, lit from the upper left."""
    fibre = c.noise(120, 2, stretch=1.8) + 0.8 * c.noise(260)
    c.light[:] = (0.80, 0.765, 0.70)
    c.light *= (1.02 - 0.10 * c.y - 0.05 * c.x / c.half)[..., None]
    h = c.half
    sheets: list[tuple[float, float, float, Light]] = [
        (-1.15 * h, 1.30, 0.98, (0.74, 0.64, 0.53)),
        (1.12 * h, -0.22, 0.72, (0.72, 0.68, 0.60)),
        (-1.20 * h, 1.30, 0.76, (0.66, 0.47, 0.36)),
        (1.20 * h, 1.22, 0.80, (0.42, 0.47, 0.40)),
        (1.30 * h, -0.20, 0.56, (0.78, 0.70, 0.56)),
        (-1.22 * h, 1.34, 0.56, (0.80, 0.75, 0.66)),
        (1.25 * h, 1.25, 0.60, (0.62, 0.64, 0.54)),
    ]
    for x, y, radius, color in sheets:
        wave = 0.018 * c.noise(2, 2)
        outside = np.hypot(c.x - x, c.y - y) - radius + wave
        dropped = np.hypot(c.x - x - 0.014, c.y - y - 0.022) - radius + wave
        shadow = 0.42 * np.exp(-np.maximum(dropped, 0) / 0.035) * (dropped > -0.08)
        edge = c.inside(-outside)
        c.light *= (1 - shadow * (1 - edge))[..., None]
        c.lay(np.array(color, np.float32) * (1.04 - 0.12 * c.y)[..., None], edge)
        c.add((1, 0.97, 0.9), 0.05 * edge * c.inside(outside + 0.004))
    c.light *= (1 + 0.010 * relief(fibre))[..., None]
    return c.develop(vignette=0.12, grain=0.8)


def brand(c: Canvas, color: Light) -> np.ndarray:
    """A panelled wall painted in a colour, in the light of a window at the left."""
    light = 0.50 + 0.62 * np.exp(-(((c.x + 0.75 * c.half) / 1.1) ** 2) - ((c.y - 0.25) / 0.9) ** 2)
    light = light * (1 + 0.012 * c.noise(2, 3))
    rail = 0.80
    for left in np.arange(-3, 4) * 0.66 - 0.29:
        light = light * _moulding(c, left, 0.07, left + 0.58, rail - 0.075)
        light = light * _moulding(c, left, rail + 0.075, left + 0.58, 1.2)
    light = light * (1 + 0.34 * c.box(-9, rail - 0.016, 9, rail - 0.009, 0.003))
    light = light * (1 + 0.10 * c.box(-9, rail - 0.012, 9, rail + 0.012, 0.002))
    light = light * (1 - 0.40 * c.box(-9, rail + 0.010, 9, rail + 0.030, 0.016))
    paint = np.array(color, np.float32) * 0.92 + 0.008
    # What a glossy paint mirrors is the window's colour, not its own.
    c.light[:] = light[..., None] * paint
    c.add((1.0, 0.98, 0.94), 0.035 * np.maximum(light - 0.6, 0))
    c.defocus(0.0025)
    return c.develop(vignette=0.25)


def _within(distance: np.ndarray, reach: float, soft: np.ndarray) -> np.ndarray:
    """1 where `distance` is less than `reach`, with an edge `soft` wide."""
    return np.clip((reach - distance) / soft + 0.5, 0, 1)


def _frond(c: Canvas, foot: tuple[float, float], lean: float, length: float) -> list[np.ndarray]:
    """A palm's leaf that bends over: its leaflets as polygons."""
    leaflets = []
    for t in np.linspace(0.25, 1, 17):
        bend = lean * (0.55 + 0.75 * t)
        x = foot[0] + length * t * math.sin(bend)
        y = foot[1] - length * t * math.cos(bend)
        long = 0.17 * length * 1.5 * math.sin(math.pi * min(1, 0.25 + 0.72 * t)) + 0.02
        for side in (-1, 1):
            turn = bend + side * (0.95 - 0.35 * t) + c.rng.normal(0, 0.06)
            along = np.array((math.sin(turn), -math.cos(turn)))
            over = np.array((along[1], -along[0])) * 0.075
            shape = [(0, 0), (0.3, 1), (0.7, 0.7), (1, 0), (0.7, -0.7), (0.3, -1)]
            leaflets.append(np.array([(x, y) + long * (a * along + b * over) for a, b in shape]))
    return leaflets


def _framed(c: Canvas, left: float, top: float, right: float, bottom: float) -> None:
    """A print in a thin oak frame, with its shadow on the wall."""
    shadow = c.box(left + 0.008, top + 0.014, right + 0.014, bottom + 0.022, 0.03)
    c.light *= (1 - 0.45 * shadow)[..., None]
    c.lay((0.20, 0.12, 0.06), c.box(left, top, right, bottom))
    c.lay((0.50, 0.49, 0.46), c.box(left + 0.012, top + 0.012, right - 0.012, bottom - 0.012))
    inner = c.box(left + 0.06, top + 0.07, right - 0.06, bottom - 0.07)
    middle, low = (left + right) / 2, bottom - 0.07
    c.lay((0.36, 0.31, 0.25), inner)
    sun = c.inside(0.062 - np.hypot(c.x - middle - 0.03, c.y - top - 0.17))
    c.lay((0.38, 0.12, 0.05), inner * sun)
    for rise, lean, color in ((0.19, 0.10, (0.11, 0.16, 0.17)), (0.11, -0.16, (0.05, 0.08, 0.09))):
        hill = low - rise - lean * (c.x - middle) + 0.02 * np.sin(18 * (c.x - middle) + 7 * rise)
        c.lay(color, inner * c.inside(c.y - hill))


def _moulding(c: Canvas, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """How a raised frame on a wall changes the light from the upper left: float32 [H, W]."""
    depth = np.minimum(
        np.minimum(c.x - left, right - c.x) + 0 * c.y, np.minimum(c.y - top, bottom - c.y)
    )
    to_left = np.minimum(c.x - left, c.y - top) < np.minimum(right - c.x, bottom - c.y)
    turn = np.where(to_left, 1.0, -1.0)
    outer = np.exp(-(((depth - 0.006) / 0.006) ** 2))
    inner = np.exp(-(((depth - 0.024) / 0.007) ** 2))
    shade = np.exp(-(((depth - 0.038) / 0.012) ** 2)) * (turn > 0)
    return 1 + turn * (0.26 * outer - 0.30 * inner) - 0.10 * shade
