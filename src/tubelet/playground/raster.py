"""A software rasteriser: z-buffer, id buffer, Gouraud shading, ground shadows; numpy and compiled loops only.

Buffers are SUPERSAMPLE times as large as the frame and averaged down. Depth is stored as 1 / distance along the view
axis, so larger is nearer and an empty buffer is zero. All kernels release the GIL.
"""

from dataclasses import dataclass

import numpy as np

from tubelet.kernels import kernel

SUPERSAMPLE = 2
NEAR = 0.15
"""Metres; faces with a corner nearer than this are dropped."""
PLAIN, HOOPS, PINSTRIPES, CHECKS, DOTS = range(5)
"""Patterns, drawn in rest-pose coordinates so that they move with the cloth."""
_SHADOW = 0.62


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """What a mesh looks like."""

    faces: np.ndarray
    """int32 (faces, 3), counter-clockwise seen from outside."""
    colours: np.ndarray
    """float32 (faces, 3), 0..255."""
    second_colours: np.ndarray
    """float32 (faces, 3), the other colour of a pattern."""
    patterns: np.ndarray
    """uint8 (faces,)."""
    texture_points: np.ndarray
    """float32 (vertices, 3), where patterns are evaluated."""
    two_sided: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Buffers:
    """Frame buffers of SUPERSAMPLE times the size of the frame."""

    image: np.ndarray
    """uint8 (H, W, 3)."""
    depth: np.ndarray
    """float32 (H, W), 1 / distance; 0 where nothing is."""
    ids: np.ndarray
    """uint8 (H, W)."""
    stamps: np.ndarray
    """uint8 (H, W), the last mesh whose outline covers a pixel, seen or not."""
    shadow: np.ndarray
    """uint8 (H, W), 1 where already in shadow."""


def make_buffers(width: int, height: int) -> Buffers:
    """Buffers for frames of width x height pixels."""
    shape = (height * SUPERSAMPLE, width * SUPERSAMPLE)
    return Buffers(
        image=np.zeros((*shape, 3), dtype=np.uint8),
        depth=np.zeros(shape, dtype=np.float32),
        ids=np.zeros(shape, dtype=np.uint8),
        stamps=np.zeros(shape, dtype=np.uint8),
        shadow=np.zeros(shape, dtype=np.uint8),
    )


def view_projection(eye: np.ndarray, target: np.ndarray, field_of_view: float, aspect: float) -> np.ndarray:
    """Matrix from world points to (x, y, distance) with x / distance and y / distance in -1..1 in view.

    Args:
        eye: (3,), metres.
        target: (3,), what the camera looks at; not straight above or below the eye.
        field_of_view: Vertical, degrees.
        aspect: Width over height.

    Returns:
        float32 (3, 4): rows give x right, y up (both scaled by the lens) and the distance along the view axis.
    """
    eye = np.asarray(eye, dtype=np.float64)
    forward = np.asarray(target, dtype=np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    lens = 1 / np.tan(np.radians(field_of_view) / 2)
    rows = np.stack([right * lens / aspect, np.cross(right, forward) * lens, forward])
    return np.concatenate([rows, -(rows @ eye)[:, None]], axis=1).astype(np.float32)


def draw(buffers: Buffers, points: np.ndarray, surface: Surface, view: np.ndarray, light: np.ndarray, ambient: float,
         ident: int) -> tuple[np.ndarray, int]:  # fmt: skip
    """Draws one mesh.

    Args:
        buffers: Drawn into.
        points: float32 (vertices, 3), world.
        surface: Faces and colours.
        view: From ``view_projection``.
        light: float32 (3,), unit direction to the light.
        ambient: 0..1.
        ident: Written to the id buffer where the mesh is nearest, 1..255 (0 for scenery).

    Returns:
        The mesh's outline float32 (4,), xyxy in buffer pixels, unclipped (nan when behind the camera), and the number
        of buffer pixels it would cover with nothing in front.
    """
    screen = np.empty((len(points), 5), dtype=np.float32)
    height, width = buffers.depth.shape
    outline = _project_and_shade(points, surface.faces, view, light, np.float32(ambient), width, height, screen)
    covered = _fill(
        screen, surface.faces, surface.colours, surface.second_colours, surface.patterns, surface.texture_points,
        surface.two_sided, ident, buffers.image, buffers.depth, buffers.ids, buffers.stamps,
    )  # fmt: skip
    return outline, int(covered)


def draw_shadow(buffers: Buffers, points: np.ndarray, faces: np.ndarray, view: np.ndarray, light: np.ndarray) -> None:
    """Darkens the ground (z = 0) where a mesh hides the light; draw shadows before meshes."""
    screen = np.empty((len(points), 3), dtype=np.float32)
    _cast(points, faces, view, light, screen, buffers.image, buffers.depth, buffers.shadow)


@kernel(fastmath=True)
def _project_and_shade(points, faces, view, light, ambient, width, height, screen):  # type: ignore[no-untyped-def]
    """Fills screen (vertices, 5): x, y in pixels, 1 / distance, distance, brightness."""
    normals = np.zeros((points.shape[0], 3), dtype=np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    half, one = np.float32(0.5), np.float32(1)
    low_x, low_y, high_x, high_y = np.float32(1e9), np.float32(1e9), np.float32(-1e9), np.float32(-1e9)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        w = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
        inverse = one / max(w, np.float32(1e-3))
        sx = ((view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]) * inverse + one) * half * width
        sy = (one - (view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]) * inverse) * half * height
        screen[i, 0], screen[i, 1], screen[i, 2], screen[i, 3] = sx, sy, inverse, w
        if w > NEAR:
            low_x, low_y, high_x, high_y = min(low_x, sx), min(low_y, sy), max(high_x, sx), max(high_y, sy)
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + np.float32(1e-12)
        diffuse = (normals[i, 0] * light[0] + normals[i, 1] * light[1] + normals[i, 2] * light[2]) / length
        # Wrapped light: skin and cloth have no hard terminator, and shapes stay readable on the dark side.
        wrapped = max((diffuse + np.float32(0.25)) / np.float32(1.25), np.float32(0))
        sky = half + half * normals[i, 2] / length
        screen[i, 4] = ambient * (np.float32(0.62) + np.float32(0.5) * sky) + (np.float32(1.2) - ambient) * wrapped
    return np.array([low_x, low_y, high_x, high_y], dtype=np.float32)


@kernel(inline="always")
def _uses_second(pattern, x, y, z):  # type: ignore[no-untyped-def]
    """Whether a pattern shows its second colour at a rest-pose point."""
    if pattern == HOOPS:
        return int(np.floor(z * np.float32(16))) % 2 == 0
    if pattern == PINSTRIPES:
        return int(np.floor(y * np.float32(18))) % 2 == 0
    if pattern == CHECKS:
        return (int(np.floor(z * np.float32(13))) + int(np.floor(y * np.float32(13)))) % 2 == 0
    u, v = z * np.float32(11), y * np.float32(11)
    u, v = u - np.floor(u) - np.float32(0.5), v - np.floor(v) - np.float32(0.5)
    return u * u + v * v < np.float32(0.09)


@kernel(fastmath=True)
def _fill(screen, faces, colours, seconds, patterns, texture, two_sided, ident, image, depth, ids, stamps):  # type: ignore[no-untyped-def]  # noqa: C901
    """Draws projected faces; returns how many pixels the mesh covers, seen or hidden."""
    height, width = depth.shape
    half, one, full = np.float32(0.5), np.float32(1), np.float32(255)
    covered = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if screen[a, 3] < NEAR or screen[b, 3] < NEAR or screen[c, 3] < NEAR:
            continue
        x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (area > 0 and not two_sided):  # y points down, so outside faces have negative area
            continue
        left, right = (
            max(int(np.ceil(min(x0, x1, x2) - half)), 0),
            min(int(np.floor(max(x0, x1, x2) - half)), width - 1),
        )
        top, low = max(int(np.ceil(min(y0, y1, y2) - half)), 0), min(int(np.floor(max(y0, y1, y2) - half)), height - 1)
        if left > right or top > low:
            continue
        scale = one / area
        red, green, blue, pattern = colours[f, 0], colours[f, 1], colours[f, 2], patterns[f]
        step0, step1 = (y1 - y2) * scale, (y2 - y0) * scale
        for y in range(top, low + 1):
            py, px = np.float32(y) + half, np.float32(left) + half
            w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * scale
            w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * scale
            for x in range(left, right + 1):
                w2 = one - w0 - w1
                if w0 >= 0 and w1 >= 0 and w2 >= 0:
                    if ident and stamps[y, x] != ident:
                        stamps[y, x] = ident
                        covered += 1
                    z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                    if z > depth[y, x]:
                        depth[y, x], ids[y, x] = z, ident
                        s = w0 * screen[a, 4] + w1 * screen[b, 4] + w2 * screen[c, 4]
                        r, g, u = red, green, blue
                        if pattern and _uses_second(
                            pattern,
                            w0 * texture[a, 0] + w1 * texture[b, 0] + w2 * texture[c, 0],
                            w0 * texture[a, 1] + w1 * texture[b, 1] + w2 * texture[c, 1],
                            w0 * texture[a, 2] + w1 * texture[b, 2] + w2 * texture[c, 2],
                        ):
                            r, g, u = seconds[f, 0], seconds[f, 1], seconds[f, 2]
                        image[y, x, 0] = np.uint8(min(r * s, full))
                        image[y, x, 1] = np.uint8(min(g * s, full))
                        image[y, x, 2] = np.uint8(min(u * s, full))
                w0 += step0
                w1 += step1
    return covered


@kernel(fastmath=True)
def _cast(points, faces, view, light, screen, image, depth, shadow):  # type: ignore[no-untyped-def]  # noqa: C901
    """Projects faces along the light onto z = 0 and darkens each visible ground pixel once."""
    height, width = depth.shape
    half, one = np.float32(0.5), np.float32(1)
    for i in range(points.shape[0]):
        t = max(points[i, 2], np.float32(0)) / light[2]
        x, y = points[i, 0] - t * light[0], points[i, 1] - t * light[1]
        w = view[2, 0] * x + view[2, 1] * y + view[2, 3]
        inverse = one / max(w, np.float32(1e-3))
        screen[i, 0] = ((view[0, 0] * x + view[0, 1] * y + view[0, 3]) * inverse + one) * half * width
        screen[i, 1] = (one - (view[1, 0] * x + view[1, 1] * y + view[1, 3]) * inverse) * half * height
        screen[i, 2] = inverse if w > NEAR else np.float32(-1)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if screen[a, 2] < 0 or screen[b, 2] < 0 or screen[c, 2] < 0:
            continue
        x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        if (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) >= 0:
            continue
        left, right = (
            max(int(np.ceil(min(x0, x1, x2) - half)), 0),
            min(int(np.floor(max(x0, x1, x2) - half)), width - 1),
        )
        top, low = max(int(np.ceil(min(y0, y1, y2) - half)), 0), min(int(np.floor(max(y0, y1, y2) - half)), height - 1)
        nearest = max(screen[a, 2], screen[b, 2], screen[c, 2]) * np.float32(1.02)
        for y in range(top, low + 1):
            py = np.float32(y) + half
            for x in range(left, right + 1):
                # Scenery in front of the ground is nearer than the shadow's face and stays lit.
                if shadow[y, x] or depth[y, x] > nearest:
                    continue
                px = np.float32(x) + half
                if (x1 - px) * (y2 - py) - (x2 - px) * (y1 - py) > 0 or (x2 - px) * (y0 - py) - (x0 - px) * (
                    y2 - py
                ) > 0:
                    continue
                if (x0 - px) * (y1 - py) - (x1 - px) * (y0 - py) > 0:
                    continue
                shadow[y, x] = 1
                for k in range(3):
                    image[y, x, k] = np.uint8(np.float32(image[y, x, k]) * np.float32(_SHADOW))


@kernel(fastmath=True)
def average_down(image: np.ndarray, ids: np.ndarray, out: np.ndarray, out_ids: np.ndarray) -> None:
    """Averages 2 x 2 pixels; an id survives where it holds two of the four samples.

    Args:
        image: uint8 (2H, 2W, 3).
        ids: uint8 (2H, 2W).
        out: uint8 (H, W, 3), written.
        out_ids: uint8 (H, W), written.
    """
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for k in range(3):
                total = (
                    np.int32(image[2 * y, 2 * x, k]) + np.int32(image[2 * y, 2 * x + 1, k])
                    + np.int32(image[2 * y + 1, 2 * x, k]) + np.int32(image[2 * y + 1, 2 * x + 1, k])
                )  # fmt: skip
                out[y, x, k] = (total + 2) >> 2
            a, b = ids[2 * y, 2 * x], ids[2 * y, 2 * x + 1]
            c, d = ids[2 * y + 1, 2 * x], ids[2 * y + 1, 2 * x + 1]
            if a and a in (b, c, d):
                out_ids[y, x] = a
            elif b and b in (c, d):
                out_ids[y, x] = b
            elif c and c == d:
                out_ids[y, x] = c
            else:
                out_ids[y, x] = 0


@kernel()
def id_boxes(ids: np.ndarray, count: int) -> np.ndarray:
    """Boxes of ids 1 .. count.

    Args:
        ids: uint8 (H, W).
        count: How many ids.

    Returns:
        int64 (count, 5): x1, y1, x2, y2 (one past the last pixel) and the number of pixels.
    """
    height, width = ids.shape
    boxes = np.zeros((count, 5), dtype=np.int64)
    boxes[:, 0], boxes[:, 1] = width, height
    for y in range(height):
        for x in range(width):
            k = int(ids[y, x]) - 1
            if 0 <= k < count:
                boxes[k, 0], boxes[k, 1] = min(boxes[k, 0], x), min(boxes[k, 1], y)
                boxes[k, 2], boxes[k, 3] = max(boxes[k, 2], x + 1), max(boxes[k, 3], y + 1)
                boxes[k, 4] += 1
    return boxes
