"""Machine parts and bench clutter as height fields.

A shape is a function over a plane: for points ``(u, v)`` in pixels, in the shape's own frame
(origin at its centre, ``u`` along its axis), it gives the height above its support in pixels and
the signed distance to its outline in pixels (negative inside).  Light, shadow and anti-aliasing
follow from these two fields, so a shape never draws a pixel itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Relief = Callable[[Field, Field], tuple[Field, Field]]
Paint = Callable[[Field, Field, Field], Field]

LABELS = ("bolt", "nut", "washer", "screw")


@dataclass(frozen=True)
class Shape:
    """A solid on the bench.

    Attributes:
        reach: Radius in pixels of a circle around the origin that holds the whole shape.
        relief: ``(u, v) -> (height, outside)``, all of one shape, in pixels.
        paint: ``(u, v, colour) -> colour``; ``colour`` is ``[h, w, 3]`` in 0..1 (sRGB).
        finish: Name of the material in `bench.FINISHES`; None lets the scene choose one.
    """

    reach: float
    relief: Relief
    paint: Paint | None = None
    finish: str | None = None


def smoothstep(low: float, high: float, x: Field) -> Field:
    """Go from 0 at `low` to 1 at `high` with flat ends."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bevel(outside: Field, width: float) -> Field:
    """Return how far a rounded edge of `width` pixels drops below the flat top (0 or more)."""
    inside = np.clip(width + outside, 0, width * 1.5)
    return inside * inside / (2 * width)


def hexagon(u: Field, v: Field, apothem: float) -> Field:
    """Return the signed distance (its inner bound) to a hexagon with flats up and down."""
    slanted = np.abs(u) * np.float32(0.8660254) + np.abs(v) * 0.5
    return np.maximum(slanted, np.abs(v)) - apothem


def lying(u: Field, v: Field, radius: Field, start: float, end: float) -> tuple[Field, Field]:
    """Return relief and outline of a solid of revolution lying along `u` from start to end.

    `radius` is the radius at each point, so that a thread shows on the surface and the outline.
    """
    height = np.sqrt(np.maximum(radius * radius - v * v, 0.15))
    outside = np.maximum(np.abs(v) - radius, np.maximum(start - u, u - end))
    return height, outside


def thread(u: Field, v: Field, radius: float, pitch: float) -> Field:
    """Return the depth (0..1) of a right-handed thread as it winds over a cylinder seen from above.

    The angle around the axis moves the ridge by half a pitch from one edge to the other.
    """
    turn = np.arcsin(np.clip(v / radius, -1, 1)) / (2 * np.pi)
    phase = u / pitch + turn
    return np.abs(2 * (phase - np.floor(phase + 0.5)))


def join(*reliefs: tuple[Field, Field]) -> tuple[Field, Field]:
    """Return the union: at each point the relief whose outline holds it, the higher one first."""
    height, outside = reliefs[0]
    for other_height, other_outside in reliefs[1:]:
        inner = (other_outside < 0) & ((outside >= 0) | (other_height > height))
        inner |= (outside >= 0) & (other_outside < outside)
        height = np.where(inner, other_height, height)
        outside = np.minimum(outside, other_outside)
    return height, outside


def bolt(size: float, rng: np.random.Generator) -> Shape:
    """Return a hex bolt on its side, sometimes on its head's face (seen as a plain hexagon)."""
    if rng.random() < 0.10:
        return _hexagon_head(size, rng)
    length, head = size * rng.uniform(2.2, 5.5), size * rng.uniform(0.6, 0.75)
    half, apothem = (length + head) / 2, size * rng.uniform(0.80, 0.95)
    radius, pitch = size / 2, max(size * rng.uniform(0.16, 0.24), 2.2)
    plain = length * rng.choice([0.0, 0.0, 0.3, 0.5])
    flange = size * rng.uniform(1.0, 1.15) if rng.random() < 0.3 else 0.0
    flat_up = rng.random() < 0.6

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        edge = -half + head
        cut = thread(u, v, radius, pitch) * smoothstep(edge + plain, edge + plain + pitch, u)
        tip = smoothstep(half - 0.3 * size, half, u)
        shank = lying(u, v, radius * (1 - 0.17 * cut - 0.22 * tip), edge, half)
        width = apothem * (1.1547 if flat_up else 1.0)
        side = np.abs(v) / width
        # Three faces of the hexagonal prism are seen with a flat up, two with an edge up.
        faces = 1.0 - np.maximum(side - 0.5, 0) * 1.73 if flat_up else 1.1 - side * 0.55
        end = smoothstep(-half + 0.22 * head, -half, u)
        outside = np.maximum(
            np.abs(v) + end * 0.18 * apothem - width, np.maximum(-half - u, u - edge)
        )
        parts = [shank, (apothem * (faces - 0.18 * end) + radius * 0.3, outside)]
        if flange:
            ring = np.full_like(u, flange)
            parts.append(lying(u, v, ring, edge - 0.16 * size, edge))
        return join(*parts)

    return Shape(half * 1.03 + size, relief)


def _hexagon_head(size: float, rng: np.random.Generator) -> Shape:
    apothem, thick = size * rng.uniform(0.82, 0.95), size * 0.9
    mark = rng.random() < 0.5

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        distance = np.hypot(u, v)
        outside = hexagon(u, v, apothem)
        drop = np.maximum(distance - apothem * 0.93, 0) * 0.6 + bevel(outside, 0.12 * size)
        # A maker's mark: three raised strokes, as on a grade 5 bolt.
        stroke = np.cos(3 * np.arctan2(v, u)) * smoothstep(0.2, 0.5, distance / apothem)
        raised = 0.07 * size * smoothstep(0.90, 0.97, stroke) if mark else 0.0
        return thick - drop + raised, outside

    return Shape(apothem * 1.2, relief)


def nut(size: float, rng: np.random.Generator) -> Shape:
    """Return a hex nut lying flat, sometimes with a nylon ring or a flange, sometimes on edge."""
    if rng.random() < 0.12:
        return _nut_on_edge(size, rng)
    apothem, hole = size * rng.uniform(0.8, 0.95), size * rng.uniform(0.42, 0.5)
    thick = size * rng.uniform(0.7, 1.0)
    kind = rng.choice(["plain", "plain", "nylon", "flange"])
    nylon = np.array([(0.15, 0.3, 0.65), (0.8, 0.8, 0.78), (0.7, 0.15, 0.12)][rng.integers(3)])

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        distance = np.hypot(u, v)
        outer = hexagon(u, v, apothem)
        drop = np.maximum(distance - apothem * 0.95, 0) * 0.7 + bevel(outer, 0.1 * size)
        mouth = np.clip(hole + 0.16 * size - distance, 0, None)
        height = thick - drop - mouth * 1.2
        if kind == "nylon":
            ring = np.abs(distance - apothem * 0.72) < apothem * 0.2
            height = height + 0.12 * size * ring
        if kind == "flange":
            rim = distance - apothem * 1.32
            height = np.where(outer > 0, 0.22 * size - bevel(rim, 0.1 * size), height)
            outer = np.minimum(outer, rim)
        return height, np.maximum(outer, hole * 0.93 - distance)

    def paint(u: Field, v: Field, colour: Field) -> Field:
        ring = smoothstep(1.5, 0.0, np.abs(np.hypot(u, v) - apothem * 0.66) - apothem * 0.13)
        return colour + ring[..., None] * (nylon.astype(np.float32) - colour)

    return Shape(apothem * 1.4, relief, paint if kind == "nylon" else None)


def _nut_on_edge(size: float, rng: np.random.Generator) -> Shape:
    apothem, thick = size * 0.9, size * rng.uniform(0.38, 0.5)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        width = apothem * 1.1547
        side = np.abs(v) / width
        chamfer = smoothstep(0.6 * thick, thick, np.abs(u)) * np.maximum(side - 0.4, 0)
        height = apothem * (1 - np.maximum(side - 0.5, 0) * 1.73 - 0.4 * chamfer) + apothem
        return height, np.maximum(np.abs(v) + 0.25 * width * chamfer - width, np.abs(u) - thick)

    return Shape(apothem * 1.4, relief)


def washer(size: float, rng: np.random.Generator) -> Shape:
    """Return a flat washer; some are wide, split (spring) or toothed (lock)."""
    hole = size * rng.uniform(0.5, 0.58)
    kind = rng.choice(["flat", "flat", "wide", "spring", "tooth"])
    outer = hole + size * {"wide": 0.85, "spring": 0.3, "tooth": 0.42}.get(kind, 0.5)
    thick = size * (0.28 if kind == "spring" else 0.15)
    teeth = int(rng.integers(8, 13))

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        distance = np.hypot(u, v)
        rim = distance - outer
        height = np.full_like(u, thick)
        if kind == "tooth":
            wave = np.sin(teeth * np.arctan2(v, u))
            rim = rim + 0.16 * size * smoothstep(-0.2, 0.3, wave)
            height = height + 0.1 * size * wave * smoothstep(hole, outer, distance)
        outside = np.maximum(rim, hole - distance)
        if kind == "spring":
            gap = np.maximum(np.abs(v - 0.4 * (u - hole)) - 0.09 * size, hole * 0.5 - u)
            outside = np.maximum(outside, -gap)
            height = height + 0.15 * size * np.arctan2(v, u) / np.pi
        return height - bevel(outside, max(0.07 * size, 1.0)), outside

    return Shape(outer * 1.05, relief)


def screw(size: float, rng: np.random.Generator) -> Shape:
    """Return a wood screw on its side, sometimes head up (a disc with a slot or a cross)."""
    if rng.random() < 0.15:
        return _screw_head(size, rng)
    length, width = size * rng.uniform(3.0, 6.5), size * rng.uniform(0.8, 0.95)
    radius, pitch = size * rng.uniform(0.36, 0.44), max(size * rng.uniform(0.3, 0.42), 2.8)
    half, head = length / 2, size * rng.uniform(0.55, 0.7)
    dome = rng.random() < 0.3
    plain = (length - head) * rng.choice([0.0, 0.25, 0.4])

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        edge = -half + head
        t = np.clip((u + half) / head, 0, 1)
        cone = width - (width - radius * 0.8) * np.clip((t - 0.12) / 0.88, 0, 1) ** 0.8
        ball = width * np.sqrt(np.clip(1 - (1 - t) ** 2, 0, 1)) * 0.98 + 0.02
        start = edge + plain
        taper = 1 - smoothstep(half - 1.8 * size, half + 0.2 * size, u)
        ridge = 1 - thread(u, v, radius, pitch)
        cut = smoothstep(start, start + pitch, u)
        core = radius * (0.8 - 0.14 * cut) * taper
        shank = core + radius * 0.34 * cut * ridge**2 * (0.25 + 0.75 * taper)
        return join(
            lying(u, v, np.where(u < edge, 0.1, shank), edge - 1, half),
            lying(u, v, ball if dome else cone, -half, edge),
        )

    return Shape(half * 1.03 + size, relief)


def _screw_head(size: float, rng: np.random.Generator) -> Shape:
    radius, thick = size * rng.uniform(0.75, 0.95), size * 0.8
    crossed, arm = rng.random() < 0.7, size * rng.uniform(0.1, 0.14)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        outside = np.hypot(u, v) - radius
        slot = np.abs(v) - arm
        if crossed:
            slot = np.minimum(
                np.maximum(slot, np.abs(u) - 0.6 * radius),
                np.maximum(np.abs(u) - arm, np.abs(v) - 0.6 * radius),
            )
        dome = 0.25 * size * (1 - (np.hypot(u, v) / radius) ** 2)
        sunk = 0.45 * size * smoothstep(0.6, -0.8, slot)
        return thick + dome - bevel(outside, 0.12 * size) - sunk, outside

    return Shape(radius * 1.05, relief)


def nail(size: float, rng: np.random.Generator) -> Shape:
    """Return a round nail: a screw's outline without its thread."""
    half, radius = size * rng.uniform(2, 3.6), size * 0.22

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        shank = radius * np.clip((half - u) / (0.7 * size), 0.02, 1)
        head = np.full_like(u, radius * 2.1)
        return join(lying(u, v, shank, -half, half), lying(u, v, head, -half, -half + 0.2 * size))

    return Shape(half * 1.05, relief)


def ring(size: float, rng: np.random.Generator) -> Shape:
    """Return a rubber ring."""
    radius, tube = size * rng.uniform(0.8, 1.5), size * rng.uniform(0.13, 0.22)
    squash = rng.uniform(0.8, 1.0)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        outside = np.abs(np.hypot(u, v / squash) - radius) - tube
        return np.sqrt(np.maximum(-outside * (2 * tube + outside), 0.1)) + tube, outside

    return Shape(radius + 2 * tube, relief, finish=str(rng.choice(["rubber", "plastic"])))


def coin(size: float, rng: np.random.Generator) -> Shape:
    """Return a coin with a raised rim and some relief."""
    radius = size * rng.uniform(1.1, 1.6)
    waves = rng.uniform(2, 7, 4)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        distance = np.hypot(u, v)
        outside = distance - radius
        rim = smoothstep(0.80, 0.86, distance / radius)
        bust = np.sin(u * waves[0] / radius + waves[1]) * np.sin(v * waves[2] / radius + waves[3])
        stamp = 0.06 * size * smoothstep(0.1, 0.25, bust) * (1 - rim)
        return 0.2 * size + stamp + 0.06 * size * rim - bevel(outside, 0.06 * size + 0.5), outside

    return Shape(radius * 1.05, relief, finish=str(rng.choice(["brass", "copper", "steel"])))


def wire(size: float, rng: np.random.Generator) -> Shape:
    """Return a bent insulated wire."""
    radius, reach = size * rng.uniform(0.14, 0.24), size * rng.uniform(4, 9)
    bends = rng.normal(0, 1.0, 3) * reach * np.array([0.3, 0.12, 0.06])

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        t = u / reach * np.pi
        path = sum(b * np.sin((i + 1) * t / 2) for i, b in enumerate(bends))
        slope = sum(b * np.cos((i + 1) * t / 2) * (i + 1) for i, b in enumerate(bends))
        across = (v - path) / np.sqrt(1 + (slope * np.pi / 2 / reach) ** 2)
        return lying(u, across, np.full_like(u, radius), -reach * 0.9, reach * 0.9)

    return Shape(reach * 1.3, relief, finish="plastic")


def shaving(size: float, rng: np.random.Generator) -> Shape:
    """Return a curled chip as a lathe leaves it."""
    radius, width = size * rng.uniform(0.35, 0.9), size * rng.uniform(0.05, 0.12)
    sweep = rng.uniform(0.4, 2.6)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        angle = np.arctan2(v, u)
        curl = radius * (1 + 0.15 * angle)
        outside = np.maximum(np.abs(np.hypot(u, v) - curl) - width, (np.abs(angle) - sweep) * curl)
        return width * (1.5 + np.sin(angle * 5)) + 1, outside

    return Shape(radius * 1.7, relief, finish="steel")


def pencil(size: float, rng: np.random.Generator) -> Shape:
    """Return a hexagonal pencil with a sharpened end."""
    half, radius = size * rng.uniform(6, 9), size * rng.uniform(0.45, 0.6)
    coat = np.array([(0.85, 0.65, 0.1), (0.7, 0.1, 0.1), (0.1, 0.3, 0.2)][rng.integers(3)])

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        width = radius * np.clip((half - u) / (2.4 * size), 0.04, 1)
        faces = width * (1 - 0.87 * np.maximum(np.abs(v) / radius - 0.5, 0))
        return faces + radius, np.maximum(np.abs(v) - width, np.abs(u) - half)

    def paint(u: Field, v: Field, colour: Field) -> Field:
        wood = smoothstep(half - 2.5 * size, half - 2.4 * size, u)[..., None]
        lead = smoothstep(half - 0.7 * size, half - 0.65 * size, u)[..., None]
        colour = coat.astype(np.float32) * (1 - wood) + wood * np.float32([0.78, 0.6, 0.4])
        return colour * (1 - 0.85 * lead)

    return Shape(half * 1.05, relief, paint, "plastic")


def tape(size: float, rng: np.random.Generator) -> Shape:
    """Return a torn strip of masking tape."""
    half, width = size * rng.uniform(2, 4), size * rng.uniform(0.7, 1.4)
    phase = rng.uniform(0, 6, 2)

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        tear = np.sin(v * 9 / width + phase[0]) * np.sin(v * 4 / width + phase[1]) * 0.12 * size
        outside = np.maximum(np.abs(v) - width, np.abs(u) - half + tear)
        return 1 + 0.25 * np.sin(u * 1.7 / size) ** 4, outside

    return Shape(half * 1.5, relief, finish="paper")


def hex_key(size: float, rng: np.random.Generator) -> Shape:
    """Return an L-shaped hex key."""
    long, short, radius = size * rng.uniform(4, 6), size * 1.8, size * 0.27

    def relief(u: Field, v: Field) -> tuple[Field, Field]:
        shaft = np.maximum(np.abs(v) - radius, np.abs(u) - long / 2)
        bend = np.abs(u + long / 2) - radius
        arm = np.maximum(bend, np.abs(v - short / 2 + radius) - short / 2)
        first = radius * (2 - 0.9 * np.abs(v) / radius)
        second = radius * (2 - 0.9 * np.abs(u + long / 2) / radius)
        return join((first, shaft), (second, arm))

    return Shape(long / 2 + short, relief, finish="black")


PARTS: dict[str, Callable[[float, np.random.Generator], Shape]] = {
    "bolt": bolt,
    "nut": nut,
    "washer": washer,
    "screw": screw,
}
CLUTTER = (nail, ring, coin, wire, shaving, shaving, pencil, tape, hex_key)
