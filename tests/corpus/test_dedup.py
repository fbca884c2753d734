"""Which pairs share frames: from codes made up, and from videos changed as uploaders change them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tubelet.cli.dispatch import run
from tubelet.corpus.comparison import later_ones
from tubelet.corpus.dedup import OPERATING_POINTS, PAIRS, codes_of, find_duplicates, index_targets
from tubelet.corpus.fingerprint import FingerprintSettings, failed_row, fingerprint_shard, frame_codes, mirrored_codes
from tubelet.data.manifest import read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.write import VideoWriter

PAPER, BALANCED = OPERATING_POINTS["paper"], OPERATING_POINTS["balanced"]


def random_codes(seed: int, number: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**64, number, dtype=np.uint64)


def table_of(videos: dict[str, np.ndarray], *, crops: tuple[float, ...] = (), fps: float = 16.0) -> pa.Table:
    """Codes of videos, each (T,) or (1 + crops, T)."""
    rows = [
        {"video": name, "reason": "", "num_frames": np.atleast_2d(codes).shape[1], "codes": np.ravel(codes)}
        for name, codes in videos.items()
    ]
    return pa.Table.from_pylist(rows, schema=FingerprintSettings(crops=crops, fps=fps).schema)


def pairs(sources: pa.Table, targets: pa.Table, settings=BALANCED) -> dict[tuple[str, str], dict]:
    found = find_duplicates(sources, index_targets([targets], settings), settings)
    assert found.schema.equals(PAIRS)
    return {(row["source"], row["target"]): row for row in found.to_pylist()}


def test_overlap_is_the_share_of_the_sources_frames() -> None:
    target, source = random_codes(0, 40), random_codes(1, 50)
    source[[3, 20, 11, 46]] = target[[30, 5, 17, 2]] ^ np.uint64(0b1111)  # four bits off, in another order
    source[30] = target[8] ^ np.uint64(0b1111 << 20 | 0b111 << 60)  # seven bits off
    row = pairs(table_of({"s": source}), table_of({"t": target, "u": random_codes(2, 40)}), PAPER)[("s", "t")]
    assert row["overlap"] == 4 / 50
    assert row["duplicate"]
    assert len(pairs(table_of({"s": source}), table_of({"u": random_codes(2, 40)}), PAPER)) == 0
    found = find_duplicates(table_of({"s": source}), index_targets([table_of({"t": target})], BALANCED), BALANCED)
    assert found.column("duplicate").to_pylist() == [False]


def test_a_short_target_in_a_long_source_is_found_by_its_run() -> None:
    target = random_codes(0, 32)
    source = np.concatenate([random_codes(1, 1600), target ^ np.uint64(1 << 7 | 1 << 40), random_codes(2, 800)])
    for settings in (PAPER, BALANCED):
        row = pairs(table_of({"s": source}), table_of({"t": target}), settings)[("s", "t")]
        assert row["overlap"] == pytest.approx(32 / 2432)
        assert (row["run_seconds"], row["target_run_seconds"], row["run_bits"]) == (2.0, 2.0, 2.0)
        assert (row["source_start_seconds"], row["target_start_seconds"]) == (100.0, 0.0)
        assert row["duplicate"]


def test_a_caption_leaves_six_rows_of_eight() -> None:
    target = random_codes(0, 60)
    captioned = target & np.uint64(0x0000FFFFFFFFFFFF) | random_codes(1, 60) & np.uint64(0xFFFF << 48)
    row = pairs(table_of({"s": captioned}), table_of({"t": target}))[("s", "t")]
    assert (row["overlap"], row["run_bits"], row["duplicate"]) == (1.0, 0.0, True)
    whole = pairs(table_of({"s": captioned}), table_of({"t": target}), replace(BALANCED, part_radius=-1))
    assert all(row["overlap"] < 0.3 and row["run_bits"] > 6 for row in whole.values())


def test_mirror_images_are_an_option_and_crops_are_named() -> None:
    target = np.stack([random_codes(0, 60), random_codes(1, 60)])
    targets = table_of({"t": target}, crops=(0.06,))
    sources = table_of({"turned": mirrored_codes(target[0]), "cut": target[1]})
    assert set(pairs(sources, targets)) == {("cut", "t")}
    found = pairs(sources, targets, replace(BALANCED, mirrored=True))
    assert [(row["crop"], row["mirrored"], row["duplicate"]) for row in found.values()] == [
        (0.0, True, True),
        (0.06, False, True),
    ]


def test_flat_frames_match_nothing_and_still_pictures_only_their_like() -> None:
    black, still = np.zeros(100, dtype=np.uint64), np.full(100, 987654321, dtype=np.uint64)
    sources = table_of({"black": black, "still": still, "half": np.concatenate([black[:50], still[:50]])})
    found = pairs(sources, table_of({"black": black, "still": still, "other": ~still}))
    assert {key: row["overlap"] for key, row in found.items()} == {("still", "still"): 1.0, ("half", "still"): 0.5}
    assert len(index_targets([table_of({"still": still})], BALANCED).index.owners[0]) == 1  # one entry, not a hundred


def test_shards_put_together_are_the_whole_and_failed_videos_find_nothing() -> None:
    sources = {str(k): random_codes(k % 5, 30) for k in range(10)}
    targets = {f"t{k}": random_codes(k, 30) for k in range(5)}
    whole = pairs(table_of(sources), table_of(targets))
    assert len(whole) == 10
    parts: dict = {}
    for half in (0, 5):
        some = table_of({str(k): sources[str(k)] for k in range(half, half + 5)})
        broken = failed_row("broken", "no such file", FingerprintSettings())
        for names in (["t0", "t1"], ["t2", "t3", "t4"]):
            parts |= pairs(pa.concat_tables([broken, some]), table_of({name: targets[name] for name in names}))
    assert parts == whole


def test_codes_made_differently_are_not_compared() -> None:
    index = index_targets([table_of({"t": random_codes(0, 9)}, fps=8.0)], BALANCED)
    with pytest.raises(InputError, match=r"fps 16 and 8"):
        find_duplicates(table_of({"s": random_codes(0, 9)}), index, BALANCED)
    with pytest.raises(InputError, match=r"made differently"):
        index_targets([table_of({}), table_of({}, crops=(0.1,))], BALANCED)
    with pytest.raises(InputError, match=r"no codes"):
        index_targets([], BALANCED)


def test_of_near_duplicates_the_first_that_stays_is_kept() -> None:
    names = [("b", "a"), ("a", "b"), ("c", "b"), ("c", "a"), ("e", "d"), ("f", "e"), ("b", "b")]
    table = pa.Table.from_pylist([{"source": s, "target": t} for s, t in names], schema=PAIRS)
    kept = later_ones(table, {"d"}).to_pylist()
    assert [(row["source"], row["target"]) for row in kept] == [("b", "a"), ("c", "a"), ("f", "e")]


def moving(seed: int, *, frames: int = 24, height: int = 96, width: int = 128) -> np.ndarray:
    """A textured picture with a patch that moves across it, (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(20, 220, (height // 8, width // 8, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    patch = rng.integers(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    shown = np.repeat(ground[None], frames, axis=0)
    for k in range(frames):
        shown[k, height // 3 : height // 3 + patch.shape[0], 2 * k : 2 * k + patch.shape[1]] = patch
    return shown


def write(path: Path, frames: np.ndarray, crf: int = 28) -> None:
    with VideoWriter(path, width=frames.shape[2], height=frames.shape[1], fps=12.0, crf=crf) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Targets, and copies of them: smaller, cut, captioned; another scene; a file that is no video."""
    root = tmp_path_factory.mktemp("dedup")
    for seed in range(3):
        write(root / f"targets/{seed}.mp4", moving(seed))
    write(root / "videos/smaller.mp4", moving(0)[:, ::2, ::2])
    write(root / "videos/cut.mp4", moving(1)[:, 4:92, 6:122])
    captioned = moving(2)
    captioned[:, 82:] = 0
    captioned[:, 86:92, 10:90:3] = 255
    write(root / "videos/captioned.mp4", captioned)
    write(root / "videos/other.mp4", moving(7))
    write(root / "videos/other-again.mp4", moving(7), crf=35)
    (root / "videos/broken.mp4").write_bytes(b"no video")
    for name, videos in (("targets", range(3)), ("videos", sorted(path.stem for path in root.glob("videos/*.mp4")))):
        clips = [
            {"clip_id": str(v), "video": f"{v}.mp4", "start_seconds": 0.0, "end_seconds": 1.0, "split": "train"}
            | {"labels": [0]}
            for v in videos
        ]
        write_manifest(
            root / f"{name}-manifest", name=name, kind="classify", multi_label=False, licence="none", source="test",
            label_space=LabelSpace(name="x", names=("x",)), media_root=root / name, clips=clips,
        )  # fmt: skip
    return root


def test_codes_of_videos_are_those_of_their_frames_and_bad_ones_have_a_reason(folder: Path) -> None:
    settings = FingerprintSettings(crops=(0.05,))
    names = ["0.mp4", "../videos/other.mp4", "none.mp4"]
    found = fingerprint_shard(names, media_root=folder / "targets", settings=settings)
    assert found.column("video").to_pylist() == names
    assert found.column("reason").to_pylist()[0] == ""
    assert "leaves the media root" in found.column("reason").to_pylist()[1]
    assert found.column("reason").to_pylist()[2] == "no such file"
    assert found.column("num_frames").to_pylist() == [31, 0, 0]  # the last frame is shown at 23 / 12 s
    plain, cut = codes_of(found)[0]
    grey = moving(0).astype(np.float32) @ [0.299, 0.587, 0.114]
    for codes, crop in ((plain, 0.0), (cut, 0.05)):
        expected = frame_codes(grey.astype(np.uint8), crop=crop).codes
        assert np.median(np.bitwise_count(codes[::4] ^ expected[::3])) <= 2
    assert found.equals(fingerprint_shard(names, media_root=folder / "targets", settings=settings))


def test_dedup_keeps_what_no_target_shows_and_goes_on_where_it_was_stopped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = [
        "corpus",
        "dedup",
        str(folder / "videos-manifest"),
        str(out),
        "--targets",
        str(folder / "targets-manifest"),
    ]
    command += ["--dedup", "balanced", "--within", "--num-workers", "1", "--shard-videos", "2"]
    run(command)
    assert read_manifest(out).clips.column("clip_id").to_pylist() == ["other-again"]
    said = capsys.readouterr().out
    assert [line.split()[:3] for line in said.splitlines()[1:4]] == [["6", "5", "1"], ["5", "2", "3"], ["2", "1", "1"]]
    gone = pq.read_table(out / "duplicates.parquet").to_pylist()
    assert {row["source"]: row["target"] for row in gone} == {
        "smaller.mp4": "targets: 0.mp4",
        "cut.mp4": "targets: 1.mp4",
        "captioned.mp4": "targets: 2.mp4",
        "other.mp4": "other-again.mp4",
    }
    assert pq.read_table(out / "quarantine.parquet").column("video").to_pylist() == ["broken.mp4"]
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    for path in list(before)[::2]:
        path.unlink()
    run(command)
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    capsys.readouterr()
    run([*command, "--explain", "cut.mp4"])
    assert "targets: 1.mp4: duplicate; overlap" in capsys.readouterr().out
    picture = Image.open(io.BytesIO((out / "explained/cut.mp4.png").read_bytes()))
    assert picture.height == 16 + 2 * 96
    strip = np.asarray(picture)[16:].astype(float)
    mine, theirs = strip[:96, :700], strip[96:, :700]
    assert np.abs(mine.mean() - theirs.mean()) < 15
    why = ["corpus", "dedup", str(out), str(tmp_path / "why"), "--targets", str(folder / "targets-manifest")]
    run([*why, "--explain", "cut.mp4"])  # which that manifest no longer has
    assert "targets: 1.mp4: duplicate; overlap" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"has no video 'cut'; did you mean 'cut.mp4'"):
        run([*command, "--explain", "cut"])
    with pytest.raises(InputError, match=r"nothing to compare with"):
        run(["corpus", "dedup", str(folder / "videos-manifest"), str(tmp_path / "none")])
