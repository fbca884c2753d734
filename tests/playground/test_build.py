"""A very small playground, built for real: files, truth, resuming, and the same bytes from any number of workers."""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.ava_table import keyframe_of
from tubelet.data.sources.ava_lists import read_excluded, read_label_map
from tubelet.data.validate import validate_manifest
from tubelet.playground import actions, sets
from tubelet.playground.build import Playground, build_playground, open_playground
from tubelet.playground.jobs import Job, make_video
from tubelet.playground.sets import SetSize
from tubelet.types import InputError
from tubelet.video.container import probe

SECONDS = (0.9, 1.1)


def _micro(**clips: int) -> SetSize:
    return SetSize(clips=clips, seconds=SECONDS)


MICRO = {
    "localise": SetSize(clips={"train": 2, "val": 1, "test": 1}, seconds=(2.6, 2.8)),
    "kinetics": _micro(train=3, val=1, test=1),
    "moments": _micro(train=2, val=1, test=1),
    "direction": _micro(train=8, test=1),
    "kitchen": _micro(train=3, test_seen=2, test_unseen=2),
    "posts": _micro(train=6),
}


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Playground:
    sets.SIZES["micro"] = MICRO
    try:
        return build_playground("micro", tmp_path_factory.mktemp("micro"), num_workers=0, progress=False, seed=5)
    finally:
        del sets.SIZES["micro"]


@pytest.fixture(autouse=True)
def _known_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sets.SIZES, "micro", MICRO)


def _truths(playground: Playground) -> list[dict[str, object]]:
    return [json.loads(p.read_text()) for p in sorted(playground.root.glob("videos/*/*.json"))]


def _annotation_digest(root: Path) -> str:
    files = [*root.glob("videos/*/*.json"), *root.glob("ava/*"), *root.glob("manifests/*/*"), *root.glob("*.txt")]
    files.append(root / "posts.parquet")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_every_manifest_is_valid_and_its_videos_play(micro: Playground) -> None:
    names = (
        "direction",
        "kinetics",
        "kitchen",
        "kitchen_noun",
        "kitchen_verb",
        "localise",
        "moments",
        "single_keyframe",
    )
    assert tuple(sorted(path.parent.name for path in micro.root.glob("manifests/*/manifest.json"))) == names
    for name in names:
        manifest = micro.manifest(name)
        validate_manifest(manifest)
        for clip in manifest.clips.to_pylist()[:2]:
            meta = probe(manifest.media_root / clip["video"])
            assert meta.duration_seconds == pytest.approx(clip["end_seconds"], abs=0.01)
    small = [t for t in _truths(micro) if not str(t["video"]).startswith("videos/localise")]
    assert all(int(str(t["width"])) <= 160 for t in small)


def test_ava_files_say_what_the_manifest_says(micro: Playground) -> None:
    manifest = micro.manifest("localise")
    assert manifest.boxes is not None
    space = read_label_map(micro.ava / "ava_action_list.pbtxt")
    assert (space.names, space.published_ids, space.groups) == (
        actions.LOCALISE_NAMES, tuple(range(1, 30)), actions.LOCALISE_GROUPS,
    )  # fmt: skip
    splits = dict(zip(manifest.clips["clip_id"].to_pylist(), manifest.clips["split"].to_pylist(), strict=True))
    for split in ("train", "val", "test"):
        table = read_ava_csv(micro.ava / f"ava_{split}.csv", label_space=space)
        boxes = [b for b in manifest.boxes.to_pylist() if splits[b["clip_id"]] == split]
        expected = Counter(
            (b["clip_id"], b["pts_seconds"], b["person_id"], space.published_ids[k]) for b in boxes for k in b["labels"]
        )
        assert table.person_ids is not None
        rows = zip(table.video, table.pts_seconds, table.person_ids, table.label_ids, strict=True)
        assert Counter((str(v), float(s), int(p), int(k)) for v, s, p, k in rows) == expected
        excluded = read_excluded(micro.ava / f"ava_{split}_excluded_timestamps.csv")
        assert not excluded & {keyframe_of(b["clip_id"], b["pts_seconds"]) for b in boxes}


def test_every_box_has_one_pose_and_the_tail_is_marked(micro: Playground) -> None:
    manifest = micro.manifest("localise")
    assert manifest.boxes is not None
    names = manifest.label_space.names
    for labels in manifest.boxes["labels"].to_pylist():
        assert sum(names[k] in actions.POSE for k in labels) == 1
    assert Counter(manifest.label_space.buckets) == {"head": 4, "mid": 11, "tail": 14}
    boxes = micro.counts["boxes"]["train"]
    heads = [n for n, bucket in zip(names, manifest.label_space.buckets, strict=True) if bucket == "head"]
    assert set(heads) >= set(list(boxes)[:2])


def test_the_summary_counts_videos_and_boxes(micro: Playground) -> None:
    lines = [line.split() for line in micro.summary()]
    assert ["kinetics", "5", "videos"] in [line[:3] for line in lines]
    stand = next(line for line in lines if line[0] == "stand")
    assert stand[1:3] == ["pose", "head"]
    assert int(stand[3]) == micro.counts["boxes"]["train"]["stand"]


def test_single_keyframes_share_the_videos_of_kinetics(micro: Playground) -> None:
    kinetics, single = micro.manifest("kinetics"), micro.manifest("single_keyframe")
    assert single.clips["video"].to_pylist() == kinetics.clips["video"].to_pylist()
    assert single.boxes is not None
    times = {(b["clip_id"], b["pts_seconds"]) for b in single.boxes.to_pylist()}
    assert len(times) == len({clip for clip, _ in times}) > 0


def test_kitchens_of_the_seen_split_are_those_of_training(micro: Playground) -> None:
    places = {t["video"]: int(str(t["place"]).split()[1]) for t in _truths(micro) if t["place"]}
    clips = micro.manifest("kitchen").clips.to_pylist()
    assert all(places[c["video"]] < 100 for c in clips if c["split"] in ("train", "test_seen"))
    assert all(places[c["video"]] >= 200 for c in clips if c["split"] == "test_unseen")
    action, verb, noun = (micro.manifest(f"kitchen{part}") for part in ("", "_verb", "_noun"))
    names = [
        [m.label_space.names[c["labels"][0]] for c in m.clips.to_pylist()] for m in (action, verb, noun)
    ]  # fmt: skip
    assert all(a == f"{v} {n}" for a, v, n in zip(*names, strict=True))


@pytest.mark.parametrize("side", sets.SIDES)
def test_direction_labels_agree_with_the_pictures(side: str, tmp_path: Path) -> None:
    """The box moves the way the label says, in videos rendered as they are and mirrored alike."""
    label = f"walking {side}"
    found = set()
    for index in range(6):
        job = Job(
            set_name="direction", split="train", index=index, seed=1, seconds=SECONDS, label=label,
            choice=sets.DIRECTION[label][0],
        )  # fmt: skip
        truth = make_video(job, tmp_path)
        first, *_, last = [k["people"][0]["box_norm"] for k in truth["keyframes"] if k["people"]]
        moved = (last[0] + last[2]) - (first[0] + first[2])
        assert (moved > 0) == truth["label"].endswith("left to right")
        found.add(truth["label"])
    assert len(found) == 2  # some were mirrored and relabelled


def test_posts_carry_tags_and_planted_duplicates(micro: Playground) -> None:
    rows = pq.read_table(micro.posts).to_pylist()
    assert list(pq.read_schema(micro.posts).names) == [
        "video", "tags", "text", "duration_seconds", "uploader", "duplicate_of", "true_label",
    ]  # fmt: skip
    copies = [r for r in rows if r["duplicate_of"]]
    assert len(rows) == 6
    assert len(copies) == 2
    for row in copies:
        copy, target = probe(micro.root / row["video"]), probe(micro.root / row["duplicate_of"])
        assert copy.width < target.width
        assert copy.duration_seconds <= target.duration_seconds
    for row in rows:
        assert row["tags"]
        assert all(f"#{tag}" in row["text"] for tag in row["tags"])
    phrases = micro.seed_labels.read_text().splitlines()
    assert "kicking a ball" in phrases
    assert {r["true_label"] for r in rows if not r["duplicate_of"]} <= set(phrases)


def test_a_stopped_build_goes_on_and_a_finished_one_is_reused(micro: Playground, tmp_path: Path) -> None:
    before = _annotation_digest(micro.root)
    videos = {p: p.stat().st_mtime_ns for p in micro.root.glob("videos/*/*.mp4")}
    again = build_playground("micro", micro.root, progress=False, seed=5)
    assert again == micro
    lost = sorted(videos)[::7]
    for path in lost:
        path.with_suffix(".json").unlink()
    header = micro.root / "playground.json"
    unfinished = json.loads(header.read_text()) | {"finished": False}
    header.write_text(json.dumps(unfinished))
    with pytest.raises(InputError, match="not finished"):
        open_playground(micro.root)
    build_playground("micro", micro.root, num_workers=0, progress=False, seed=5)
    changed = {p for p, time in videos.items() if p.stat().st_mtime_ns != time}
    assert changed == set(lost)
    assert _annotation_digest(micro.root) == before


def test_workers_do_not_change_a_byte_of_the_annotation(micro: Playground, tmp_path: Path) -> None:
    other = build_playground("micro", tmp_path, num_workers=2, progress=False, seed=5)
    assert _annotation_digest(other.root) == _annotation_digest(micro.root)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "build.py"
    script.write_text(
        "from tubelet.playground.build import build_playground\n"
        "if __name__ == '__main__':\n"
        f"    build_playground('tiny', {str(tmp_path / 'out')!r}, num_workers=1, progress=False)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/videos/*/*.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        workers = _children(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    assert workers
    while any(map(_is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_is_running, workers))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_another_playground_is_not_mixed_in(micro: Playground) -> None:
    with pytest.raises(InputError, match="holds a playground of seed 5, not 6"):
        build_playground("micro", micro.root, seed=6)
    with pytest.raises(InputError, match="holds a playground of size micro, not tiny"):
        build_playground("tiny", micro.root, seed=5)


def test_unknown_sizes_and_empty_folders_are_user_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are tiny, small, study, full"):
        build_playground("huge", tmp_path)
    with pytest.raises(InputError, match="no playground here"):
        open_playground(tmp_path)
