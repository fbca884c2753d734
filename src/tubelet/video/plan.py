"""Read packets first, then decode only what the wanted frames need; one pass for any number of clips.

The packets' times say which frames are nearest to the wanted times, so frames that nobody wants and nobody refers to
are never decoded, and stretches between far-apart clips are jumped over; the frames kept are bit-exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tubelet.video.container import SKIPPING_CODECS, OpenVideo
from tubelet.video.convert import FrameBatch
from tubelet.video.sampling import nearest

JUMP_SECONDS = 1.0
"""Wanted times further apart are looked for by a seek of their own; less is not worth one."""
MAX_PLAN_BYTES = 256 * 2**20
"""Packets held at once; a longer stretch is decoded as it is read."""

MAX_REORDERED = 16
"""Pictures that may be decoded before one that is shown before all of them (H.264 and HEVC)."""

VideoPacket: TypeAlias = "Packet[VideoStream]"


@dataclass(slots=True)
class Group:
    """Wanted times that are answered from one run of packets, which begins with a key frame."""

    times: list[float]
    packets: list[VideoPacket] | None
    """In decoding order; None where they do not tell: times missing, a packet damaged, too many of them."""
    ended: bool = False
    """The packets go on to the end of the video."""


@dataclass(frozen=True, slots=True)
class Picked:
    """One frame for each sorted wanted time, and the span of times seen."""

    places: list[int]
    """Place in the ``FrameBatch``."""
    times: list[float]
    first: float
    """Time of the first frame of the video where a wanted time lies before it, else of an earlier one."""
    last: float
    """Time of the last frame of the video where a wanted time lies behind it, else of a later one."""


def plan(video: OpenVideo, times: list[float]) -> list[Group]:
    """Read the packets around sorted ``times``; groups that share a key frame become one."""
    if not video.has_times:
        return [Group(times, None)]
    groups: list[Group] = []
    held = 0
    for run in _runs(times):
        group = _packets_covering(video, run, MAX_PLAN_BYTES - held)
        before = groups[-1] if groups else None
        if before is not None and before.packets and group.packets:
            last = _order(before.packets[-1])
            if _order(group.packets[0]) <= last:
                tail = [packet for packet in group.packets if _order(packet) > last]
                groups[-1] = Group(before.times + run, before.packets + tail, before.ended or group.ended)
                held += sum(packet.size for packet in tail)
                continue
        groups.append(group)
        held += sum(packet.size for packet in group.packets or ())
    return groups


def read_planned(video: OpenVideo, group: Group, batch: FrameBatch) -> Picked | None:
    """Choose frames by the packets' times and decode what they need.

    Returns:
        None where the plan does not hold: a wanted time before the first packet, one behind the last that is not the
        end of the video, or a packet without a frame. Nothing is in ``batch`` then that matters.
    """
    if not group.packets:
        return None
    base = video.stream.time_base or Fraction(1)
    start = group.packets[0].pts or 0  # frames shown before it belong to the key frame before
    stamps = sorted({p.pts for p in group.packets if p.pts is not None and p.pts >= start and not p.is_discard})
    # The same number as float(stamp * base), without a reduced fraction for each.
    seconds = [stamp * base.numerator / base.denominator - video.offset for stamp in stamps]
    # Times before the first packet are answered by the plain reader, which knows the beginning of the video.
    if not seconds or group.times[0] < seconds[0] or (group.times[-1] > seconds[-1] and not group.ended):
        return None
    if group.times[-1] > seconds[-1]:
        video.check_complete(seconds[-1] + 1 / video.fps)
    chosen = nearest(np.array(seconds), np.array(group.times)).tolist()
    places = _decode(video, group.packets, {stamps[i] for i in chosen}, batch)
    if places is None:
        return None
    return Picked([places[stamps[i]] for i in chosen], [seconds[i] for i in chosen], seconds[0], seconds[-1])


def _runs(times: list[float]) -> list[list[float]]:
    runs = [[times[0]]]
    for time in times[1:]:
        if time - runs[-1][-1] > JUMP_SECONDS:
            runs.append([])
        runs[-1].append(time)
    return runs


def _order(packet: VideoPacket) -> int:
    assert packet.dts is not None  # packets without one are not planned with
    return packet.dts


def _packets_covering(video: OpenVideo, times: list[float], max_bytes: int) -> Group:
    """Return the packets from the key frame before the first time to one shown at or after the last.

    Raises:
        VideoError: Their times go backwards by more than decoders reorder.
    """
    base = float(video.stream.time_base or 1)
    limit = times[-1] + video.offset
    covered = ended = False
    packets: list[VideoPacket] = []
    latest, since, gap = -math.inf, 0, 0.0  # the latest time, packets read after it, how far it is ahead of the others
    steady, behind = max(JUMP_SECONDS, 3 / video.fps), 0
    video.seek(times[0])
    for packet in video.container.demux(video.stream):
        if packet.size == 0:  # the flush packet at the end of the file
            ended = True
            break
        max_bytes -= packet.size
        unknown = packet.pts is None or packet.dts is None or packet.is_corrupt
        if unknown or max_bytes < 0 or not (packets or packet.is_keyframe):
            return Group(times, None)
        packets.append(packet)
        assert packet.pts is not None
        assert packet.dts is not None
        seconds = packet.pts * base
        if seconds >= latest:
            latest, since, gap = seconds, 0, seconds - latest if len(packets) > 1 else 0.0
        else:
            since += 1
            if since > MAX_REORDERED:
                raise video.goes_backwards(latest - video.offset, seconds - video.offset)
        covered = covered or seconds >= limit
        # Packets come in decoding order; once that clock has passed the last time, no earlier picture can follow. A
        # clock that jumps may be wrong: then the packets behind the jump tell.
        if covered and packet.dts * base > limit:
            behind += 1
            if gap <= steady or behind > MAX_REORDERED:
                break
    return Group(times, packets, ended)


def _decode(video: OpenVideo, packets: list[VideoPacket], needed: set[int], batch: FrameBatch) -> dict[int, int] | None:
    """Decode packets in order, skipping what nobody wants and nobody refers to.

    Returns:
        Place of each needed frame; None if one did not come out, or they did not come in the order of their times.
    """
    context = video.stream.codec_context
    skips = context.name in SKIPPING_CODECS
    places: dict[int, int] = {}
    shown: list[int] = []

    def keep(frames: Sequence[VideoFrame]) -> None:
        for frame in frames:
            shown.append(frame.pts if frame.pts is not None else -1)
            if frame.pts in needed and frame.pts is not None and frame.pts not in places:
                base = frame.time_base or Fraction(1)
                video.at = frame.pts * base.numerator / base.denominator - video.offset
                places[frame.pts] = batch.add(frame, video.at)

    skipping = False
    try:
        for stretch in _needed_stretches(packets, needed):
            context.flush_buffers()
            for packet in stretch:
                skip = skips and packet.pts not in needed
                if skip != skipping:
                    context.skip_frame = "NONREF" if skip else "DEFAULT"
                    skipping = skip
                keep(context.decode(packet))
            keep(context.decode(None))
    except av.FFmpegError:
        return None  # the plain reader names the place
    finally:
        context.skip_frame = "DEFAULT"
    return places if len(places) == len(needed) and shown == sorted(shown) else None


def _needed_stretches(packets: list[VideoPacket], needed: set[int]) -> list[list[VideoPacket]]:
    """Return the packets that the needed frames are made of, apart where some are left out.

    Between the last needed frame before a key frame and the key frame nothing is referred to any more; behind such a
    gap decoding begins afresh, as after a seek to that key frame.
    """
    bounds: list[tuple[int, int]] = []
    stop, earliest = 0, math.inf  # behind the last packet needed so far, 0 = none; the earliest time needed
    for place in reversed(range(len(packets))):
        stamp = packets[place].pts
        if stamp is not None and stamp in needed:
            stop, earliest = stop or place + 1, min(stamp, earliest)
        # Frames that follow a key frame but are shown before it refer to what is before it: then nothing is left out.
        begins = packets[place].is_keyframe and stamp is not None and stamp <= earliest
        if stop and (begins or place == 0):
            if bounds and bounds[-1][0] == stop:
                bounds[-1] = place, bounds[-1][1]
            else:
                bounds.append((place, stop))
            stop, earliest = 0, math.inf
    return [packets[first:stop] for first, stop in reversed(bounds)]
