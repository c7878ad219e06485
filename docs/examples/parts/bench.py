"""Materials: what the bench is made of, and how metal, rubber and rust look on a part.

Colours are sRGB in 0..1, ``[h, w, 3]`` float32; heights are pixels.  Everything is drawn from the
generator it is given, so a picture follows from its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shapes import smoothstep

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Finish:
    """How a material answers light.

    Attributes:
        colour: sRGB in 0..1.
        metal: 0 (paint, rubber) to 1 (bare metal, which mirrors the room and has no own colour).
        gloss: 0 (matt) to 1 (polished); sets the size and the strength of the highlight.
        grain: Strength of brushing marks on the surface.
        rust: How readily rust takes hold.
    """

    colour: tuple[float, float, float]
    metal: float
    gloss: float
    grain: float = 0.2
    rust: float = 0.0


FINISHES = {
    "zinc": Finish((0.72, 0.74, 0.77), 0.9, 0.65, 0.15, 0.25),
    "steel": Finish((0.60, 0.60, 0.61), 1.0, 0.75, 0.35, 0.35),
    "yellow": Finish((0.72, 0.60, 0.33), 0.9, 0.6, 0.15, 0.15),
    "brass": Finish((0.76, 0.57, 0.22), 1.0, 0.8, 0.2),
    "copper": Finish((0.72, 0.42, 0.28), 1.0, 0.7, 0.2),
    "black": Finish((0.13, 0.13, 0.14), 0.5, 0.45, 0.1, 0.1),
    "worn": Finish((0.42, 0.38, 0.35), 0.7, 0.3, 0.5, 0.75),
    "rusty": Finish((0.45, 0.33, 0.25), 0.4, 0.12, 0.4, 1.3),
    "rubber": Finish((0.09, 0.09, 0.09), 0.0, 0.25),
    "plastic": Finish((0.55, 0.15, 0.12), 0.0, 0.5),
    "paper": Finish((0.80, 0.73, 0.55), 0.0, 0.05),
}
PART_FINISHES = ("zinc", "steel", "yellow", "brass", "black", "worn", "rusty")
BENCHES = ("wood", "steel", "cloth", "concrete", "mat", "card")


def noise(
    shape: tuple[int, int], cell: float | tuple[float, float], rng: np.random.Generator
) -> Field:
    """Return smooth noise, about -1..1, with features of `cell` pixels (height, width)."""
    tall, wide = (cell, cell) if isinstance(cell, int | float) else cell
    size = (max(2, round(shape[0] / tall) + 2), max(2, round(shape[1] / wide) + 2))
    seed = Image.fromarray(rng.normal(0, 0.5, size).astype(np.float32))
    return np.asarray(seed.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def clouds(
    shape: tuple[int, int], cell: float, rng: np.random.Generator, octaves: int = 4
) -> Field:
    """Return noise summed over octaves (fractal noise), about -1..1."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += noise(shape, max(cell / 2**octave, 1.0), rng) * 0.6**octave
    return total


def mix(first: Field, second: tuple[float, ...] | Field, weight: Field) -> Field:
    """Blend two colours; `weight` ``[h, w]`` is 0 for the first and 1 for the second."""
    return first + weight[..., None] * (np.asarray(second, np.float32) - first)


@dataclass
class Surface:
    """What the light meets at each pixel: colour ``[h, w, 3]``; the others ``[h, w]``."""

    colour: Field
    height: Field
    metal: Field
    gloss: Field


def finish_surface(name: str, u: Field, v: Field, rng: np.random.Generator) -> Surface:
    """Return the skin of one part: its colour with rust, dirt and brushing marks.

    `height` holds only the small bumps (pixels), to be added to the part's own relief.
    """
    finish, shape = FINISHES[name], u.shape
    base = np.float32(finish.colour)
    if name == "plastic":
        base = np.float32(rng.uniform(0.05, 0.8, 3))
    base = base * np.float32(rng.uniform(0.85, 1.1)) * rng.uniform(0.96, 1.04, 3).astype(np.float32)
    colour = np.broadcast_to(base, (*shape, 3)).astype(np.float32)
    # Brushing follows the part's own axis, so it turns with the part.
    marks = np.sin(v * rng.uniform(1.5, 2.5) + 3 * noise(shape, 9, rng)) * noise(shape, 3, rng)
    bumps = finish.grain * 0.25 * marks + 0.5 * noise(shape, 11, rng) * finish.metal
    gloss = np.full(shape, finish.gloss, np.float32) + 0.1 * noise(shape, 12, rng)
    metal = np.full(shape, finish.metal, np.float32)
    dirt = smoothstep(0.3, 1.2, clouds(shape, 14, rng, 3)) * rng.uniform(0, 0.7)
    colour = mix(colour, (0.10, 0.08, 0.06), dirt)
    if finish.rust and rng.random() < 0.25 + finish.rust:
        reach = 0.9 - finish.rust * rng.uniform(0.5, 1.0)
        rust = smoothstep(reach, reach + 0.5, clouds(shape, rng.uniform(8, 22), rng))
        fine = noise(shape, 1.5, rng)
        tint = mix(
            np.full((*shape, 3), (0.46, 0.22, 0.09), np.float32),
            (0.22, 0.11, 0.07),
            smoothstep(-0.5, 0.6, noise(shape, 5, rng)),
        )
        colour = mix(colour, tint * (1 + 0.25 * fine[..., None]), rust)
        metal, gloss = metal * (1 - rust), gloss * (1 - 0.85 * rust)
        bumps = bumps + 0.35 * rust * fine
    return Surface(np.clip(colour, 0, 1), bumps, metal, np.clip(gloss, 0.02, 1))


def _wood(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    light, dark = ((0.70, 0.52, 0.33), (0.42, 0.27, 0.15))
    if rng.random() < 0.4:
        light, dark = ((0.45, 0.33, 0.23), (0.22, 0.15, 0.10))
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    bend = noise(shape, (70, 400), rng) * 3 + noise(shape, (25, 160), rng) * 0.7
    rings = np.sin(y / rng.uniform(7, 16) + bend * 2.2) * 0.5 + 0.5
    fibres = noise(shape, (1.3, 45), rng)
    weight = np.clip(0.55 * rings + 0.28 * fibres + 0.3 * noise(shape, 120, rng), 0, 1)
    colour = mix(np.full((*shape, 3), light, np.float32), dark, weight)
    plank = rng.uniform(110, 260)
    seam = np.abs((y + rng.uniform(0, plank)) % plank - plank / 2)
    gap = np.broadcast_to(smoothstep(3.0, 1.0, seam), shape).astype(np.float32)
    colour = mix(colour, (0.05, 0.03, 0.02), gap * 0.9)
    return Surface(colour, 0.5 * fibres - 2 * gap, np.zeros(shape), np.full(shape, 0.2))


def _steel(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    tone = rng.uniform(0.35, 0.6)
    brushed = noise(shape, (1.0, 60), rng)
    colour = np.full((*shape, 3), (tone, tone, tone * 1.03), np.float32)
    colour = colour * (1 + 0.10 * brushed[..., None] + 0.08 * noise(shape, 90, rng)[..., None])
    stain = smoothstep(0.4, 1.7, clouds(shape, 110, rng, 6))
    colour = mix(colour, (0.36, 0.22, 0.13), stain * rng.uniform(0, 0.8))
    metal = np.full(shape, 0.75, np.float32) * (1 - stain)
    return Surface(colour, 0.18 * brushed, metal, np.full(shape, 0.35))


def _cloth(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    base = [(0.22, 0.28, 0.42), (0.55, 0.52, 0.46), (0.45, 0.16, 0.14), (0.3, 0.33, 0.3)]
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    sway = 2.5 * noise(shape, 60, rng)
    pitch = rng.uniform(3.2, 5.0)
    weave = np.sin((x + sway) * 2 * np.pi / pitch) * np.sin((y - sway) * 2 * np.pi / pitch)
    folds = 10 * noise(shape, 130, rng) + 4 * noise(shape, 45, rng)
    colour = np.full((*shape, 3), base[rng.integers(4)], np.float32)
    colour = colour * (1 + 0.20 * weave[..., None] + 0.12 * noise(shape, 2.2, rng)[..., None])
    colour = mix(colour, (0.08, 0.07, 0.06), 0.8 * smoothstep(0.6, 1.1, clouds(shape, 60, rng)))
    return Surface(colour, 0.5 * weave + folds, np.zeros(shape), np.full(shape, 0.02))


def _concrete(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    tone = rng.uniform(0.38, 0.6)
    rough, fine = clouds(shape, 90, rng, 5), noise(shape, 1.2, rng)
    colour = np.full((*shape, 3), (tone, tone * 0.98, tone * 0.94), np.float32)
    colour = colour * (1 + 0.13 * rough[..., None] + 0.10 * fine[..., None])
    pits = smoothstep(1.35, 1.8, noise(shape, 4.5, rng) + noise(shape, 35, rng))
    colour = mix(colour, (0.20, 0.19, 0.17), 0.8 * pits)
    return Surface(colour, 0.4 * fine - 2 * pits + rough, np.zeros(shape), np.full(shape, 0.06))


def _mat(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    base = [(0.10, 0.32, 0.24), (0.12, 0.13, 0.14), (0.13, 0.22, 0.36)][rng.integers(3)]
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    pitch, turn = rng.uniform(35, 80), rng.uniform(-0.3, 0.3)
    across, down = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    lines = [smoothstep(1.6, 0.5, np.abs((axis + 7) % pitch - 3)) for axis in (across, down)]
    colour = np.full((*shape, 3), base, np.float32) * (1 + 0.15 * noise(shape, 1.5, rng)[..., None])
    colour = mix(colour, (0.62, 0.62, 0.5), 0.55 * np.maximum(*lines))
    cuts = smoothstep(0.93, 0.99, np.abs(np.sin(across / 60 + noise(shape, 200, rng) * 3)))
    colour = mix(colour, (0.35, 0.4, 0.38), 0.25 * cuts * smoothstep(0, 0.5, noise(shape, 40, rng)))
    return Surface(colour, 0.3 * noise(shape, 1.5, rng), np.zeros(shape), np.full(shape, 0.15))


def _card(shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    x = np.arange(shape[1], dtype=np.float32)[None, :]
    flutes = np.broadcast_to(np.sin(x * 2 * np.pi / rng.uniform(9, 15)), shape)
    colour = np.full((*shape, 3), (0.62, 0.47, 0.31), np.float32)
    spots = noise(shape, 1.4, rng) + 0.6 * noise(shape, (1.5, 12), rng)
    colour = colour * (1 + 0.08 * spots[..., None] + 0.1 * noise(shape, 120, rng)[..., None])
    return Surface(colour, 0.5 * flutes + 0.2 * spots, np.zeros(shape), np.full(shape, 0.04))


_BENCHES = {
    "wood": _wood,
    "steel": _steel,
    "cloth": _cloth,
    "concrete": _concrete,
    "mat": _mat,
    "card": _card,
}


def bench_surface(name: str, shape: tuple[int, int], rng: np.random.Generator) -> Surface:
    """Return a bench of `shape` (height, width) pixels with oil, scratches and dust on it."""
    turned = rng.random() < 0.4
    surface = _BENCHES[name](shape[::-1] if turned else shape, rng)
    if turned:
        surface = Surface(
            surface.colour.transpose(1, 0, 2), surface.height.T, surface.metal.T, surface.gloss.T
        )
    if rng.random() < 0.5:
        edge = rng.uniform(0.5, 0.9)
        oil = smoothstep(edge, edge + 0.7, clouds(shape, 190, rng, 4))
        surface.colour = mix(surface.colour, surface.colour * np.float32(0.5), oil)
        surface.gloss = surface.gloss + 0.4 * oil
    for _ in range(rng.integers(0, 7)):
        surface.colour = _scratch(surface.colour, rng)
    dust = smoothstep(1.05, 1.25, noise(shape, 2.5, rng))
    surface.colour = mix(surface.colour, (0.3, 0.28, 0.25), 0.6 * dust)
    return surface


def _scratch(colour: Field, rng: np.random.Generator) -> Field:
    tall, wide = colour.shape[:2]
    y, x = np.ogrid[:tall, :wide]
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.0006)
    u = (x - rng.uniform(0, wide)) * np.cos(angle) + (y - rng.uniform(0, tall)) * np.sin(angle)
    v = (y - rng.uniform(0, tall)) * np.cos(angle) - (x - rng.uniform(0, wide)) * np.sin(angle)
    line = smoothstep(1.2, 0.3, np.abs(v + bend * u * u))
    line = line * smoothstep(rng.uniform(60, 300), 20, np.abs(u)) * rng.uniform(0.1, 0.4)
    tone = rng.choice([0.05, 0.8])
    return mix(colour, (tone, tone, tone), line.astype(np.float32))
