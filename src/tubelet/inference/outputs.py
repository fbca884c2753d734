"""Everything `tubelet localise` writes about one video."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tubelet.defaults import CSV_THRESHOLD
from tubelet.inference.detections_file import ava_writer, json_writer, read_detections
from tubelet.inference.formats import FORMATS
from tubelet.inference.pipeline import Localiser
from tubelet.inference.render import LabelStyle, render
from tubelet.types import ActionDetections, InputError, VideoError, VideoMeta, did_you_mean
from tubelet.video.container import probe
from tubelet.video.live import LiveSource


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFiles:
    """Where a video's results are."""

    video: Path
    annotated: Path | None
    """The mp4 with boxes, identities and actions drawn; None of a live source."""
    json: Path
    ava_csv: Path
    also: tuple[Path, ...] = ()
    """In other formats."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order in which they get their names."""
        return *(() if self.annotated is None else (self.annotated,)), self.ava_csv, *self.also, self.json

    def within(self, folder: Path) -> "ResultFiles":
        """Return the same in another folder."""
        json, ava_csv, *also = (folder / path.name for path in (self.json, self.ava_csv, *self.also))
        annotated = None if self.annotated is None else folder / self.annotated.name
        return replace(self, annotated=annotated, json=json, ava_csv=ava_csv, also=tuple(also))


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisedVideo:
    """What was written about a video."""

    files: ResultFiles
    num_moments: int
    num_left_out: int
    """Scores below the csv's threshold, which only the JSON holds."""
    num_repeated: int = 0
    """Frames of the mp4 that show the same as the one before: its rate is constant, the video's is not."""
    num_dropped: int = 0
    """Frames of the video that the mp4 does not show, for the same reason."""


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
    video: Path | str,
    out: Path,
    *,
    threshold: float | None = None,
    csv_threshold: float = CSV_THRESHOLD,
    also: Sequence[str] = (),
    strip: bool = False,
    on_time: Callable[[float], None] | None = None,
) -> LocalisedVideo:
    """Localise ``video`` and write an annotated mp4, an AVA csv and a JSON (``results_of``) into ``out``.

    Moments go to the files as they are found, so memory does not grow with the video. The files get their names
    together at the end; where the JSON is, the others are.

    Args:
        localiser: Model and person detector.
        video: A video file, or its address.
        out: Folder, made when missing.
        threshold: Actions below this score are not drawn; the JSON holds all scores. None = the model's own, by class.
        csv_threshold: Scores below this are left out of the AVA csv and counted. Average precision counts down to low
            scores: keep it low.
        also: Other formats to write (``formats.FORMATS``); they hold the actions that are drawn, parquet all.
        strip: Also draw who did what in the last seconds, below the picture.
        on_time: Called with the time of each frame drawn, for progress.

    Raises:
        VideoError: The video cannot be read; earlier results stay as they were.
    """
    meta, final = probe(video), results_of(Path(video), out, also)
    if Path(video).resolve() in {path.resolve() for path in final.paths}:
        raise InputError(f"{video}: the results would replace their own input; give another --out")
    with _results(localiser, meta, final, threshold, csv_threshold, also) as (unnamed, notes):
        style = LabelStyle(label_space=localiser.label_space, threshold=notes.thresholds)
        assert unnamed.annotated is not None
        moments = map(notes, localiser(video))
        drawn = render(video, moments, unnamed.annotated, style=style, strip=strip, on_time=on_time)
    return LocalisedVideo(
        files=final,
        num_moments=notes.num_moments,
        num_left_out=notes.num_left_out,
        num_repeated=drawn.num_repeated,
        num_dropped=drawn.num_dropped,
    )


def localise_live(
    localiser: Localiser,
    source: LiveSource,
    out: Path,
    *,
    name: str,
    threshold: float | None = None,
    csv_threshold: float = CSV_THRESHOLD,
    also: Sequence[str] = (),
    on_moment: Callable[[ActionDetections], None] | None = None,
) -> LocalisedVideo:
    """Localise a camera or stream until it ends or is closed: as ``localise_video``, but without an annotated mp4.

    Args:
        localiser: Model and person detector.
        source: The camera or stream.
        out: Folder, made when missing.
        name: What the files are called.
        threshold: As of ``localise_video``; so are the next two.
        csv_threshold: Likewise.
        also: Likewise.
        on_moment: Called with each moment when it is known.

    Raises:
        VideoError: The stream broke off; what was found up to then is in the files.
    """
    final = replace(results_of(Path(name), out, also), annotated=None)
    broken: VideoError | None = None
    with _results(localiser, source.meta, final, threshold, csv_threshold, also) as (_, notes):
        try:
            for moment in map(notes, localiser(source)):
                if on_moment is not None:
                    on_moment(moment)
        except VideoError as error:
            broken = error
    if broken is not None:
        raise VideoError(broken.path, f"{broken.reason}; what was found until then is in {final.json}")
    return LocalisedVideo(files=final, num_moments=notes.num_moments, num_left_out=notes.num_left_out)


class _Notes:
    """Writes moments down as they pass."""

    def __init__(
        self,
        to_json: Callable[[ActionDetections], None],
        to_csv: Callable[[ActionDetections], int],
        thresholds: np.ndarray,
    ) -> None:
        self._to_json, self._to_csv, self.thresholds = to_json, to_csv, thresholds
        self.num_moments = self.num_left_out = 0

    def __call__(self, moment: ActionDetections) -> ActionDetections:
        """Write a moment and hand it on."""
        self._to_json(moment)
        self.num_left_out += self._to_csv(moment)
        self.num_moments += 1
        return moment


@contextmanager
def _results(
    localiser: Localiser,
    meta: VideoMeta,
    final: ResultFiles,
    threshold: float | None,
    csv_threshold: float,
    also: Sequence[str],
) -> Iterator[tuple[ResultFiles, _Notes]]:
    """Give the files names of their own while they are written, and at the end those they are to have."""
    for what, value in (("csv's threshold", csv_threshold), ("threshold", threshold)):
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"the {what} is {value}, expected 0 to 1")
    out, is_new = final.json.parent, not final.json.parent.exists()
    folder = out / f".{final.json.stem}.incomplete"
    unnamed = final.within(folder)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    own, space = localiser.thresholds, localiser.label_space
    least = own if threshold is None else np.full_like(own, threshold)
    video_id = final.json.stem
    try:
        with (
            json_writer(unnamed.json, video=meta, task=localiser.task, label_space=space, thresholds=least) as to_json,
            ava_writer(unnamed.ava_csv, video_id=video_id, label_space=space, threshold=csv_threshold) as to_csv,
        ):
            yield unnamed, _Notes(to_json, to_csv, least)
        _write_also(unnamed, also)
        final.json.unlink(missing_ok=True)
        for source, target in zip(unnamed.paths, final.paths, strict=True):
            source.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # not empty: results are in it
                out.rmdir()


def _write_also(files: ResultFiles, also: Sequence[str]) -> None:
    """Write the other formats from the finished JSON."""
    if also:
        found = read_detections(files.json)
        for name, path in zip(dict.fromkeys(also), files.also, strict=True):
            FORMATS[name][1](found, path)
