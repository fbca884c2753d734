"""The sound of a video, for a copy of the video with other pictures."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from tubelet.video.container import OpenVideo, open_video
from tubelet.video.media import Media

SoundPacket: TypeAlias = "Packet[AudioStream]"
logger = logging.getLogger(__name__)

# Sound an mp4 holds as it is, by FFmpeg's names; any other (PCM, Vorbis, WMA, ...) is encoded again as AAC.
COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})


class Sound:
    """The first sound stream of a video; its time 0 is the first picture, whenever that comes in the file."""

    def __init__(self, video: OpenVideo, stream: AudioStream) -> None:
        self._video, self._stream = video, stream
        pictures = video.stream
        first = float((pictures.start_time or 0) * (pictures.time_base or 0)) if video.has_times else video.offset
        self._begin_seconds = first
        self._packets: Iterator[tuple[float, SoundPacket]] = iter(())
        self._next: tuple[float, SoundPacket] | None = None

    def attach(self, container: OutputContainer) -> None:
        """Add the stream to a file that has not been written to."""
        source = self._stream.codec_context
        if source.codec.canonical_name in COPIED_CODECS:
            self._packets = self._until_damaged(self._copied(container.add_stream_from_template(self._stream)))
        else:
            target = container.add_stream("aac", rate=source.rate if source.rate in AAC_RATES else 48000)
            target.codec_context.layout = "mono" if source.channels == 1 else "stereo"
            self._packets = self._until_damaged(self._encoded(target))
        self._next = next(self._packets, None)

    def until(self, seconds: float) -> Iterator[SoundPacket]:
        """Yield the packets that begin before a time, in order, those of earlier calls left out."""
        while self._next is not None and self._next[0] < seconds:
            yield self._next[1]
            self._next = next(self._packets, None)

    def _until_damaged(self, packets: Iterator[tuple[float, SoundPacket]]) -> Iterator[tuple[float, SoundPacket]]:
        """Yield the packets; damaged sound ends there, for the pictures may be whole."""
        try:
            yield from packets
        except av.FFmpegError as error:
            logger.warning("%s: the sound is damaged and left out from there on (%s)", self._video.path, error)

    def _copied(self, target: AudioStream) -> Iterator[tuple[float, SoundPacket]]:
        for packet in self._video.container.demux(self._stream):
            shift = round(self._begin_seconds / packet.time_base) if packet.time_base else 0
            if packet.pts is not None and packet.pts >= shift:
                packet.pts -= shift
                packet.dts = packet.pts  # sound is never reordered
                packet.stream = target
                yield float(packet.pts * packet.time_base), packet

    def _encoded(self, target: AudioStream) -> Iterator[tuple[float, SoundPacket]]:
        for frame in self._video.container.decode(self._stream):
            shift = round(self._begin_seconds / frame.time_base) if frame.time_base else 0
            if frame.pts is not None and frame.pts >= shift:
                frame.pts -= shift
                yield from _timed(target.encode(frame))
        yield from _timed(target.encode(None))


def _timed(packets: list[SoundPacket]) -> Iterator[tuple[float, SoundPacket]]:
    return ((float((packet.pts or 0) * (packet.time_base or 0)), packet) for packet in packets)


@contextmanager
def open_sound(media: Media | str | Path) -> Iterator[Sound | None]:
    """Open the sound of a video; None where it has none that can be decoded, as folders of frames have not."""
    media = Media.of(media)
    if media.is_pictures:
        yield None
        return
    with open_video(media) as video:
        streams = [s for s in video.container.streams.audio if s.codec_context is not None]
        yield Sound(video, streams[0]) if streams else None
