"""Frames that belong together stand above each other, whatever the shape of their videos."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from shard_calls import write_video

from tubelet.corpus.strips import FRAME_HEIGHT, NUM_FRAMES, Row, evenly, strip
from tubelet.video.write import VideoWriter


def test_a_narrower_video_is_centred_below_a_wider_one(tmp_path: Path) -> None:
    write_video(tmp_path / "wide.mp4", 0)  # 64 x 48
    with VideoWriter(tmp_path / "narrow.mp4", width=32, height=48, fps=8.0) as writer:
        for _ in range(12):
            writer.write(np.full((48, 32, 3), 200, dtype=np.uint8))
    times = evenly(1.5)
    made = strip(None, [Row(tmp_path, name, times) for name in ("wide.mp4", "narrow.mp4")])
    assert made is not None
    picture = np.asarray(Image.open(io.BytesIO(made)).convert("L")).astype(int)
    assert picture.shape == (2 * FRAME_HEIGHT, NUM_FRAMES * 128)
    cells = picture[FRAME_HEIGHT:].reshape(FRAME_HEIGHT, NUM_FRAMES, 128)
    assert (np.abs(cells[:, :, 40:88] - 200) < 25).all()
    assert (cells[:, :, :24] < 25).all()
    assert (cells[:, :, 104:] < 25).all()


def test_a_video_that_cannot_be_read_has_no_strip(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert strip(None, [Row(tmp_path, "broken.mp4", (0.0,))]) is None
