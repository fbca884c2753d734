"""Person boxes on the annotated keyframes of a data set, for training and scoring on detected boxes (paper A, A.1)."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow.compute as pc

from tubelet.boxes import normalised_boxes
from tubelet.data.ava_table import AvaTable
from tubelet.data.manifest import Manifest
from tubelet.inference.people import PersonDetector
from tubelet.types import InputError
from tubelet.video.decode import read_frames
from tubelet.video.media import resolve_media

FRAMES_AT_ONCE = 16
NO_LABEL = -1


def detect_keyframes(
    manifest: Manifest,
    detector: PersonDetector,
    *,
    splits: Sequence[str] = (),
    on_clip: Callable[[int, int], None] | None = None,
) -> AvaTable:
    """Find people at every annotated instant, those on which nobody was annotated included.

    Args:
        manifest: A ``localise`` manifest.
        detector: Finds people; its own threshold decides what is kept.
        splits: Which splits; none = all.
        on_clip: Called with (clips done, clips in all).

    Returns:
        A row for each box, without a label: what ``add_detected_boxes`` reads once it is written as an AVA csv.

    Raises:
        InputError: The manifest has no boxes, or no keyframe is in the splits.
        VideoError: A video cannot be read.
    """
    if manifest.boxes is None:
        raise InputError(f"{manifest.root}: a {manifest.kind} set has no keyframes; expected kind localise")
    wanted = _keyframes(manifest)
    clips = [row for row in manifest.clips.to_pylist() if not splits or row["split"] in splits]
    clips = [row for row in clips if row["clip_id"] in wanted]
    if not clips:
        known = ", ".join(sorted(manifest.clips.column("split").unique().to_pylist()))
        raise InputError(f"{manifest.root}: no keyframe is in split {', '.join(splits)}; the manifest has {known}")
    names: list[str] = []
    times: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for done, row in enumerate(clips, start=1):
        media = resolve_media(manifest.media_root, row["video"], row["fps"])
        instants = wanted[row["clip_id"]]
        for first in range(0, len(instants), FRAMES_AT_ONCE):
            part = instants[first : first + FRAMES_AT_ONCE]
            frames = read_frames(media, part.tolist()).frames
            found = detector(list(frames.permute(0, 2, 3, 1).numpy()))
            for pts_seconds, people in zip(part, found, strict=True):
                names += [row["clip_id"]] * len(people.scores)
                times.append(np.full(len(people.scores), pts_seconds))
                boxes.append(normalised_boxes(people.boxes, (frames.shape[-2], frames.shape[-1])))
                scores.append(people.scores)
        if on_clip is not None:
            on_clip(done, len(clips))
    return AvaTable(
        video=np.array(names, dtype=str),
        pts_seconds=np.concatenate(times),
        boxes_norm=np.concatenate(boxes).astype(np.float64),
        label_ids=np.full(len(names), NO_LABEL, dtype=np.int32),
        scores=np.concatenate(scores).astype(np.float64),
    )


def _keyframes(manifest: Manifest) -> dict[str, np.ndarray]:
    """Return the annotated instants (n,) of each clip, sorted."""
    assert manifest.boxes is not None
    annotated = manifest.boxes.filter(pc.equal(manifest.boxes.column("origin"), "annotated"))
    found: dict[str, set[float]] = {}
    for table in (annotated, manifest.keyframes):
        pairs = zip(table.column("clip_id").to_pylist(), table.column("pts_seconds").to_pylist(), strict=True)
        for clip, pts_seconds in pairs:
            found.setdefault(clip, set()).add(pts_seconds)
    return {clip: np.array(sorted(instants)) for clip, instants in found.items()}
