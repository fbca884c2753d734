"""Commands about data sets."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.options import call_with_options
from tubelet.cli.places import check_file, check_new_manifest
from tubelet.cli.progress import counted, drawn
from tubelet.cli.training import summary
from tubelet.types import InputError, did_you_mean

if TYPE_CHECKING:
    from tubelet.data.manifest import Manifest


def import_source(arguments: list[str]) -> None:
    """Turn a published data set, or your own, into a manifest: ``tubelet data import SOURCE [options]``.

    The options are the parameters of the source's function in ``data.sources.importers.IMPORTERS``.
    """
    from tubelet.data.manifest_writer import LEFT_OUT
    from tubelet.data.sources.importers import IMPORTERS
    from tubelet.data.sources.media_lengths import opened

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: tubelet data import SOURCE [options]        (tubelet data import SOURCE --help lists them)\n")
        table = Table("source", "what it does")
        for name, function in IMPORTERS.items():
            table.add_row(name, summary(function))
        Console(markup=False).print(table)
        return
    name = arguments[0]
    if name not in IMPORTERS:
        raise InputError(
            f"tubelet data import has no source {name!r}{did_you_mean(name, IMPORTERS)}; "
            "tubelet data import --help lists them"
        )
    with drawn(opened, "videos opened"):
        manifest = call_with_options(_into_new(IMPORTERS[name]), arguments[1:], f"tubelet data import {name}")
    _print_manifest(manifest)
    left_out = manifest.root / LEFT_OUT
    if left_out.exists():
        print(f"each video left out, and why: {left_out}")


def _into_new(importer: Callable[..., "Manifest"]) -> Callable[..., "Manifest"]:
    """Return the importer refusing to replace a manifest: whose boxes that one held is not known here."""

    @functools.wraps(importer)
    def guarded(*args: Any, out: Path, **options: Any) -> "Manifest":
        check_new_manifest("--out", out)
        return importer(*args, out=out, **options)

    return guarded


def _print_manifest(manifest: "Manifest") -> None:
    """Print where a manifest is and what was counted when it was made; its ``counts`` say what was looked for too."""
    print(f"manifest: {manifest.root}")
    for what, number in manifest.counts.items():
        if number:
            print(f"  {number:>12,}  {what.replace('_', ' ')}")


def add_boxes(
    manifest: Positional[Path],
    boxes: Positional[tuple[Path, ...]],
    *,
    out: Path | None = None,
    video_starts_at: float | None = None,
    only_keyframes: bool = True,
) -> None:
    """Put a person detector's boxes beside a manifest's annotated ones; earlier detected boxes are replaced.

    Args:
        manifest: Manifest folder with annotated boxes.
        boxes: Files of all splits: csv (video_id, seconds, x1, y1, x2, y2, label or nothing, score) or proposals (pkl).
        out: Folder of a new manifest; default: this one, where they lie in a table of their own.
        video_starts_at: The files' time at which the videos begin; default: whichever of 0, 900 and the start in the
            clip's name meets most keyframes.
        only_keyframes: Leave out boxes where nobody annotated.
    """
    from tubelet.data.sources.detected_boxes import add_detected_boxes

    if not boxes:
        raise InputError("tubelet data add-boxes needs at least one file of boxes after the manifest")
    if out != manifest:
        check_new_manifest("--out", out)
    made = add_detected_boxes(manifest, boxes, out=out, video_starts_at=video_starts_at, only_keyframes=only_keyframes)
    _print_manifest(made)


def explain(
    ground_truth: Positional[Path],
    detections: Positional[Path],
    *,
    labels: Path | None = None,
) -> None:
    """Say why AVA-format detections score 0 against ground truth: ids, boxes, times and names that do not fit.

    Args:
        ground_truth: AVA csv.
        detections: AVA csv with scores.
        labels: The action list (pbtxt) of the evaluated classes.
    """
    from tubelet.data.ava_csv import read_ava_csv
    from tubelet.data.sources.ava_lists import read_label_map
    from tubelet.evals.explain import explain as complaints_about
    from tubelet.evals.file_pair import agreement

    truth = read_ava_csv(ground_truth, boxes="any")
    found = read_ava_csv(detections, detections=True, boxes="any")
    label_space = None if labels is None else read_label_map(labels)
    complaints = complaints_about(truth, found, label_space=label_space)
    now = agreement(truth, found, label_space=label_space)
    print(
        f"As the files are: frame mAP {now.mean_ap:.4f} at IoU 0.5 (official protocol); {now.videos:.1%} of the "
        f"videos and {now.keyframes:.1%} of the keyframes meet; at these an annotated box overlaps the best "
        f"detected one by {now.overlap:.2f}."
    )
    for number, complaint in enumerate(complaints, start=1):
        print(f"{number}. {complaint.text}")
    if not complaints:
        print("No cause found: keyframes meet, boxes overlap, classes fit.")


def verify(
    manifest: Positional[Path],
    *,
    report: Path | None = None,
    write_clean: Path | None = None,
    num_workers: int | None = None,
) -> None:
    """Decode every video of a manifest once and say which clips are missing, broken, short or repeated; can be resumed.

    A later call decodes only videos that have changed. Exit status 1 if clips cannot be used and no clean manifest is
    asked for.

    Args:
        manifest: Manifest folder.
        report: JSON file; default: verify.json in the folder. What is known of each video lies beside it.
        write_clean: Write the manifest without these clips here.
        num_workers: Processes that decode; default: one for each core.
    """
    from tubelet.data import verify as check
    from tubelet.data.manifest import read_manifest

    if num_workers is not None and num_workers < 1:
        raise InputError(f"--num-workers is {num_workers}, expected at least 1")
    check_new_manifest("--write-clean", write_clean)
    opened = read_manifest(manifest)
    path = manifest / "verify.json" if report is None else report
    check_file("--report", path)
    with counted("videos decoded") as show:
        found = check.verify_manifest(opened, path, num_workers=num_workers or os.cpu_count() or 1, on_video=show)
    gravest = sorted(found.items, key=lambda item: check.PROBLEMS.index(item.problem))
    for item in gravest[:20]:
        print(f"{item.problem:10} {item.clip_id} ({item.video}): {item.reason}")
    if len(found.items) > 20:
        print(f"... and {len(found.items) - 20} more, in {path}")
    if found.damaged_elsewhere:
        more = ", ..." if len(found.damaged_elsewhere) > 5 else ""
        print(f"damaged where no clip needs it: {', '.join(found.damaged_elsewhere[:5])}{more}")
    if found.at_import:
        counts = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in found.at_import.items())
        print(f"counted at the import: {counts}")
    counts = ", ".join(f"{number} {problem}" for problem, number in found.counts.items())
    print(f"{found.num_clips} clips of {found.num_videos} videos, {found.num_frames} frames: {counts}")
    print(f"report: {path}")
    if write_clean is not None:
        clean = check.write_clean(opened, found, write_clean)
        print(f"manifest: {clean.root} ({len(clean.clips)} clips)")
    elif found.items:
        sys.exit(1)


def shard(manifest: Positional[Path], out: Positional[Path], *, shard_mib: int = 1024) -> None:
    """Copy a manifest's videos into tar shards (WebDataset layout) with an index; write the manifest that uses them.

    A folder of frames becomes a tar of its own.

    Args:
        manifest: Manifest folder.
        out: New folder.
        shard_mib: Size of a shard.
    """
    from tubelet.data.manifest import read_manifest
    from tubelet.data.shard import shard_manifest

    check_new_manifest("OUT", out)
    if shard_mib < 1:
        raise InputError(f"--shard-mib is {shard_mib}, expected at least 1")
    made = shard_manifest(read_manifest(manifest), out, shard_bytes=shard_mib * 2**20)
    tars = f" and {made.counts['tars_of_frames']} tars of frames" if made.counts["tars_of_frames"] else ""
    print(f"manifest: {made.root} ({made.counts['videos']} videos in {made.counts['shards']} shards{tars})")


def info(manifest: Positional[Path], *, png: Path | None = None, top: int = 30) -> None:
    """Say what is in a manifest: counts, lengths, resolutions, how often each class comes, labels at once.

    Args:
        manifest: Manifest folder.
        png: Draw the classes here; default: classes.png in the folder.
        top: How many classes to draw in the terminal.
    """
    from tubelet.data.info import describe, draw_classes, manifest_facts
    from tubelet.data.manifest import read_manifest

    if top < 0:
        raise InputError(f"--top is {top}, expected 0 or more")
    opened = read_manifest(manifest)
    path = manifest / "classes.png" if png is None else png
    check_file("--png", path)
    facts = manifest_facts(opened)
    Console(markup=False).print(*describe(facts, top=top), sep="\n")
    draw_classes(facts, path)
    print(f"picture: {path}")


def detect(
    manifest: Positional[Path],
    *,
    out: Path,
    split: tuple[str, ...] = (),
    people: str = "nanodet",
    threshold: float = 0.05,
) -> None:
    """Find people on a manifest's keyframes and write their boxes as a csv, which ``tubelet data add-boxes`` reads.

    Args:
        manifest: Manifest folder with annotated boxes.
        out: The csv: video_id, seconds, x1, y1, x2, y2 (0..1), no label, score.
        split: Which splits; default: all.
        people: Person detector, as of ``tubelet localise``.
        threshold: Least confidence of a box that is written; tasks choose their own above it.
    """
    from tubelet.data.ava_csv import write_ava_csv
    from tubelet.data.manifest import read_manifest
    from tubelet.inference.detectors import open_people
    from tubelet.inference.keyframes import detect_keyframes
    from tubelet.inference.listed_people import ListedPeople

    if not 0 <= threshold <= 1:
        raise InputError(f"--threshold is {threshold}, expected 0 to 1")
    check_file("--out", out)
    detector = open_people(people, threshold=threshold)
    if isinstance(detector, ListedPeople):
        raise InputError(f"--people {people} finds nobody; tubelet data add-boxes reads boxes that are there already")
    with counted("people") as show:
        found = detect_keyframes(read_manifest(manifest), detector, splits=split, on_clip=show)
    write_ava_csv(out, found, box_decimals=5)
    print(f"{len(found)} boxes: {out}")
