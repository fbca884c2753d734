"""Places: a textured box around the actors, and things standing in it.

Every place is a box seen from inside: a room's walls are near, a park's are far and painted with trees and sky. A ray
through a box needs three divisions, so a moving camera gets a correct background in every frame.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tubelet.kernels import kernel
from tubelet.playground import shapes, textures
from tubelet.playground.raster import PLAIN, Buffers, Surface, draw, draw_shadow
from tubelet.playground.scene import Place

KINDS = ("room", "street", "park", "hall")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenery:
    """A place, ready to draw."""

    low: np.ndarray
    """float32 (3,), the box's corner with the smallest coordinates, metres; its floor is at z = 0."""
    high: np.ndarray
    """float32 (3,)."""
    floor: np.ndarray
    """uint8 (levels, S, S, 3), ever more blurred."""
    floor_period: float
    """Metres after which the floor repeats."""
    walls: np.ndarray
    """uint8 (4, H, W, 3): at high y, high x, low y, low x; top row first, left to right seen from inside."""
    ceiling: np.ndarray
    """float32 (3,), its colour."""
    furniture: tuple[tuple[np.ndarray, Surface], ...]
    """World points float32 (vertices, 3) and look of what stands around."""


def _pyramid(image: np.ndarray, gain: float) -> np.ndarray:
    """Blurred copies of a tiling image, uint8 (4, S, S, 3): windows of 1, 4, 16 and 64 texels."""
    levels, current = [image], image
    for width in (4, 16, 64):
        for axis in (0, 1):
            wrapped = np.concatenate([current, np.take(current, np.arange(width), axis=axis)], axis=axis)
            total = np.cumsum(wrapped, axis=axis, dtype=np.float32)
            size = image.shape[axis]
            current = (
                np.take(total, np.arange(width, width + size), axis=axis) - np.take(total, np.arange(size), axis=axis)
            ) / width
        levels.append(current)
    return np.clip(np.stack(levels) * gain, 0, 255).astype(np.uint8)


def _stack_walls(walls: list[np.ndarray], shades: tuple[float, ...]) -> np.ndarray:
    """Brings four walls to the size of the largest, uint8 (4, H, W, 3)."""
    height, width = max(w.shape[0] for w in walls), max(w.shape[1] for w in walls)
    out = np.empty((4, height, width, 3), dtype=np.uint8)
    for k, (wall, shade) in enumerate(zip(walls, shades, strict=True)):
        rows = np.arange(height) * wall.shape[0] // height
        columns = np.arange(width) * wall.shape[1] // width
        out[k] = np.clip(wall[rows][:, columns] * shade, 0, 255).astype(np.uint8)
    return out


def _stand(mesh: shapes.Mesh, x: float, y: float, yaw: float, colour: np.ndarray) -> tuple[np.ndarray, Surface]:
    """A mesh (z = 0 at its foot) in the world."""
    turned = shapes.move(shapes.turned(mesh, "z", float(np.degrees(yaw))), x, y)
    colours = np.where(np.isnan(mesh.colours), colour, mesh.colours).astype(np.float32)
    surface = Surface(
        faces=mesh.faces, colours=colours, second_colours=colours, texture_points=mesh.vertices, two_sided=True,
        patterns=np.full(len(colours), PLAIN, dtype=np.uint8),
    )  # fmt: skip
    return turned.vertices, surface


def _cupboard(rng: np.random.Generator) -> shapes.Mesh:
    w, h = float(rng.uniform(0.7, 1.6)), float(rng.uniform(0.8, 2.0))
    doors = [
        shapes.move(shapes.block(0.02, w * 0.44, h * 0.9, (225, 220, 205)), -0.24, s * w * 0.24, h / 2) for s in (-1, 1)
    ]
    return shapes.join(shapes.move(shapes.block(0.45, w, h), 0, 0, h / 2), *doors)


def _sofa(rng: np.random.Generator) -> shapes.Mesh:
    w = float(rng.uniform(1.3, 2.1))
    arms = [shapes.move(shapes.block(0.8, 0.2, 0.6), 0, s * w / 2, 0.3) for s in (-1, 1)]
    return shapes.join(
        shapes.move(shapes.block(0.8, w, 0.42), 0, 0, 0.21),
        shapes.move(shapes.block(0.2, w, 0.85), 0.32, 0, 0.42),
        *arms,
    )


def _plant(rng: np.random.Generator) -> shapes.Mesh:
    pot = shapes.lathe(((1e-4, 0.0), (0.14, 0.0), (0.19, 0.36), (1e-4, 0.34)), (168, 92, 60), 10)
    leaves = [
        shapes.move(shapes.ball(float(rng.uniform(0.14, 0.24)), (52, int(rng.integers(90, 140)), 50), 7, 9),
                    float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.15, 0.15)), float(rng.uniform(0.5, 1.0)))
        for _ in range(4)
    ]  # fmt: skip
    return shapes.join(pot, *leaves)


def _tree(rng: np.random.Generator) -> shapes.Mesh:
    trunk = shapes.lathe(((0.17, 0.0), (0.12, 1.4), (0.08, 2.4)), (96, 72, 52), 8)
    green = np.array([60, 104, 46]) * rng.uniform(0.75, 1.3)
    crown = [
        shapes.move(shapes.ball(float(rng.uniform(0.7, 1.1)), shapes.rgb(green * rng.uniform(0.85, 1.15)), 7, 10),
                    float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)), float(rng.uniform(2.2, 3.4)))
        for _ in range(4)
    ]  # fmt: skip
    return shapes.join(trunk, *crown)


def _car(rng: np.random.Generator) -> shapes.Mesh:
    wheels = [
        shapes.move(shapes.turned(shapes.tube(0.32, 0.2, (30, 30, 32), 12), "x", 90), x, y, 0.32)
        for x in (-1.3, 1.3) for y in (-0.8, 0.8)
    ]  # fmt: skip
    cabin = shapes.move(shapes.block(2.1, 1.5, 0.55, (70, 84, 96)), -0.1, 0, 1.15)
    roof = shapes.move(shapes.block(1.9, 1.45, 0.06), -0.1, 0, 1.45)
    return shapes.join(shapes.move(shapes.block(4.1, 1.7, 0.6), 0, 0, 0.6), cabin, roof, *wheels)


def _post(rng: np.random.Generator) -> shapes.Mesh:
    height = float(rng.uniform(2.6, 4.0))
    lamp = shapes.move(shapes.ball(0.16, (240, 236, 210)), 0, 0, height)
    return shapes.join(shapes.move(shapes.tube(0.06, height, (60, 64, 66)), 0, 0, height / 2), lamp)


def _bench(rng: np.random.Generator) -> shapes.Mesh:
    parts = [shapes.move(shapes.block(0.4, 1.6, 0.06, (130, 90, 56)), 0, 0, 0.45),
             shapes.move(shapes.block(0.06, 1.6, 0.35, (130, 90, 56)), 0.2, 0, 0.7)]  # fmt: skip
    return shapes.join(
        *parts, *(shapes.move(shapes.block(0.36, 0.06, 0.43, (60, 60, 62)), 0, s * 0.65, 0.21) for s in (-1, 1))
    )


def _mats(rng: np.random.Generator) -> shapes.Mesh:
    layers = int(rng.integers(2, 6))
    return shapes.join(*(
        shapes.move(shapes.block(1.2, 2.0, 0.16, shapes.rgb(rng.integers(50, 200, size=3))), 0, 0, 0.08 + 0.17 * k)
        for k in range(layers)
    ))  # fmt: skip


def _column(rng: np.random.Generator) -> shapes.Mesh:
    return shapes.move(shapes.tube(float(rng.uniform(0.2, 0.35)), 5.0, None, 12), 0, 0, 2.5)


_STANDING = {
    "room": (_cupboard, _cupboard, _sofa, _plant),
    "street": (_tree, _car, _post, _bench),
    "park": (_tree, _tree, _tree, _bench, _post),
    "hall": (_mats, _column, _plant, _bench, _cupboard),
}


def _furnish(kind: str, rng: np.random.Generator, back: float) -> tuple[tuple[np.ndarray, Surface], ...]:
    """Things behind the actors: never between them and the default camera."""
    placed = []
    deep = kind in ("street", "park")
    for slot in range(int(rng.integers(3, 7))):
        make = _STANDING[kind][int(rng.integers(len(_STANDING[kind])))]
        x = -6.0 + 2.4 * slot + float(rng.uniform(-0.7, 0.7))
        y = float(rng.uniform(3.6, back - 1.2)) if deep else back - 0.45
        yaw = 0.0 if make is _car else (float(rng.uniform(0, 6)) if make is _tree else np.pi / 2)
        if make is _car:
            y = back - 1.4
        colour = np.clip(rng.uniform(50, 215) + rng.uniform(-45, 45, size=3), 10, 245)
        placed.append(_stand(make(rng), x, y, yaw, colour))
    return tuple(placed)


def _indoors(kind: str, rng: np.random.Generator, gain: float) -> Scenery:
    hall = kind == "hall"
    width, height = (9.0, 5.0) if hall else (float(rng.uniform(6.0, 7.5)), float(rng.uniform(2.7, 3.3)))
    back = float(rng.uniform(5.5, 7.5) if hall else rng.uniform(3.2, 4.6))
    front = -14.0
    paint = (rng.uniform(120, 225) + rng.uniform(-28, 28, size=3)).astype(np.float32)
    floors = (textures.court, textures.tiles, textures.asphalt, textures.planks) if hall else (
        textures.planks, textures.tiles, textures.carpet, textures.planks)  # fmt: skip
    floor = floors[int(rng.integers(4))](rng)
    busy = float(rng.uniform(0.3, 0.95))
    spans = (2 * width, back - front, 2 * width, back - front)
    walls = [textures.indoor_wall(rng, span, height, paint, busy) for span in spans]
    return Scenery(
        low=np.array([-width, front, 0], dtype=np.float32),
        high=np.array([width, back, height], dtype=np.float32),
        floor=_pyramid(floor, gain),
        floor_period=float(rng.uniform(2.4, 4.0)) * (2.0 if hall else 1.0),
        walls=_stack_walls(walls, (gain, 0.86 * gain, gain, 0.8 * gain)),
        ceiling=np.clip(paint * 0.3 + 150 * gain, 0, 255).astype(np.float32),
        furniture=_furnish(kind, rng, back),
    )


def _outdoors(kind: str, rng: np.random.Generator, gain: float) -> Scenery:
    overcast = rng.random() < 0.4
    sky = np.array([205, 208, 212] if overcast else [150, 190, 230], dtype=np.float32) * rng.uniform(0.85, 1.08)
    far = 45.0
    street = kind == "street"
    back = float(rng.uniform(6.5, 10.0)) if street else far
    floors = (
        (textures.asphalt, textures.tiles, textures.asphalt)
        if street
        else (textures.grass, textures.grass, textures.sand)
    )
    floor = floors[int(rng.integers(3))](rng)
    height = 11.0 if street else 26.0
    trees = textures.treeline(rng, 640, sky)
    walls = [textures.facade(rng, 60.0, height, sky) if street else trees, trees, trees, trees]
    return Scenery(
        low=np.array([-30 if street else -far, -far, 0], dtype=np.float32),
        high=np.array([30 if street else far, back, height], dtype=np.float32),
        floor=_pyramid(floor, gain),
        floor_period=float(rng.uniform(3.0, 5.0)),
        walls=_stack_walls(walls, (gain,) * 4),
        ceiling=np.clip(sky * gain, 0, 255).astype(np.float32),
        furniture=_furnish(kind, rng, min(back, 11.0)),
    )


@lru_cache(maxsize=64)
def build(kind: str, seed: int, gain: float = 1.0) -> Scenery:
    """A place.

    Args:
        kind: One of ``KINDS``.
        seed: Decides everything else.
        gain: Brightness.

    Raises:
        ValueError: If there is no such kind of place.
    """
    if kind not in KINDS:
        raise ValueError(f"no place is called {kind!r}; there are {', '.join(KINDS)}")
    rng = np.random.default_rng([KINDS.index(kind), seed])
    return (_indoors if kind in ("room", "hall") else _outdoors)(kind, rng, gain)


def for_place(place: Place) -> Scenery:
    """The scenery of a place; more ambient light makes it brighter."""
    return build(place.kind, place.seed, round(0.8 + 0.4 * place.ambient, 3))


def draw_scenery(
    buffers: Buffers, scenery: Scenery, view: np.ndarray, light: np.ndarray, ambient: float, step: int
) -> None:
    """Fills image and depth with a place and clears ids, stamps and shadow.

    Args:
        buffers: Overwritten.
        scenery: What to draw.
        view: From ``raster.view_projection``.
        light: float32 (3,), unit.
        ambient: 0..1.
        step: 1 casts a ray per buffer pixel, 2 one per 2 x 2 block.
    """
    inverse = np.linalg.inv(view[:, :3].astype(np.float64))
    eye = (-inverse @ view[:, 3].astype(np.float64)).astype(np.float32)
    _cast_rays(
        inverse.astype(np.float32), eye, scenery.low, scenery.high, scenery.floor, np.float32(scenery.floor_period),
        scenery.walls, scenery.ceiling, step, buffers.image, buffers.depth,
    )  # fmt: skip
    buffers.ids[:] = 0
    buffers.stamps[:] = 0
    buffers.shadow[:] = 0
    for points, surface in scenery.furniture:
        draw_shadow(buffers, points, surface.faces, view, light)
    for points, surface in scenery.furniture:
        draw(buffers, points, surface, view, light, ambient, 0)


@kernel(fastmath=True)
def _cast_rays(inverse, eye, low, high, floor, period, walls, ceiling, step, image, depth):  # type: ignore[no-untyped-def]
    """Intersects a ray per step x step block with the box and looks up its texture."""
    rows, columns = depth.shape
    texels, tall, wide = floor.shape[1], walls.shape[1], walls.shape[2]
    one, tiny = np.float32(1), np.float32(1e-6)
    # A texel is a pixel wide at this distance; beyond it, blurrier levels avoid glitter.
    sharp = (
        np.float32(period / texels * rows / step)
        / (inverse[2, 1] * inverse[2, 1] + inverse[0, 1] ** 2 + inverse[1, 1] ** 2) ** np.float32(0.5)
        / 2
    )
    for y in range(0, rows, step):
        v = one - np.float32(2 * y + step) / np.float32(rows)
        for x in range(0, columns, step):
            u = np.float32(2 * x + step) / np.float32(columns) - one
            # inverse maps (u, v, 1) at distance 1 along the axis to a world direction.
            dx = inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]
            dy = inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]
            dz = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]
            tx = ((high[0] if dx > 0 else low[0]) - eye[0]) / (dx if abs(dx) > tiny else tiny)
            ty = ((high[1] if dy > 0 else low[1]) - eye[1]) / (dy if abs(dy) > tiny else tiny)
            tz = ((high[2] if dz > 0 else low[2]) - eye[2]) / (dz if abs(dz) > tiny else tiny)
            if tz <= tx and tz <= ty:
                t = tz
                if dz > 0:
                    r, g, b = ceiling[0], ceiling[1], ceiling[2]
                else:
                    s = t / max(sharp, tiny) * max(one, np.float32(0.35) / max(-dz, np.float32(0.02)))
                    level = 0 if s < 2 else (1 if s < 8 else (2 if s < 32 else 3))
                    p, q = (eye[0] + t * dx) / period, (eye[1] + t * dy) / period
                    i, j = int((p - np.floor(p)) * texels) % texels, int((q - np.floor(q)) * texels) % texels
                    texel = floor[level, j, i]
                    r, g, b = np.float32(texel[0]), np.float32(texel[1]), np.float32(texel[2])
            else:
                t = min(tx, ty)
                if ty <= tx:
                    wall = 0 if dy > 0 else 2
                    p = (eye[0] + t * dx - low[0]) / (high[0] - low[0])
                    p = p if dy > 0 else one - p
                else:
                    wall = 1 if dx > 0 else 3
                    p = (eye[1] + t * dy - low[1]) / (high[1] - low[1])
                    p = one - p if dx > 0 else p
                q = one - (eye[2] + t * dz) / high[2]
                i, j = min(max(int(p * wide), 0), wide - 1), min(max(int(q * tall), 0), tall - 1)
                texel = walls[wall, j, i]
                r, g, b = np.float32(texel[0]), np.float32(texel[1]), np.float32(texel[2])
            near = one / max(t, tiny)
            for k in range(y, min(y + step, rows)):
                for m in range(x, min(x + step, columns)):
                    depth[k, m] = near
                    image[k, m, 0], image[k, m, 1], image[k, m, 2] = np.uint8(r), np.uint8(g), np.uint8(b)
