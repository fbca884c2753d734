"""What is ticked for whom: people found at keyframes of one's own videos, kept in a folder, written as AVA csv.

``people/<video>.json`` holds what was found and what was ticked; ``train.csv``, ``val.csv`` and ``actions.pbtxt`` are
written from all of them at every change, so they are whole at any time. A keyframe counts once somebody is ticked on it
or it was called done; done and nobody ticked is a keyframe on which nobody does anything.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tubelet.boxes import normalised_boxes
from tubelet.data.ava_csv import write_ava_csv
from tubelet.data.ava_table import AvaTable, keyframe_of
from tubelet.data.sources.ava_lists import read_label_map, write_label_map
from tubelet.inference.people import PersonDetector
from tubelet.inference.pipeline import DECODE_SIZE
from tubelet.inference.reading import KeyframeReader, Schedule
from tubelet.inference.tubes import LinkConfig
from tubelet.labels import LabelSpace
from tubelet.records import from_json, read_json, write_json
from tubelet.types import InputError, Preprocess
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames

# People are looked for about so often between keyframes, so that identities last.
LOOK_SECONDS = 0.25
# No model looks at the canvases that the reader keeps.
NO_CANVAS = Preprocess(size=16, num_frames=1, frame_stride=1, fps=25.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPerson:
    """Somebody at a keyframe."""

    person_id: int
    """The same at other keyframes until the next cut; -1 = seen once."""
    box_norm: tuple[float, float, float, float]
    """xyxy in 0..1."""
    actions: tuple[str, ...] = ()
    """Ticked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelKeyframe:
    """A keyframe."""

    pts_seconds: float
    people: tuple[FoundPerson, ...]
    done: bool = False
    """Somebody has said that everything is ticked."""

    @property
    def counts(self) -> bool:
        """Whether it is written."""
        return self.done or any(person.actions for person in self.people)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelVideo:
    """A video with what was found and ticked."""

    every_seconds: float
    split: str
    """``train`` or ``val``."""
    keyframes: tuple[LabelKeyframe, ...]


def find_keyframes(
    video: Path, detector: PersonDetector, *, every_seconds: float, link: LinkConfig
) -> Iterator[LabelKeyframe]:
    """Yield the keyframes of a video, at multiples of ``every_seconds``, with its people followed as ``link`` says.

    Raises:
        VideoError: The video cannot be read.
    """
    looks = max(1, round(every_seconds / LOOK_SECONDS))
    reader = KeyframeReader(
        NO_CANVAS,
        probe(video).fps,
        look=lambda _, frame: detector([frame])[0],
        schedule=Schedule(every_seconds=every_seconds, looks_per_keyframe=looks),
        link=link,
    )
    for keyframe in reader(iter_frames(video, size=DECODE_SIZE)):
        boxes = np.clip(normalised_boxes(keyframe.people.boxes, keyframe.frame_hw), 0, 1).round(4).tolist()
        people = tuple(
            FoundPerson(person_id=int(person), box_norm=(x1, y1, x2, y2))
            for person, (x1, y1, x2, y2) in zip(keyframe.people.person_ids, boxes, strict=True)
        )
        yield LabelKeyframe(pts_seconds=round(keyframe.pts_seconds, 6), people=people)


class Labelling:
    """Videos that are being labelled; safe to use from several threads.

    Args:
        videos: Video files of different names.
        out: Folder of what is found and ticked; labelling goes on with what it holds.
        actions: What can be ticked; none = as the folder says. New ones are put at the end.
        every_seconds: Time between keyframes of videos that are new.
        val_share: Of the videos, for validation.

    Raises:
        InputError: Two videos of one name, no action, or an action that was ticked before is missing.
    """

    def __init__(
        self, videos: Sequence[Path], out: Path, *, actions: Sequence[str], every_seconds: float, val_share: float
    ) -> None:
        if twice := {video.stem for video in videos if sum(video.stem == other.stem for other in videos) > 1}:
            raise InputError(f"{sorted(twice)[0]}: more than one video is called so; an AVA csv knows no folders")
        if missing := [video for video in videos if not video.is_file()]:
            raise InputError(f"{missing[0]}: no such video")
        if comma := [video for video in videos if "," in video.stem]:
            raise InputError(f"{comma[0]}: a name with a comma cannot be a video id in an AVA csv; rename it")
        if not every_seconds > 0 or not 0 <= val_share < 1:
            raise InputError(f"every {every_seconds} s and share {val_share}: expected more than 0, and 0 to below 1")
        self.videos = {video.stem: video for video in sorted(videos, key=lambda video: video.stem)}
        self.out, self.every_seconds, self._val_share = out, every_seconds, val_share
        self.space = label_space(out / "actions.pbtxt", actions)
        self._lock = threading.Lock()
        self._known: dict[str, LabelVideo] = {}
        for stem in self.videos:
            if self._file(stem).exists():
                self._known[stem] = self._checked(stem, read_json(self._file(stem)))
        (out / "people").mkdir(parents=True, exist_ok=True)
        write_label_map(out / "actions.pbtxt", self.space)

    def _file(self, stem: str) -> Path:
        return self.out / "people" / f"{stem}.json"

    def _checked(self, stem: str, data: object) -> LabelVideo:
        video = from_json(LabelVideo, data, where=str(self._file(stem)))
        ticked = {action for k in video.keyframes for person in k.people for action in person.actions}
        if lost := sorted(ticked - set(self.space.names)):
            raise InputError(f"{self._file(stem)}: {lost[0]!r} is ticked there; --actions must keep it")
        return video

    @property
    def waiting(self) -> tuple[str, ...]:
        """Videos whose people have not been found yet."""
        with self._lock:
            return tuple(stem for stem in self.videos if stem not in self._known)

    def video(self, stem: str) -> LabelVideo | None:
        """Return what is known of a video; None = its people have not been found yet."""
        with self._lock:
            return self._known.get(stem)

    def add(self, stem: str, keyframes: Sequence[LabelKeyframe]) -> None:
        """Take what was found in a video."""
        with self._lock:
            video = LabelVideo(every_seconds=self.every_seconds, split=self._split_of_new(), keyframes=tuple(keyframes))
            self._keep(stem, video)

    def _split_of_new(self) -> str:
        """Return the split that brings the share of validation nearest to what is wanted; a few videos have one."""
        num_val = sum(video.split == "val" for video in self._known.values())
        number = len(self._known) + 1
        is_last = number == len(self.videos) and number > 1
        if self._val_share and (self._val_share * number >= num_val + 1 or (is_last and not num_val)):
            return "val"
        return "train"

    def tick(self, stem: str, keyframe: int, actions: Sequence[Sequence[str]], *, done: bool) -> LabelKeyframe:
        """Replace what is ticked on a keyframe.

        Args:
            stem: The video's name.
            keyframe: Its number.
            actions: Of each person, in order.
            done: Whether that is all.

        Raises:
            InputError: There is no such keyframe, person or action.
        """
        with self._lock:
            video = self._known.get(stem)
            if video is None or not 0 <= keyframe < len(video.keyframes):
                raise InputError(f"{stem}: no keyframe {keyframe}")
            before = video.keyframes[keyframe]
            if len(actions) != len(before.people):
                raise InputError(f"{stem}: {len(before.people)} people at keyframe {keyframe}, not {len(actions)}")
            ticked = []
            for person, chosen in zip(before.people, actions, strict=True):
                for name in chosen:
                    self.space.index(name)
                ticked.append(replace(person, actions=tuple(n for n in self.space.names if n in chosen)))
            after = replace(before, people=tuple(ticked), done=done)
            keyframes = (*video.keyframes[:keyframe], after, *video.keyframes[keyframe + 1 :])
            self._keep(stem, replace(video, keyframes=keyframes))
            return after

    def move(self, stem: str, split: str) -> None:
        """Use a video for ``train`` or ``val``."""
        if split not in ("train", "val"):
            raise InputError(f"split {split!r}, expected train or val")
        with self._lock:
            if stem not in self._known:
                raise InputError(f"no video {stem!r}")
            self._keep(stem, replace(self._known[stem], split=split))

    def _keep(self, stem: str, video: LabelVideo) -> None:
        write_json(self._file(stem), video)
        self._known[stem] = video
        for split in ("train", "val"):
            rows = {name: v.keyframes for name, v in self._known.items() if v.split == split}
            write_ava_csv(self.out / f"{split}.csv", ava_table(rows, self.space), box_decimals=4)


def label_space(path: Path, actions: Sequence[str]) -> LabelSpace:
    """Return the actions, those that the folder knows first: ids once written keep their meaning."""
    names = tuple(dict.fromkeys(name.strip() for name in actions))
    known = read_label_map(str(path)).names if path.exists() else ()
    names = (*known, *(name for name in names if name not in known))
    if not names or "" in names or any(c in name for name in names for c in '"\n\\'):
        raise InputError(f"--actions {' '.join(names) or 'is empty'}: expected names of actions, such as walk wave")
    return LabelSpace(name="labels", names=names, ids=tuple(range(1, 1 + len(names))))


def ava_table(videos: Mapping[str, Sequence[LabelKeyframe]], space: LabelSpace) -> AvaTable:
    """Return the rows of the keyframes that count: a row for each person and action, and keyframes without any."""
    rows, empty = [], set()
    for stem, keyframes in videos.items():
        for keyframe in keyframes:
            ticked = [
                (
                    stem,
                    keyframe.pts_seconds,
                    person.box_norm,
                    space.published_ids[space.index(action)],
                    person.person_id,
                )
                for person in keyframe.people
                for action in person.actions
            ]
            rows += ticked
            if keyframe.counts and not ticked:
                empty.add(keyframe_of(stem, keyframe.pts_seconds))
    return AvaTable(
        video=np.array([row[0] for row in rows], dtype=object),
        pts_seconds=np.array([row[1] for row in rows], dtype=np.float64),
        boxes_norm=np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        label_ids=np.array([row[3] for row in rows], dtype=np.int32),
        person_ids=np.array([row[4] for row in rows], dtype=np.int64),
        keyframes=frozenset(empty),
    )


def find_all(
    labelling: Labelling,
    detector: PersonDetector,
    *,
    link: LinkConfig,
    stop: Callable[[], bool],
    on_failed: Callable[[str, str], None],
) -> None:
    """Find the people of every video that waits.

    Args:
        labelling: Where they go.
        detector: Finds people.
        link: When a box starts or continues somebody.
        stop: Whether to leave off.
        on_failed: Called with a video that cannot be read, and the reason.
    """
    for stem in labelling.waiting:
        found = []
        try:
            every = labelling.every_seconds
            for keyframe in find_keyframes(labelling.videos[stem], detector, every_seconds=every, link=link):
                found.append(keyframe)
                if stop():
                    return
        except InputError as error:
            on_failed(stem, str(error))
            continue
        labelling.add(stem, found)
