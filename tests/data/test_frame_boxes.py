"""Frames that are counted become the times at which they are shown; what has no place in a video is counted."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numbered_video import number_of, painted, write_at, write_numbered, write_with_b_frames
from test_box_sources import CVAT, coco, rows, write_tubes
from text_files import put

from tubelet.data.sources import frame_clock
from tubelet.data.sources.coco_video import import_coco_video
from tubelet.data.sources.cvat import import_cvat
from tubelet.data.sources.multisports import import_multisports
from tubelet.types import VideoError
from tubelet.video.decode import read_frames

UNEVEN = [0.0, 0.04, 0.08, 0.4, 0.48, 0.52, 1.2, 1.24, 1.28, 1.9, 2.0]
"""Times of a camera that leaves pictures out: 4 frames a second on average."""


def cvat_of(path: Path, frames: list[int]) -> Path:
    head, _, _ = CVAT.partition("<track")
    boxes = "".join(f'<box frame="{n}" outside="0" xtl="16" ytl="9.6" xbr="80" ybr="96"/>' for n in frames)
    return put(path, f'{head}<track id="0" label="walk">{boxes}</track></annotations>')


def images(*frames: int, key: str = "frame_index", video: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"{video}.{n}", key: n, "video_id": video, "width": 160, "height": 96} for n in frames]


@pytest.mark.parametrize("begin", [0.0, 1.5])
def test_boxes_lie_on_the_frame_they_were_drawn_on(tmp_path: Path, begin: float) -> None:
    path = tmp_path / "media" / "film.mp4"
    path.parent.mkdir()
    write_at(path, [begin + time for time in UNEVEN])
    last = len(UNEVEN) - 1
    xml = cvat_of(tmp_path / "one.xml", [0, 3, last, last + 1, 5000])
    manifest = import_cvat(train=(xml,), media_root=path.parent, out=tmp_path / "out")
    times = [row[0] for row in rows(manifest, "pts_seconds")]
    assert [number_of(frame) for frame in read_frames(path, times).frames] == [0, 3, last]
    assert manifest.counts["rows_outside_video"] == 2


def test_tubes_lie_on_their_frames_too(tmp_path: Path) -> None:
    path = tmp_path / "media" / "Basketball" / "v_a.mp4"
    path.parent.mkdir(parents=True)
    write_at(path, [1.5 + time for time in UNEVEN])
    tube = np.array([[n, 32, 24, 160, 240] for n in (1, 4, 11, 12)], dtype=np.float32)
    annotations = write_tubes(tmp_path / "gt.pkl", gttubes={"Basketball/v_a": {0: [tube]}})
    manifest = import_multisports(annotations=annotations, media_root=tmp_path / "media", out=tmp_path / "out")
    times = [row[0] for row in rows(manifest, "pts_seconds")]
    assert [number_of(frame) for frame in read_frames(path, times).frames] == [0, 3, 10]
    assert (manifest.counts["rows_outside_video"], manifest.counts["videos_of_other_length"]) == (1, 0)


def test_an_avi_with_b_frames_and_frames_in_seconds_keep_their_times(tmp_path: Path) -> None:
    path = tmp_path / "media" / "film.avi"
    path.parent.mkdir()
    write_with_b_frames(path, 20, codec="mpeg4")
    one = cvat_of(tmp_path / "one.xml", [0, 5, 10])
    counted = import_cvat(train=(one,), media_root=path.parent, out=tmp_path / "counted")
    assert [row[0] for row in rows(counted, "pts_seconds")] == [0.0, 0.2, 0.4]
    path.unlink()
    write_at(path.with_suffix(".mp4"), UNEVEN)
    drawn = {"image_id": "1.1", "bbox": [16, 9.6, 64, 86.4], "category_id": 7}
    timed = put(tmp_path / "c.json", json.dumps(coco(images=images(1, key="pts_seconds"), annotations=[drawn])))
    manifest = import_coco_video(train=timed, media_root=path.parent, out=tmp_path / "timed")
    assert [row[0] for row in rows(manifest, "pts_seconds")] == [1.0]


def test_a_frame_that_is_there_lies_inside_whatever_length_the_file_claims(tmp_path: Path) -> None:
    path = tmp_path / "media" / "film.webm"
    path.parent.mkdir()
    with av.open(str(path), "w", options={"live": "1"}) as box:  # as a browser records: no length, no index
        stream = box.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format="yuv420p")
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    manifest = import_cvat(
        train=(cvat_of(tmp_path / "one.xml", [0, 5, 19]),), media_root=path.parent, out=tmp_path / "out"
    )
    assert [row[0] for row in rows(manifest, "pts_seconds")] == [0.0, 0.2, 0.76]


def test_images_with_nobody_that_have_no_place_are_counted(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    write_numbered(tmp_path / "media" / "film.mp4", num_frames=40)
    put(tmp_path / "media" / "notes.txt", "not a video")
    held = coco(
        videos=[{"id": 1, "name": "film"}, {"id": 2, "name": "gone"}],
        images=[*images(0, 10, 40, 5000), *images(0, 1, 2, video=2)],
        annotations=[
            {"image_id": "1.0", "bbox": [16, 9.6, 64, 86.4], "category_id": 7},
            {"image_id": "2.0", "bbox": [16, 9.6, 64, 86.4], "category_id": 7},
        ],
    )
    path = put(tmp_path / "coco.json", json.dumps(held))
    manifest = import_coco_video(train=path, media_root=tmp_path / "media", out=tmp_path / "out")
    assert manifest.keyframes.to_pylist() == [{"clip_id": "film", "pts_seconds": 0.4}]
    counts = manifest.counts
    assert (counts["keyframes_outside_video"], counts["keyframes_without_video"]) == (2, 2)
    assert (counts["videos_missing"], counts["boxes_without_video"]) == (1, 1)
    assert (counts["files_of_other_kinds"], counts["names_not_utf8"]) == (1, 0)


def test_a_video_whose_packets_cannot_be_read_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "media").mkdir()
    for name in ("film", "torn"):
        write_numbered(tmp_path / "media" / f"{name}.mp4", num_frames=20)
    whole = frame_clock.frame_times

    def times(path: Path) -> list[float] | None:
        if path.stem == "torn":
            raise VideoError(path, "cannot be decoded (Input/output error)")
        return whole(path)

    monkeypatch.setattr(frame_clock, "frame_times", times)
    one, two = cvat_of(tmp_path / "one.xml", [0, 5]), cvat_of(tmp_path / "two.xml", [0, 5, 6])
    put(two, two.read_text().replace("film.mp4", "torn.mp4"))
    manifest = import_cvat(train=(one, two), media_root=tmp_path / "media", out=tmp_path / "out")
    assert manifest.clips.column("clip_id").to_pylist() == ["one"]
    assert (manifest.counts["videos_unreadable"], manifest.counts["boxes_without_video"]) == (1, 3)
