"""What of a video is decoded for some of its frames: no more than they are made of, and the same pixels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
import torch
from numbered_video import painted

from tubelet.video import plan
from tubelet.video.decode import read_frames

# Packets in decoding order, "k" for a key frame, with the time each is shown at.
CLOSED = "k0 p3 b1 b2 k4 p7 b5 b6 k8 p9"
OPEN = "k0 p3 b1 b2 k6 b4 b5 p9 b7 b8"  # 4 and 5 follow the key frame 6 and refer to 3


def stretches(packets: str, needed: set[int]) -> list[list[int]]:
    made: Any = [SimpleNamespace(pts=int(p[1:]), is_keyframe=p[0] == "k") for p in packets.split()]
    return [[packet.pts for packet in stretch] for stretch in plan._needed_stretches(made, needed)]


@pytest.mark.parametrize(
    ("packets", "needed", "expected"),
    [
        (CLOSED, {2}, [[0, 3, 1, 2]]),
        (CLOSED, {1}, [[0, 3, 1]]),
        (CLOSED, {3}, [[0, 3]]),
        (CLOSED, {0, 5}, [[0], [4, 7, 5]]),
        (CLOSED, {2, 5}, [[0, 3, 1, 2, 4, 7, 5]]),  # nothing is left out before the key frame 4: one stretch
        (CLOSED, {1, 9}, [[0, 3, 1], [8, 9]]),  # nobody wants anything of 4..7
        (CLOSED, {4}, [[4]]),
        (OPEN, {1, 7}, [[0, 3, 1], [6, 4, 5, 9, 7]]),
        (OPEN, {1, 4, 7}, [[0, 3, 1, 2, 6, 4, 5, 9, 7]]),  # 4 needs what is before 6
        (OPEN, {5}, [[0, 3, 1, 2, 6, 4, 5]]),
    ],
)
def test_the_packets_that_frames_are_made_of(packets: str, needed: set[int], expected: list[list[int]]) -> None:
    assert stretches(packets, needed) == expected


@pytest.mark.parametrize("options", ["open-gop=1", "open-gop=0", "intra-refresh=1"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_far_apart_are_those_of_a_full_decode(tmp_path: Path, codec: str, options: str) -> None:
    path = tmp_path / "a.mp4"
    name = "x264-params" if codec == "libx264" else "x265-params"
    with av.open(str(path), "w") as box:
        parameters = f"{options}:keyint=12:min-keyint=12:scenecut=0:bframes=3:log-level=none"
        stream = box.add_stream(codec, rate=25, options={name: parameters, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(60):
            box.mux(stream.encode(av.VideoFrame.from_ndarray(painted(number), format="rgb24")))
        box.mux(stream.encode(None))
    whole = read_frames(path, [i / 25 for i in range(60)]).frames
    for first in range(12):
        for step in (5, 7, 16):
            wanted = list(range(first, 60, step))
            clip = read_frames(path, [i / 25 for i in wanted])
            assert torch.equal(clip.frames, whole[wanted]), (first, step)


def test_an_index_that_takes_every_frame_for_a_key_frame_is_not_believed(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with av.open(str(good), "w") as box:
        stream = box.add_stream("libx264", rate=25, options={"x264-params": "keyint=12:bframes=3"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(60):
            box.mux(stream.encode(av.VideoFrame.from_ndarray(painted(number), format="rgb24")))
        box.mux(stream.encode(None))
    content = good.read_bytes()
    assert content.count(b"stss") == 1
    bad.write_bytes(content.replace(b"stss", b"free"))  # no table of key frames: all are
    for wanted in (number / 100 for number in range(237)):  # between frames too, where their neighbours must be known
        ours, theirs = read_frames(bad, [wanted]), read_frames(good, [wanted])
        assert ours.pts_seconds.tolist() == theirs.pts_seconds.tolist()
        assert torch.equal(ours.frames, theirs.frames)
