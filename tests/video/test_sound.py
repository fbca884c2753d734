"""Sound stays in step with the pictures: a flash and a beep at the same instant, in and out."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tubelet.video.decode import iter_frames
from tubelet.video.sound import open_sound
from tubelet.video.write import VideoWriter

RATE, FPS, FLASH_SECONDS, NUM_FRAMES = 44100, 20, 1.5, 60


def write_flash_and_beep(path: Path, codec: str, *, pictures_late: float = 0.0, all_late: float = 0.0) -> Path:
    """Three seconds of black silence but for 0.1 s of white and of a tone from ``FLASH_SECONDS`` of the sound on."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=RATE)
        sound.codec_context.layout = "mono"
        for i in range(NUM_FRAMES):
            time = i / FPS + pictures_late
            lit = FLASH_SECONDS - 1e-6 <= time < FLASH_SECONDS + 0.1 - 1e-6
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 250 * lit, np.uint8), format="rgb24")
            picture.time_base, picture.pts = Fraction(1, 1000), round(1000 * (time + all_late))
            container.mux(pictures.encode(picture))
        times = np.arange(3 * RATE) / RATE
        wave = np.where((times >= FLASH_SECONDS) & (times < FLASH_SECONDS + 0.1), np.sin(2 * np.pi * 880 * times), 0)
        for start in range(0, len(wave), 1024):
            part = (wave[start : start + 1024] * 20000).astype(np.int16)[None]
            heard = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            heard.sample_rate, heard.time_base, heard.pts = RATE, Fraction(1, RATE), start + round(all_late * RATE)
            container.mux(sound.encode(heard))
        for stream in (pictures, sound):
            container.mux(stream.encode(None))
    return path


def flash_and_beep(path: Path) -> tuple[float, float, str]:
    """Return when the picture turns white and when the sound begins, and the sound's codec."""
    flash = next(pts for pts, frame in iter_frames(path) if frame.mean() > 128)
    with av.open(str(path)) as container:
        offset = (container.start_time or 0) / av.time_base
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            loud = np.flatnonzero(np.abs(frame.to_ndarray().astype(float)[0]) > 0.1)
            if len(loud):
                return (
                    flash,
                    frame.time - offset + loud[0] / frame.sample_rate,
                    stream.codec_context.codec.canonical_name,
                )
    raise AssertionError("no beep")


def copy(video: Path, out: Path) -> Path:
    frames = [frame for _, frame in iter_frames(video)]
    with open_sound(video) as sound, VideoWriter(out, width=64, height=48, fps=FPS, sound=sound) as writer:
        for frame in frames:
            writer.write(frame)
    return out


@pytest.mark.parametrize(
    ("name", "codec", "late", "expected"),
    [
        ("a.mp4", "aac", {}, "aac"),
        ("a.mkv", "pcm_s16le", {}, "aac"),
        ("a.avi", "pcm_s16le", {}, "aac"),
        ("a.mkv", "mp3", {}, "mp3"),
        ("late.mkv", "aac", {"pictures_late": 0.5}, "aac"),
        ("late.mkv", "pcm_s16le", {"pictures_late": 0.5}, "aac"),
        ("late.ts", "aac", {"all_late": 7.0}, "aac"),
        ("late.mp4", "aac", {"pictures_late": 0.5, "all_late": 2.0}, "aac"),
    ],
)
def test_flash_and_beep_stay_together(
    tmp_path: Path, name: str, codec: str, late: dict[str, float], expected: str
) -> None:
    video = write_flash_and_beep(tmp_path / name, codec, **late)
    flash, beep, found = flash_and_beep(copy(video, tmp_path / "copy.mp4"))
    assert flash == pytest.approx(FLASH_SECONDS - late.get("pictures_late", 0.0), abs=1e-3)
    assert beep == pytest.approx(flash, abs=0.03)  # a packet is 0.023 s
    assert found == expected


def test_sound_ends_with_the_pictures(tmp_path: Path) -> None:
    video = write_flash_and_beep(tmp_path / "a.mp4", "aac")
    with open_sound(video) as sound, VideoWriter(tmp_path / "b.mp4", width=64, height=48, fps=FPS, sound=sound) as out:
        for _ in range(10):
            out.write(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(0.5, abs=0.03)


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=FPS) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "frames").mkdir()
    for silent in ("a.mp4", "frames"):
        with open_sound(tmp_path / silent) as sound:
            assert sound is None


def test_damaged_sound_ends_there_and_the_pictures_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    video = write_flash_and_beep(tmp_path / "a.mp4", "aac")
    with open_sound(video) as sound:
        assert sound is not None
        whole = sound._copied

        def damaged(target):  # type: ignore[no-untyped-def]
            for number, timed in enumerate(whole(target)):
                if number == 20:
                    raise av.InvalidDataError(1, "made up")
                yield timed

        monkeypatch.setattr(sound, "_copied", damaged)
        with (
            caplog.at_level(logging.WARNING),
            VideoWriter(tmp_path / "b.mp4", width=64, height=48, fps=FPS, sound=sound) as out,
        ):
            for _ in range(NUM_FRAMES):
                out.write(np.zeros((48, 64, 3), np.uint8))
    assert "the sound is damaged and left out from there on" in caplog.text
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert sum(1 for _ in container.decode(container.streams.audio[0])) in range(18, 22)
        assert len(list(iter_frames(tmp_path / "b.mp4"))) == NUM_FRAMES
