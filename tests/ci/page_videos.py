"""A red square that moves evenly over grey, in the codecs that people send, and where it is."""

from pathlib import Path

import av
import numpy as np

SIZE_WH = (320, 240)
FPS = 10
NUM_FRAMES = 40
BOX_WH = (60, 120)
TOP = 70


def left(seconds: float) -> float:
    """Left edge of the square in pixels, 40 a second."""
    return 20 + 40 * seconds


def frame(number: int, cut: int = NUM_FRAMES) -> np.ndarray:
    """Return a frame; from ``cut`` on the same happens before another background."""
    picture = np.full((SIZE_WH[1], SIZE_WH[0], 3), 110, dtype=np.uint8)
    if number >= cut:
        picture[:] = np.kron(np.random.default_rng(0).integers(40, 220, (6, 8, 1)), np.ones((40, 40, 1)))
    x = round(left(number / FPS))
    picture[TOP : TOP + BOX_WH[1], x : x + BOX_WH[0]] = (220, 20, 20)
    return picture


def write_square(path: Path, codec: str, cut: int = NUM_FRAMES) -> Path:
    """Write the video, with another shot from frame ``cut`` on; the file's ending says the container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE_WH, "yuv420p"
        stream.bit_rate = 2_000_000
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for number in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(number, cut), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def boxes_csv(path: Path, stems: list[str]) -> Path:
    """Write where the square is on every frame, as a detector's csv."""
    lines = []
    for stem in stems:
        for number in range(NUM_FRAMES):
            x = round(left(number / FPS))
            corners = (x / 320, TOP / 240, (x + BOX_WH[0]) / 320, (TOP + BOX_WH[1]) / 240)
            lines.append(f"{stem},{number / FPS:.6f}," + ",".join(f"{v:.6f}" for v in corners) + ",,0.9")
    path.write_text("\n".join(lines) + "\n")
    return path
