"""Everything `tubelet localise` writes about one video."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tubelet.inference.export import ava_writer, json_writer, read_detections
from tubelet.inference.formats import FORMATS
from tubelet.inference.pipeline import Localiser
from tubelet.inference.render import Labelling, render
from tubelet.types import ActionDetections, InputError, did_you_mean
from tubelet.video.container import probe

CSV_THRESHOLD = 0.05
"""Smallest score in the AVA csv unless another is asked for; what is below is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFiles:
    """Where a video's results are."""

    video: Path
    annotated: Path
    """The mp4 with boxes, identities and actions drawn."""
    json: Path
    ava_csv: Path
    also: tuple[Path, ...] = ()
    """In other formats."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order in which they get their names."""
        return self.annotated, self.ava_csv, *self.also, self.json


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisedVideo:
    """What was written about a video."""

    files: ResultFiles
    num_moments: int
    num_left_out: int
    """Scores below the csv's threshold, which only the JSON holds."""


def results_of(video: Path, out: Path, also: Sequence[str] = ()) -> ResultFiles:
    """Return where the results of a video go: ``<stem>.mp4``, ``<stem>.json`` and ``<stem>.csv`` in ``out``.

    Args:
        video: The video.
        out: The folder.
        also: Names of other formats (``formats.FORMATS``).
    """
    if unknown := [name for name in also if name not in FORMATS]:
        raise InputError(f"no format {unknown[0]!r}{did_you_mean(unknown[0], FORMATS)}; expected {', '.join(FORMATS)}")
    annotated, json, ava_csv = (out / f"{video.stem}{suffix}" for suffix in (".mp4", ".json", ".csv"))
    others = tuple(out / f"{video.stem}{FORMATS[name][0]}" for name in dict.fromkeys(also))
    return ResultFiles(video=video, annotated=annotated, json=json, ava_csv=ava_csv, also=others)


def localise_video(
    localiser: Localiser,
    video: Path,
    out: Path,
    *,
    threshold: float | None = None,
    csv_threshold: float = CSV_THRESHOLD,
    also: Sequence[str] = (),
    top: int = 3,
    on_time: Callable[[float], None] | None = None,
) -> LocalisedVideo:
    """Localise ``video`` and write an annotated mp4, an AVA csv and a JSON (``results_of``) into ``out``.

    Moments go to the files as they are found, so memory does not grow with the video. The files get their names
    together at the end; where the JSON is, the others are.

    Args:
        localiser: Model and person detector.
        video: A video file.
        out: Folder, made when missing.
        threshold: Actions below this score are not drawn; the JSON holds all scores. None = the model's own, by class.
        csv_threshold: Scores below this are left out of the AVA csv and counted. Average precision counts down to low
            scores: keep it low.
        also: Other formats to write (``formats.FORMATS``); captions and COCO hold actions from ``threshold`` on.
        top: At most so many actions are drawn beside a person.
        on_time: Called with the time of each frame drawn, for progress.

    Raises:
        VideoError: The video cannot be read; earlier results stay as they were.
    """
    meta, final = probe(video), results_of(video, out, also)
    if video.resolve() in {path.resolve() for path in final.paths}:
        raise InputError(f"{video}: the results would replace their own input; give another --out")
    if not 0 <= csv_threshold <= 1:
        raise InputError(f"the csv's threshold is {csv_threshold}, expected 0 to 1")
    num_moments = num_left_out = 0
    unnamed = results_of(video, out / f".{video.stem}.incomplete", also)
    shutil.rmtree(unnamed.json.parent, ignore_errors=True)  # of a run that was killed
    own = localiser.thresholds
    least = own if threshold is None else np.full_like(own, threshold)
    labelling = Labelling(label_space=localiser.label_space, top=top, threshold=least)
    try:
        with (
            json_writer(
                unnamed.json, video=meta, task=localiser.task, label_space=localiser.label_space, thresholds=least
            ) as to_json,
            ava_writer(
                unnamed.ava_csv, video_id=video.stem, label_space=localiser.label_space, threshold=csv_threshold
            ) as to_csv,
        ):

            def written() -> Iterator[ActionDetections]:
                nonlocal num_moments, num_left_out
                for moment in localiser(video):
                    to_json(moment)
                    num_left_out += to_csv(moment)
                    num_moments += 1
                    yield moment

            render(video, written(), unnamed.annotated, labelling=labelling, on_time=on_time)
        _write_also(unnamed, also)
        final.json.unlink(missing_ok=True)
        for source, target in zip(unnamed.paths, final.paths, strict=True):
            source.replace(target)
    finally:
        shutil.rmtree(unnamed.json.parent, ignore_errors=True)
    return LocalisedVideo(files=final, num_moments=num_moments, num_left_out=num_left_out)


def _write_also(files: ResultFiles, also: Sequence[str]) -> None:
    """Write the other formats from the finished JSON."""
    if also:
        found = read_detections(files.json)
        for name, path in zip(dict.fromkeys(also), files.also, strict=True):
            FORMATS[name][1](found, path)
