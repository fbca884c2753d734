"""Colours and scaling, held against arithmetic in floating point and against scaling the RGB picture."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numbered_video import write_numbered
from torch.nn.functional import interpolate

from tubelet.video import convert
from tubelet.video.container import OpenVideo, open_video
from tubelet.video.convert import Crop, FrameBatch, FrameSize
from tubelet.video.decode import read_frames
from tubelet.video.luma import iter_luma


def exact_rgb(yuv: np.ndarray, kr: float, kb: float, full: bool) -> np.ndarray:
    """ITU-R BT.601/709's equations: luma is kr R + kg G + kb B, chroma the scaled differences from it."""
    y, u, v = (yuv[..., i].astype(np.float64) for i in range(3))
    luma = y if full else (y - 16) * 255 / 219
    blue_difference, red_difference = ((c - 128) * (1 if full else 255 / 224) for c in (u, v))
    red = luma + 2 * (1 - kr) * red_difference
    blue = luma + 2 * (1 - kb) * blue_difference
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


def flat_frame(y: int, u: int, v: int, *, space: int, colour_range: int) -> av.VideoFrame:
    planes = [np.full(32 * 32, y, np.uint8), np.full(16 * 16, u, np.uint8), np.full(16 * 16, v, np.uint8)]
    frame = av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(48, 32), format="yuv420p")
    frame.colorspace, frame.color_range = space, colour_range
    return frame


@pytest.mark.parametrize(
    ("space", "kr", "kb"),
    [
        (1, 0.2126, 0.0722),
        (2, 0.299, 0.114),
        (4, 0.30, 0.11),
        (6, 0.299, 0.114),
        (7, 0.212, 0.087),
        (9, 0.2627, 0.0593),
    ],
)
@pytest.mark.parametrize("colour_range", [0, 1, 2])
@pytest.mark.parametrize("yuv", [(120, 90, 200), (16, 128, 128), (50, 200, 60), (255, 0, 255)])  # the last: no colour
def test_the_tagged_matrix_and_range_are_used_at_any_size(
    space: int, kr: float, kb: float, colour_range: int, yuv: tuple[int, int, int]
) -> None:
    frame = flat_frame(*yuv, space=space, colour_range=colour_range)
    expected = exact_rgb(np.array(yuv), kr, kb, colour_range == 2)
    for size, tolerance in ((FrameSize(), 3), (FrameSize(long_side=20), 0.51)):
        batch = FrameBatch("a.mp4", size, 1)
        batch.add(frame, 0.0)
        assert np.abs(batch.finish()[0].reshape(-1, 3) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "size",
    [FrameSize(exact_hw=(48, 65)), FrameSize(short_side=70), FrameSize(long_side=100, crop=Crop(40, 60, 0.3, 0.9))],
)
def test_scaling_is_that_of_the_rgb_picture_in_floating_point(tmp_path: Path, size: FrameSize) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=12)
    batch = FrameBatch("a.mp4", size, 12)
    pictures = []
    with open_video(path) as video:
        for frame in video.container.decode(video.stream):
            batch.add(frame, None)
            planes = frame.to_ndarray(format="yuv420p")[:, :160]  # luma, then both chroma planes, two rows in one
            chroma = torch.from_numpy(planes[96:].reshape(1, 2, 48, 80)).double()
            full = interpolate(chroma, size=(96, 160), mode="bilinear")[0].numpy()
            pictures.append(exact_rgb(np.stack([planes[:96], *full], axis=-1), 0.299, 0.114, full=False))
    width, height = size.scaled(160, 96)
    rgb = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    expected = interpolate(rgb, size=(height, width), mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
    if size.crop is not None:
        top, left = size.crop.place(height, width)
        expected = expected[:, top : top + size.crop.height, left : left + size.crop.width]
    small = batch.finish()
    assert small.shape == expected.shape
    difference = small - expected
    assert abs(difference.mean()) < 0.05
    assert np.abs(difference).mean() < 0.6
    assert np.percentile(np.abs(difference), 99) <= 4.5  # edges of saturated colour


def random_frame(rng: np.random.Generator, pixels: str, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pixels)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    return frame


def float64_rgb(frame: av.VideoFrame, height: int, width: int) -> np.ndarray:
    """Every plane scaled on its own by PyTorch in float64, then mixed; (H, W, 3), not rounded."""
    scaled = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        picture = torch.from_numpy(rows.astype(np.float64))[None, None]
        scaled.append(interpolate(picture, size=(height, width), mode="bilinear", antialias=True)[0, 0].numpy())
    return exact_rgb(np.stack(scaled, axis=-1), 0.299, 0.114, full=frame.format.name.startswith("yuvj"))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"])
@pytest.mark.parametrize(
    ("source_wh", "wanted_hw"),
    [
        ((340, 256), (128, 171)),
        ((97, 61), (31, 40)),
        ((640, 360), (45, 81)),
        ((21, 17), (64, 95)),
        ((16, 16), (20, 24)),
        ((3, 2), (9, 9)),
    ],
)
def test_planes_of_bytes_are_float64_rounded(
    pixels: str, source_wh: tuple[int, int], wanted_hw: tuple[int, int]
) -> None:
    frame = random_frame(np.random.default_rng(0), pixels, *source_wh)
    expected = float64_rgb(frame, *wanted_hw)
    batch = FrameBatch("a.mp4", FrameSize(exact_hw=wanted_hw), 1)
    batch.add(frame, None)
    difference = np.abs(batch.finish()[0] - expected)
    assert difference.max() <= 0.501  # half a level, and what float32 loses


@pytest.mark.parametrize(("width", "wanted_hw"), [(5, (33, 41)), (5, (10, 2)), (14, (40, 3)), (30, (11, 50))])
def test_rows_may_be_shorter_than_what_is_read_at_once(tmp_path: Path, width: int, wanted_hw: tuple[int, int]) -> None:
    """Uncompressed frames have no padding: their planes' rows are 3 to 15 bytes."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, 20, "yuv420p"
        box.mux(stream.encode(random_frame(np.random.default_rng(0), "yuv420p", width, 20)))
    with open_video(path) as video:
        frame = next(video.container.decode(video.stream))
        assert frame.planes[1].line_size < 16
        batch = FrameBatch("a.mkv", FrameSize(exact_hw=wanted_hw), 2, coded=video.coded)
        for _ in range(2):
            batch.add(frame, None)
    assert np.abs(batch.finish() - float64_rgb(frame, *wanted_hw)).max() <= 0.501


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("chromaloc", [None, 0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("wanted_hw", [(57, 91), (150, 260)])
def test_chroma_lies_where_the_stream_says(
    tmp_path: Path, pixels: str, chromaloc: int | None, wanted_hw: tuple[int, int]
) -> None:
    """Against swscale, on edges of colour: H.264's six places of chroma, and what it means where it does not say."""
    frame = random_frame(np.random.default_rng(2), pixels, 160, 96)
    for plane in frame.planes[1:]:
        rows = np.indices((plane.buffer_size // plane.line_size, plane.line_size)) // 8
        plane.update((28 + 200 * (rows.sum(axis=0) % 2)).astype(np.uint8).tobytes())
    frame.planes[0].update(bytes([120]) * frame.planes[0].buffer_size)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as box:
        options = {"qp": "1"} | ({} if chromaloc is None else {"x264-params": f"chromaloc={chromaloc}"})
        stream = box.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 96, pixels
        box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    with open_video(path) as video:
        read = next(video.container.decode(video.stream))
        batch = FrameBatch("a.mp4", FrameSize(exact_hw=wanted_hw), 1)
        batch.add(read, None)
        scaled = read.reformat(width=wanted_hw[1], height=wanted_hw[0], format="gbrp")
        planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, : wanted_hw[1]] for p in scaled.planes]
    difference = batch.finish()[0] - np.stack([planes[i] for i in (2, 0, 1)], axis=-1).astype(float)
    assert np.abs(difference).mean() < 0.5
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("space", [3, 8, 10, 15])
def test_a_colour_space_without_such_a_matrix_is_read_alike_at_every_size(space: int) -> None:
    outcomes = []
    for size in (FrameSize(), FrameSize(long_side=20)):
        batch = FrameBatch("a.mp4", size, 1)
        try:
            batch.add(flat_frame(120, 90, 200, space=space, colour_range=0), 0.0)
            outcomes.append(batch.finish()[0, 0, 0].tolist())
        except av.FFmpegError as error:
            outcomes.append(type(error))
    assert isinstance(outcomes[0], type) == isinstance(outcomes[1], type)
    if not isinstance(outcomes[0], type):
        assert np.abs(np.subtract(*outcomes)).max() <= 3


class Turned:
    """A frame whose file says that it is shown turned."""

    def __init__(self, frame: av.VideoFrame, turns: int) -> None:
        self.frame, self.rotation = frame, 90 * turns

    def __getattr__(self, name: str) -> object:
        return getattr(self.frame, name)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_crop_is_the_part_of_the_whole_upright_picture(turns: int) -> None:
    frame = Turned(random_frame(np.random.default_rng(1), "yuv420p", 64, 48), turns)
    height, width = (40, 31) if turns % 2 else (31, 40)
    crop = Crop(19, 23, 0.3, 0.8)
    pictures = []
    for kept in (None, crop):
        batch = FrameBatch("a.mp4", FrameSize(exact_hw=(height, width), crop=kept), 1)
        batch.add(frame, None)
        pictures.append(batch.finish()[0])
    assert np.abs(pictures[0] - np.rot90(float64_rgb(frame.frame, 31, 40), turns)).max() <= 0.501
    top, left = crop.place(height, width)
    np.testing.assert_array_equal(pictures[1], pictures[0][top : top + 19, left : left + 23])


def test_frames_of_another_format_or_size_join_the_batch(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=2)
    with open_video(path) as video:
        frame = next(video.container.decode(video.stream))
    others = [frame.reformat(format="gray"), frame.reformat(format="yuv420p10le"), frame.reformat(80, 48), frame]
    for first, second in ((frame, other) for other in others):
        for one, two in ((first, second), (second, first)):
            batch = FrameBatch("a.mp4", FrameSize(exact_hw=(30, 40)), 2)
            batch.add(one, None)
            batch.add(two, None)
            luma = batch.finish() @ np.array([0.299, 0.587, 0.114])
            assert np.abs(luma[0] - luma[1]).mean() < 2


def test_rewinding_forgets_what_a_failed_plan_added(tmp_path: Path) -> None:
    frames = [flat_frame(level, 128, 128, space=2, colour_range=0) for level in (50, 100, 150)]
    batch = FrameBatch("a.mp4", FrameSize(long_side=8), 2)
    batch.add(frames[0], None)
    batch.add(frames[1], None)
    batch.rewind(1)
    assert batch.add(frames[2], None) == 1
    assert batch.finish()[:, 0, 0, 0].tolist() == [40, 156]  # (50 - 16) and (150 - 16) times 255 / 219


def test_crop_places_halves_up_and_must_fit() -> None:
    assert Crop(112, 112).place(128, 171) == (8, 30)  # 29.5
    assert Crop(112, 112, 0.0, 1.0).place(128, 171) == (0, 59)
    with pytest.raises(ValueError, match="112x112 does not fit a frame of 100x171"):
        Crop(112, 112).place(100, 171)
    for height, width, y, x in ((0, 10, 0.5, 0.5), (10, -3, 0.5, 0.5), (10, 10, 2.0, 0.5), (10, 10, 0.5, -0.1)):
        with pytest.raises(ValueError, match=r"at least 1 pixel a side and its place in 0\.\.1, got Crop"):
            Crop(height, width, y, x)


def test_frames_upside_down_in_memory(tmp_path: Path) -> None:
    frame = av.VideoFrame(96, 64, "yuv420p")
    for plane in frame.planes:
        rows, columns = np.indices((plane.buffer_size // plane.line_size, plane.line_size))
        plane.update((60 + rows + columns // 2).astype(np.uint8).tobytes())
    path = tmp_path / "down.mkv"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.extradata = b"BottomUp\0"
        box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    whole = read_frames(path, [0]).frames.double()
    small = interpolate(whole, size=(32, 48), mode="bilinear", antialias=True)
    read = read_frames(path, [0], size=FrameSize(exact_hw=(32, 48))).frames
    assert (read - small).abs().mean() < 2
    luma = next(iter_luma(path, side=16))[1]
    assert luma[0].mean() > luma[-1].mean() + 40  # painted darker above, shown upside down


def test_where_chroma_lies_is_known_by_the_streams_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=4)
    looked: list[int] = []
    monkeypatch.setattr(convert, "_sitings", {})
    monkeypatch.setattr(convert, "chroma_siting", lambda frame: looked.append(1) or (0.0, 0.0))
    for _ in range(2):
        read_frames(path, [0.0, 0.1], size=FrameSize(long_side=40))
    assert len(looked) == 1
    for header in (b"", b"\0\0\0\1"):  # nothing to know it by, or a copy of what the stream may say anew
        monkeypatch.setattr(OpenVideo, "coded", ("h264", header))
        looked.clear()
        read_frames(path, [0.0, 0.1], size=FrameSize(long_side=40))
        assert len(looked) == 2


def checkered(width: int, height: int, pixels: str = "yuv420p") -> av.VideoFrame:
    """Return a grey frame with squares of colour."""
    frame = av.VideoFrame(width, height, pixels)
    frame.planes[0].update(bytes([120]) * frame.planes[0].buffer_size)
    for plane in frame.planes[1:]:
        rows, columns = np.indices((plane.buffer_size // plane.line_size, plane.line_size)) // 8
        plane.update((28 + 200 * ((rows + columns) % 2)).astype(np.uint8).tobytes())
    return frame


def by_swscale(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    small = frame.reformat(width=width, height=height, format="gbrp", threads=1)
    planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, :width] for p in small.planes]
    return np.stack([planes[k] for k in (2, 0, 1)], axis=-1).astype(np.int64)


def encode(path: Path, frames: list[av.VideoFrame], form: str, options: dict[str, str], flags: int = 0) -> Path:
    with av.open(str(path), "w", format=form) as box:
        stream = box.add_stream("libx264", rate=25, options={"qp": "1", **options})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.codec_context.flags |= flags
        for frame in frames:
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return path


def test_a_stream_may_say_anew_where_chroma_lies(tmp_path: Path) -> None:
    parts = [
        encode(tmp_path / f"{place}.h264", [checkered(160, 96)] * 3, "h264", {"x264-params": f"chromaloc={place}"})
        for place in (0, 3)
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    decoder = av.CodecContext.create("h264", "r")
    batch = FrameBatch("", FrameSize(exact_hw=(57, 91)), 6, coded=("h264", b"\0\0\0\1"))
    with av.open(str(both), format="h264") as box:
        frames = [frame for packet in box.demux() for frame in decoder.decode(packet)]
    assert len(frames) == 6
    for frame in frames:
        batch.add(frame, None)
    for read, frame in zip(batch.finish(), frames, strict=True):
        assert np.abs(read - by_swscale(frame, 91, 57)).max() <= 3


def test_fields_of_an_interlaced_frame_are_scaled_apart(tmp_path: Path) -> None:
    interlaced = av.codec.context.Flags.interlaced_dct
    path = encode(tmp_path / "i.mp4", [checkered(160, 96)] * 3, "mp4", {"x264-params": "tff=1"}, interlaced)
    with av.open(str(path)) as box:
        frame = next(box.decode(video=0))
    assert frame.interlaced_frame
    batch = FrameBatch("", FrameSize(exact_hw=(57, 91)), 3, coded=("mpeg4", b""))
    progressive = checkered(160, 96)
    progressive.colorspace, progressive.color_range = frame.colorspace, frame.color_range
    for each in (progressive, frame, progressive):
        batch.add(each, None)
    read = batch.finish()
    assert np.abs(read[1] - by_swscale(frame, 91, 57)).max() == 0
    assert np.array_equal(read[0], read[2])
    assert not np.array_equal(read[0], read[1])


@pytest.mark.parametrize(
    "change",
    [{"pixels": "yuv444p"}, {"width": 120}, {"height": 64}, {"space": 1}, {"luma_range": 2}, {"turns": 1}],
    ids=lambda change: next(iter(change)),
)
def test_frames_that_differ_in_one_thing_are_scaled_each_in_its_way(change: dict[str, Any]) -> None:
    def frame(
        pixels: str = "yuv420p", width: int = 160, height: int = 96, space: int = 5, luma_range: int = 1, turns: int = 0
    ) -> Any:
        made = checkered(width, height, pixels)
        made.colorspace, made.color_range = space, luma_range
        return Turned(made, turns) if turns else made

    frames = [frame(), frame(**change), frame()]
    batch = FrameBatch("", FrameSize(exact_hw=(57, 91)), 3, coded=("mpeg4", b""))
    for each in frames:
        batch.add(each, None)
    for read, each in zip(batch.finish(), frames, strict=True):
        alone = FrameBatch("", FrameSize(exact_hw=(57, 91)), 1)
        alone.add(each, None)
        assert np.array_equal(read, alone.finish()[0])
    assert not np.array_equal(*batch.finish()[:2])
