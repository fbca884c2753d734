"""Commands that score files in AVA's format, whoever wrote them; no model is needed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tubelet.cli.places import check_file
from tubelet.types import AvaProtocol, InputError

if TYPE_CHECKING:
    from tubelet.data.ava_table import AvaTable
    from tubelet.evals.ava import AvaResult
    from tubelet.labels import LabelSpace


def ava_eval(
    *,
    ground_truth: tuple[Path, ...],
    detections: tuple[Path, ...],
    labels: str | None = None,
    excluded: Path | None = None,
    protocol: AvaProtocol = "official",
    iou: float = 0.5,
    json: Path | None = None,
    groups: tuple[str, ...] = (),
    persons: bool = False,
) -> None:
    """Score AVA-format detections: frame mAP by the official, the PySlowFast or the mmaction2 protocol.

    Args:
        ground_truth: AVA csv, gzip or not; of several (AVA's and Kinetics', say) each is scored, and their union.
        detections: AVA csv with scores; several are read one after the other.
        labels: Action list (pbtxt) of the evaluated classes, or ava_60, ava_80.
        excluded: Csv of excluded timestamps, for slowfast and mmaction.
        protocol: Whose rules; the three give different numbers for the same files.
        iou: Smallest overlap of a true positive.
        json: Write every number here, at full precision.
        groups: Also the means of groups of classes: action (pose, person-object, person-person), frequency (head, mid,
            tail of paper A), or a csv with a class id and a group on each line.
        persons: Score the boxes alone as a person detector's; the detections have its confidence and no actions.
    """
    from tubelet.records import write_json

    if not ground_truth or not detections:
        raise InputError("expected at least one file after --ground-truth and after --detections")
    for paths in (ground_truth, detections):
        if twice := {path for path in paths if paths.count(path) > 1}:
            raise InputError(f"{min(twice)}: given twice")
    if not 0 < iou <= 1:
        raise InputError(f"--iou is {iou:g}, expected more than 0 and at most 1")
    if labels is None and not persons:
        raise InputError("--labels is missing: the action list (pbtxt) of the evaluated classes, or ava_60, ava_80")
    check_file("--json", json, [*ground_truth, *detections, labels, excluded, *groups])
    parts = {_part_name(path, ground_truth): _read(path, scored=False) for path in ground_truth}
    found = _concat([_read(path, scored=True) for path in detections])
    scored = (*ground_truth, *detections)
    if persons:
        data = _persons(parts, found, iou, files=scored)
    else:
        options: dict[str, Any] = {"iou": iou, "protocol": protocol}
        data = _actions(parts, found, options, labels=labels, excluded=excluded, groups=groups, files=scored)
    data["files"] = {
        "ground_truth": [_file(path) for path in ground_truth],
        "detections": [_file(path) for path in detections],
        "excluded": None if excluded is None else _file(excluded),
        "labels": labels,
    }
    if json is not None:
        write_json(json, data)


def tube_eval(
    *,
    ground_truth: Path,
    detections: Path,
    labels: Path,
    protocol: Literal["multisports", "act"] = "multisports",
    frame_hw: tuple[int, int] | None = None,
    ious: tuple[float, ...] = (0.2, 0.5),
    step_seconds: float | None = None,
    link_iou: float = 0.5,
    min_frames: int = 15,
    json: Path | None = None,
) -> None:
    """Score JHMDB, UCF101-24 or MultiSports: frame mAP, and video mAP of the detections linked to tubes.

    Args:
        ground_truth: AVA csv with a person id in every row; the same id on frames that follow each other is a tube.
        detections: AVA csv with scores, on every frame.
        labels: Action list (pbtxt) of the evaluated classes.
        protocol: Whose rules: MultiSports', or the ACT detector's, which JHMDB's and UCF101-24's numbers follow.
        frame_hw: For act: height and width of the frames in pixels (240 320 for both sets), whose borders count.
        ious: Overlaps reported one by one; the mean over 0.5 to 0.95 always is.
        step_seconds: Time from a frame to the next; default: in each video the least between two times.
        link_iou: A tube goes on in the best box that overlaps its last so much.
        min_frames: Shorter tubes are left out.
        json: Write every number here, at full precision.
    """
    from tubelet.data.sources.ava_lists import read_label_map
    from tubelet.evals import tubes
    from tubelet.evals.ava import frame_map
    from tubelet.records import write_json

    if (protocol == "act") != (frame_hw is not None):
        raise InputError("--frame-hw goes with --protocol act, which counts pixels; give both or neither")
    if frame_hw is not None and min(frame_hw) < 1:
        raise InputError(f"--frame-hw is {frame_hw[0]} {frame_hw[1]}, expected height and width in pixels")
    check_file("--json", json, [ground_truth, detections, labels])
    space = read_label_map(labels)
    truth, found = _read(ground_truth, scored=False), _read(detections, scored=True)
    frames = tubes.frame_numbers((truth, found), step_seconds=step_seconds)
    linked = tubes.link_tubes(found, frames[1], tubes.Linking(iou=link_iou, min_frames=min_frames))
    if not linked:
        raise InputError(
            f"{detections}: no tube of {min_frames} frames: boxes of an action that overlap by {link_iou:g}, on frames "
            "that follow each other; see --min-frames, --link-iou and --step-seconds"
        )
    annotated = tubes.annotated_tubes(truth, frames[0])
    with _naming(ground_truth, detections):
        videos = tubes.video_map(annotated, linked, space, ious=ious, rules=tubes.RULES[protocol], frame_hw=frame_hw)
        if frame_hw is not None:
            frame = tubes.frame_act(truth, found, space, frames, frame_hw)
        else:
            frame = frame_map(truth, found, space, protocol=protocol).to_json()
    print(f"frame mAP@0.5 {100 * frame['mAP']:.2f} (protocol {protocol})")
    for iou, mean in videos.mean_ap.items():
        print(f"video mAP@{iou} {100 * mean:.2f} ({videos.num_tubes} tubes)")
    if json is not None:
        files = {"ground_truth": _file(ground_truth), "detections": _file(detections), "labels": _file(labels)}
        write_json(json, {"protocol": protocol, "frame": frame, "video": videos.to_json(), "files": files})


@contextmanager
def _naming(*files: Path) -> Iterator[None]:
    """Put the files before a mistake that only shows when they are scored together."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{', '.join(map(str, files))}: {error}") from None


def _actions(
    parts: "Mapping[str, AvaTable]",
    found: "AvaTable",
    options: dict[str, Any],
    *,
    labels: str | None,
    excluded: Path | None,
    groups: Sequence[str],
    files: Sequence[Path],
) -> dict[str, Any]:
    """Score actions, print the numbers and return them; ``options`` are ``frame_map``'s."""
    import numpy as np

    from tubelet.data.sources.ava_lists import ava_label_space, read_excluded
    from tubelet.evals.ava import frame_map, rules_of
    from tubelet.evals.parts import part_maps

    assert labels is not None  # looked at before the files
    space = ava_label_space(labels)
    grouping = {name: _grouping(name, space) for name in groups}
    if excluded is not None:
        options = options | {"excluded": read_excluded(excluded)}
    rules = rules_of(options["protocol"], options["iou"], options.get("excluded"))
    with _naming(*files):
        result = frame_map(_concat(list(parts.values())), found, space, **options)
        _check_met(result, found, space)
    data = result.to_json() | {
        "scores_outside_0_1": int(np.sum((found.scores < 0) | (found.scores > 1))),  # type: ignore[operator]
        "boxes_outside_frame": int(np.sum(((found.boxes_norm < 0) | (found.boxes_norm > 1)).any(axis=1))),
        "depends_on_row_order": rules.order_decides,
        "numpy": np.__version__,
    }
    if len(parts) > 1:
        with _naming(*files):
            data["parts"] = {name: part.to_json() for name, part in part_maps(parts, found, space, **options).items()}
    data["groups"] = {name: _group_means(result, parts_of) for name, parts_of in grouping.items()}
    _print_actions(result, data)
    return data


def _persons(
    parts: "Mapping[str, AvaTable]", found: "AvaTable", iou: float, *, files: Sequence[Path]
) -> dict[str, Any]:
    """Score boxes as a person detector's, print the numbers and return them."""
    from tubelet.evals.persons import person_ap

    with _naming(*files):
        result = person_ap(_concat(list(parts.values())), found, iou=iou)
    print(f"person AP@{iou:g} {100 * result.ap:.2f} (official protocol, one class)")
    print(f"  {result.num_people} people, {result.num_boxes} boxes")
    for at in result.at:
        precision = "-" if at.precision is None else f"{100 * at.precision:.2f}"
        print(f"  from {at.threshold:g} on: {at.num_boxes} boxes, recall {100 * at.recall:.2f}, precision {precision}")
    return result.to_json()


def _read(path: Path, *, scored: bool) -> "AvaTable":
    from tubelet.data.ava_csv import read_ava_csv

    table = read_ava_csv(path, detections=scored, boxes="near")
    if len(table) == 0 and not table.keyframes:
        raise InputError(f"{path}: has no rows")
    return table


def _concat(tables: "Sequence[AvaTable]") -> "AvaTable":
    from tubelet.evals.parts import concat_tables

    return concat_tables(tables)


def _part_name(path: Path, paths: Sequence[Path]) -> str:
    return path.stem if sum(path.stem == other.stem for other in paths) == 1 else str(path)


def _check_met(result: "AvaResult", found: "AvaTable", space: "LabelSpace") -> None:
    """Refuse files that cannot belong together: their number would be 0 and mean nothing."""
    counts, hint = result.counts, "tubelet data explain GROUND_TRUTH DETECTIONS says why"
    if counts["detections_other_class"] == len(found) > 0:
        ids = ", ".join(map(str, sorted({*found.label_ids.tolist()})[:5]))
        raise InputError(f"no detection has an action id of {space.name}; the files have {ids}; {hint}")
    if counts["detections_other_class"] + counts["detections_ignored_keyframe"] == len(found) > 0:
        raise InputError(f"no detection lies on a keyframe that counts; {hint}")


def _grouping(name: str, space: "LabelSpace") -> tuple[str, ...]:
    """Return the group of each class of a label space."""
    from tubelet.data.sources.annotation_files import packaged_label_space

    if name in ("action", "frequency"):
        field = "groups" if name == "action" else "buckets"
        own: tuple[str, ...] = getattr(space, field)
        if own:
            return own
        known = packaged_label_space("ava_60")
        of_class = dict(zip(zip(known.published_ids, known.names, strict=True), getattr(known, field), strict=True))
        keys = list(zip(space.published_ids, space.names, strict=True))
        if missing := [key for key in keys if key not in of_class]:
            raise InputError(f"--groups {name}: class {missing[0][1]!r} is none of AVA's; give a csv of id and group")
        return tuple(of_class[key] for key in keys)
    return _grouping_of_file(Path(name), space)


def _grouping_of_file(path: Path, space: "LabelSpace") -> tuple[str, ...]:
    from tubelet.data.sources.annotation_files import plain_rows

    if not path.suffix:
        raise InputError(f"--groups {path}: expected action, frequency, or a csv of id and group")
    of_class: dict[int, str] = {}
    for place, cells in plain_rows(path):
        if len(cells) != 2 or not cells[0].strip().isdigit() or not cells[1].strip():
            raise InputError(f"{place}: {','.join(cells)!r} is not class_id,group")
        label_id = int(cells[0])
        if label_id not in space.published_ids or label_id in of_class:
            what = "comes twice" if label_id in of_class else f"is not in {space.name}"
            raise InputError(f"{place}: class id {label_id} {what}")
        of_class[label_id] = cells[1].strip()
    if missing := [i for i in space.published_ids if i not in of_class]:
        raise InputError(f"{path}: class id {missing[0]} of {space.name} has no group")
    return tuple(of_class[label_id] for label_id in space.published_ids)


def _group_means(result: "AvaResult", grouping: Sequence[str]) -> dict[str, float | None]:
    from tubelet.evals.breakdown import group_means

    return group_means(result, grouping, tuple(dict.fromkeys(grouping)))


def _print_actions(result: "AvaResult", data: Mapping[str, Any]) -> None:
    """Print what the JSON holds, in percent."""
    print(f"frame mAP@{result.iou:g} {100 * result.mean_ap:.2f} (protocol {result.protocol})")
    if data["depends_on_row_order"]:
        print(
            f"  protocol {result.protocol} matches boxes in the order of the rows: another order gives another number"
        )
    for name, part in data.get("parts", {}).items():
        print(f"  {name}: {100 * part['mAP']:.2f}")
    for name, means in data["groups"].items():
        shown = ", ".join(f"{group} {'-' if mean is None else f'{100 * mean:.2f}'}" for group, mean in means.items())
        print(f"  by {name}: {shown}")
    notes = {**result.counts, "scores_outside_0_1": data["scores_outside_0_1"]}
    notes["boxes_outside_frame"] = data["boxes_outside_frame"]
    print("  " + ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in notes.items() if number))
    for row in result.per_class:
        ap = "     -" if row.ap is None else f"{100 * row.ap:6.2f}"
        print(f"  {ap}  {row.id:3d} {row.name} ({row.num_ground_truth})")


def _file(path: Path) -> dict[str, Any]:
    """Return what says which data a number is of."""
    with path.open("rb") as file:
        return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
