"""Commands about published weights: what there is, fetching, converting, checking."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.models.download import FETCHED
from tubelet.records import to_json
from tubelet.types import Aggregation, InputError

if TYPE_CHECKING:
    from tubelet.labels import LabelSpace
    from tubelet.models.convert import Converted
    from tubelet.models.weights import PublishedHead, Weights


def list_weights(names: Positional[tuple[str, ...]] = ()) -> None:
    """List the published weights that can be loaded; with names, everything that is known of them.

    Args:
        names: Of weights.
    """
    from tubelet.models.weights import WEIGHTS, find_weights

    if names:
        for name, entry in {name: find_weights(name) for name in names}.items():
            _print_known(name, entry)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("name", "input", "classes", "licence", style="bold")
    notes: dict[str, str] = {}
    for name, entry in WEIGHTS.items():
        classes = " + ".join(f"{head.num_classes or '?'} {head.task}" for head in entry.heads) or "none"
        licence, _, condition = entry.licence.partition("; ")
        if "-NC-" in licence:
            condition = "no commercial use"
        marks = [notes.setdefault(condition, str(len(notes) + 1))] if condition else []
        marks += [] if entry.sha256 else ["*"]
        shape = f"{entry.preprocess.num_frames}x{entry.preprocess.size}"
        table.add_row(name, shape, classes, " ".join([licence, *marks]))
    Console(markup=False, highlight=False, width=max(80, Console().width)).print(table)
    print("\n  input    frames x side in pixels\n  classes  none: a start; ?: as many as the file has\n")
    for condition, number in notes.items():
        print(f"  {number}  {condition}")
    print("  *  no hash was published to compare with")
    print("\ntubelet weights list NAME says everything that is known of one")


def _print_known(name: str, entry: "Weights") -> None:
    print(name)
    known = to_json(entry)
    known["sha256"] = known["sha256"] or "none was published"
    for field, value in known.items():
        if value != "":
            print(f"  {field.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}")


def fetch(names: Positional[tuple[str, ...]], *, out: Path = FETCHED) -> None:
    """Download weights, going on where a stopped download ended; size and published hash are checked.

    Args:
        names: Of weights; ``tubelet weights list`` has them.
        out: Folder; each file goes into a folder of its name.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from tubelet.models.download import download
    from tubelet.models.weights import find_weights

    if not names:
        raise InputError("expected the name of weights; tubelet weights list has them")
    entries = {name: find_weights(name) for name in names}
    for name, entry in entries.items():
        path = out / name / entry.file_name
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("", total=None)
            digest = download(
                entry.url,
                path,
                sha256=entry.sha256,
                on_bytes=lambda done, total, p=progress, b=bar: p.update(b, completed=done, total=total),  # type: ignore[misc]
            )
        print(f"{path}\n  {_about_hash(entry, digest)}\n  licence: {entry.licence}")


def convert(
    name: Positional[str],
    *,
    out: Path,
    file: Path | None = None,
    keep_grid: bool = False,
    num_frames: int | None = None,
    size: int | None = None,
    frame_stride: int = 2,
    tubelet: int = 2,
    aggregation: Aggregation = "per_place",
    temporal_layers: int = 4,
) -> None:
    """Turn a published file into a run folder, which starts other runs and classifies videos.

    Args:
        name: Of the weights; ``tubelet weights list`` has them.
        out: The new run folder.
        file: The published file; default: where ``tubelet weights fetch`` puts it.
        keep_grid: Of a released Factorised Encoder: leave out its class tokens and heads, so that every place keeps its
            token. The folder then starts runs, with boxes too, and classifies nothing itself.
        num_frames: Of image weights: inflate them to a video network over clips of this many frames.
        size: Side of that network's canvas in pixels, on which frames are letterboxed; default: the image's. This and
            the following options are for that network.
        frame_stride: From one of its frames to the next, at 25 a second.
        tubelet: Frames of its tubelets; of a ViT.
        aggregation: How its time steps meet; of a ViT.
        temporal_layers: Of its second encoder, if the aggregation has one; of a ViT.
    """
    from tubelet.models import convert_start as start
    from tubelet.models.convert import save_converted
    from tubelet.models.download import sha256_of
    from tubelet.models.weights import find_weights

    entry = find_weights(name)
    path = FETCHED / name / entry.file_name if file is None else file
    converted, digest = _read(entry, path), sha256_of(path)
    backbone, preprocess = entry.backbone, entry.preprocess
    if keep_grid:
        converted, backbone = start.keep_grid(converted, backbone)
    if num_frames is not None:
        backbone = start.video_config(
            backbone,
            num_frames=num_frames,
            size=size,
            tubelet=tubelet,
            aggregation=aggregation,
            temporal_layers=temporal_layers,
        )
        converted = start.start_video(converted, backbone)
        preprocess = start.video_input(preprocess, backbone, frame_stride=frame_stride)
    save_converted(
        out,
        converted,
        name=name,
        backbone=backbone,
        preprocess=preprocess,
        label_spaces=_label_spaces(entry.heads, converted.num_classes),
        entry=entry,
        sha256=digest,
        where=str(path),
    )
    print(f"run folder: {out}\n  {_about_hash(entry, digest)}")
    _print_counts(converted)
    print(f"  licence: {entry.licence}")


def check(name: Positional[str], file: Positional[Path]) -> None:
    """Say whether a file is what the table says: its hash, and every name and shape in it.

    Args:
        name: Of the weights.
        file: The published file.
    """
    from tubelet.models.download import sha256_of
    from tubelet.models.model import HeadConfig, VideoModel
    from tubelet.models.saved import load_all
    from tubelet.models.weights import find_weights

    entry = find_weights(name)
    digest = sha256_of(file)
    if entry.sha256 and not digest.startswith(entry.sha256):
        raise InputError(f"{file}: its SHA-256 begins {digest[:16]}, expected {entry.sha256}; not the file of {name}")
    converted = _read(entry, file)
    classes = zip(entry.heads, converted.num_classes, strict=True)
    heads = {head.task: HeadConfig(kind="classify", num_classes=n) for head, n in classes}
    load_all(VideoModel(entry.backbone, heads), converted.tensors, where=str(file))
    print(f"{file}: {len(converted.tensors)} tensors fit {name}")
    print(f"  {_about_hash(entry, digest)}")
    _print_counts(converted)


def _read(entry: "Weights", path: Path) -> "Converted":
    from tubelet.models.convert import convert_file

    return convert_file(path, entry.layout, entry.backbone, {head.task: head.num_classes for head in entry.heads})


def _label_spaces(heads: "tuple[PublishedHead, ...]", num_classes: tuple[int, ...]) -> dict[str, "LabelSpace"]:
    """Return task name to classes; none when the heads were left out."""
    return {head.task: _label_space(head, n) for head, n in zip(heads, num_classes)}


def _label_space(head: "PublishedHead", num_classes: int) -> "LabelSpace":
    from tubelet.data.sources.annotation_files import packaged_label_space
    from tubelet.labels import LabelSpace

    if not head.label_space:
        return LabelSpace(
            name=f"{head.task}_{num_classes}", names=tuple(f"{head.task} {k}" for k in range(num_classes))
        )
    space = packaged_label_space(head.label_space)
    assert len(space) == num_classes, "the table's label spaces have the table's classes"
    return space


def _print_counts(converted: "Converted") -> None:
    """Say what of the file was not used, and what the file did not have."""
    for what, names in (("left out", converted.left_out), ("begin from scratch", converted.initialised)):
        for group, number in Counter(re.sub(r"\d+", "*", name) for name in names).items():
            print(f"  {what}: {number} {group}")


def _about_hash(entry: "Weights", digest: str) -> str:
    """Say a file's hash, and how far it shows that this is the published file."""
    if not entry.sha256:
        return f"sha256 {digest} (unverified: no hash was published to compare with)"
    if not digest.startswith(entry.sha256):
        return f"sha256 {digest} (NOT the published file, which has {entry.sha256})"
    known = "as published" if len(entry.sha256) == len(digest) else f"its first {len(entry.sha256)} digits as published"
    return f"sha256 {digest} ({known})"
