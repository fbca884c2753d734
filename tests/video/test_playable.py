"""What browsers play as it is, and copies whose frames keep the times that everything else is given."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tubelet.types import VideoError
from tubelet.video.decode import iter_frames
from tubelet.video.playable import look, write_playable


def write(path: Path, codec: str, *, pts=range(12), pixels: str = "yuv420p", sound: str = "", size=(64, 48)) -> Path:
    """Write frames at these tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 10)
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        heard = container.add_stream(sound, rate=48000) if sound else None
        for number in pts:
            picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 20 * (number % 10), np.uint8), "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if heard is not None:
            for first in range(0, 48000, 960):
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
                tone.rate, tone.pts = 48000, first
                container.mux(heard.encode(tone))
            container.mux(heard.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options", "media_type"),
    [
        ("a.mp4", "libx264", {}, "video/mp4"),
        ("a.mp4", "libx264", {"sound": "aac"}, "video/mp4"),
        ("a.webm", "libvpx-vp9", {}, "video/webm"),
        ("a.mp4", "libx264", {"pixels": "yuv444p"}, None),
        ("a.mp4", "libx264", {"pixels": "yuv420p10le"}, None),
        ("a.mp4", "mpeg4", {}, None),
        ("a.mp4", "libx265", {}, None),
        ("a.mov", "libx264", {}, None),
        ("a.mkv", "libx264", {}, None),
        ("a.avi", "mpeg4", {}, None),
        ("a.ts", "libx264", {}, None),
        ("a.mp4", "libx264", {"sound": "ac3"}, None),
    ],
)
def test_what_browsers_play_as_it_is(tmp_path, name, codec, options, media_type):
    found = look(write(tmp_path / name, codec, **options))
    assert found.media_type == media_type
    assert found.num_frames == 12
    assert found.end_seconds == pytest.approx(1.2, abs=0.011)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx265"), ("a.ts", "libx264")])
def test_a_copy_has_the_frames_at_their_times(tmp_path, name, codec):
    video = write(tmp_path / name, codec)
    write_playable(video, tmp_path / "copy.mp4")
    assert look(tmp_path / "copy.mp4").media_type == "video/mp4"
    ours, copied = ([t for t, _ in iter_frames(path)] for path in (video, tmp_path / "copy.mp4"))
    assert copied == pytest.approx(ours, abs=1e-4)


def test_a_varying_rate_is_kept(tmp_path):
    times = [0, 1, 2, 7, 8, 20, 21]
    video = write(tmp_path / "varying.mkv", "libx265", pts=times)
    told: list[float] = []
    write_playable(video, tmp_path / "copy.mp4", on_time=told.append)
    assert [t for t, _ in iter_frames(tmp_path / "copy.mp4")] == pytest.approx([t / 10 for t in times], abs=0.002)
    assert len(told) == len(times)


def test_large_and_odd_pictures_are_made_even_and_no_larger_than_they_need(tmp_path):
    video = write(tmp_path / "large.mkv", "libx264", size=(2562, 126), pts=range(3))
    write_playable(video, tmp_path / "copy.mp4")
    meta = look(tmp_path / "copy.mp4").meta
    assert (meta.width, meta.height) == (1280, 62)


def test_sound_comes_along(tmp_path):
    video = write(tmp_path / "heard.mkv", "mpeg4", sound="ac3")
    write_playable(video, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        (heard,) = copy.streams.audio
        assert heard.codec_context.name == "ac3"  # as it was: mp4 holds it
        assert float(heard.duration * heard.time_base) == pytest.approx(1.0, abs=0.1)


def test_frames_are_counted_without_decoding_them(tmp_path):
    """100,000 frames in a file of a few hundred kB, told in a moment."""
    path = tmp_path / "many.mkv"
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 16, 16, "yuv420p", Fraction(1, 50)
    (packet,) = encoder.encode(av.VideoFrame(16, 16, "yuv420p")) or encoder.encode(None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=50)
        stream.width, stream.height = 16, 16
        for number in range(100_000):
            again = av.Packet(bytes(packet))
            again.pts = again.dts = number
            again.time_base, again.stream, again.is_keyframe = Fraction(1, 50), stream, True
            container.mux(again)
    found = look(path)
    assert found.num_frames == 100_000
    assert found.end_seconds == pytest.approx(2000, abs=0.1)


@pytest.mark.parametrize(("side", "reason"), [(16000, "16000x16000 exceed the limit"), (16384, "claims frames of")])
def test_a_claim_of_16k_is_refused_before_it_is_decoded(tmp_path, side, reason):
    """The larger is more than FFmpeg itself believes."""
    video = write(tmp_path / "small.avi", "rawvideo", pts=range(2))
    data = bytearray(video.read_bytes())
    header = data.index(b"strf") + 8  # BITMAPINFOHEADER: size, width, height
    data[header + 4 : header + 12] = side.to_bytes(4, "little") * 2
    video.write_bytes(data)
    with pytest.raises(VideoError, match=reason):
        look(video)
