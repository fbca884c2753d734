"""Shards of work on videos that crash, hang and break: a row for each, the same bytes however often it was stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_calls import wild_call, write_video

from tubelet.corpus.dedup import OPERATING_POINTS
from tubelet.corpus.fingerprint import FingerprintSettings
from tubelet.corpus.shards import CodesJob, codes_jobs, key_of, make_codes, pairs_jobs, run_jobs

SETTINGS = FingerprintSettings(fps=8.0, side=32)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for k in range(4):
        write_video(folder / f"{k}.mp4", k)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    for name in ("deadly.mp4", "bug.mp4", "endless.mp4"):
        (folder / name).write_bytes(b"")
    return folder


def jobs_of(media: Path, videos: list[str], folder: Path, *, seconds: float = 60.0, shard: int = 3) -> list[CodesJob]:
    return codes_jobs(
        [(video, 0.0) for video in videos],
        folder,
        media_root=media,
        settings=SETTINGS,
        shard_videos=shard,
        video_seconds=seconds,
        call=wild_call,
    )


def rows(jobs: list[CodesJob]) -> dict[str, tuple[str, int]]:
    table = pa.concat_tables([pq.read_table(job.out) for job in jobs])
    return {row["video"]: (row["reason"], row["num_frames"]) for row in table.to_pylist()}


def test_a_video_that_crashes_hangs_or_fails_is_a_row_with_its_reason(media: Path, tmp_path: Path) -> None:
    names = ["0.mp4", "broken.mp4", "bug.mp4", "deadly.mp4", "endless.mp4", "gone.mp4", "1.mp4"]
    jobs = jobs_of(media, names, tmp_path / "codes", seconds=8.0, shard=7)
    run_jobs(jobs, engine="local", num_workers=2)
    found = rows(jobs)
    assert list(found) == names
    assert [found[name] for name in ("0.mp4", "1.mp4")] == [("", 12), ("", 12)]
    assert found["deadly.mp4"] == ("its worker process ended 3 times (signal 11, SIGSEGV)", 0)
    assert found["endless.mp4"] == ("took longer than 8 s", 0)
    assert found["bug.mp4"] == ("ZeroDivisionError: a bug in the decoder", 0)
    assert all(found[name][0] and found[name][1] == 0 for name in ("broken.mp4", "gone.mp4"))
    calls = (media / "calls.log").read_text().split()
    assert (calls.count("deadly.mp4"), calls.count("endless.mp4")) == (3, 1)


def test_only_missing_shards_are_made_and_the_bytes_are_the_same(media: Path, tmp_path: Path) -> None:
    names = [f"{k}.mp4" for k in range(4)]
    jobs = jobs_of(media, names, tmp_path / "codes", shard=2)
    told: list[tuple[int, int]] = []
    run_jobs(jobs, engine="local", num_workers=1, on_done=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    before = [job.out.read_bytes() for job in jobs]
    jobs[1].out.unlink()
    (media / "calls.log").unlink()
    told.clear()
    run_jobs(jobs, engine="local", num_workers=2, on_done=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert sorted((media / "calls.log").read_text().split()) == names[2:]
    assert [job.out.read_bytes() for job in jobs] == before


def test_a_shard_is_named_after_its_videos_bytes_and_settings(media: Path, tmp_path: Path) -> None:
    names = [f"{k}.mp4" for k in range(4)]
    first, second = jobs_of(media, names, tmp_path, shard=2)
    write_video(media / "3.mp4", 77)
    again, changed = jobs_of(media, names, tmp_path, shard=2)
    assert again.out == first.out
    assert changed.out != second.out
    assert jobs_of(media, names, tmp_path, shard=2, seconds=5.0)[0].out != first.out
    assert key_of("a", [1]) != key_of("a", [2])


def test_a_target_with_the_same_name_is_another_video(media: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other/0.mp4", 0)
    ours = jobs_of(media, ["0.mp4", "1.mp4"], tmp_path / "codes")
    theirs = jobs_of(tmp_path / "other", ["0.mp4"], tmp_path / "targets")
    run_jobs([*ours, *theirs], engine="local", num_workers=1)
    pairs = pairs_jobs(ours, [("kinetics: ", theirs[0])], tmp_path / "pairs", OPERATING_POINTS["balanced"])
    run_jobs(pairs, engine="local", num_workers=1)
    found = pq.read_table(pairs[0].out, filters=[("duplicate", "=", True)]).to_pylist()
    assert [(row["source"], row["target"]) for row in found] == [("0.mp4", "kinetics: 0.mp4")]


def test_targets_too_many_for_one_index_are_searched_group_by_group(media: Path, tmp_path: Path) -> None:
    ours = jobs_of(media, [f"{k}.mp4" for k in range(4)], tmp_path / "codes", shard=2)
    theirs = [("t: ", job) for job in jobs_of(media, ["3.mp4", "1.mp4", "2.mp4"], tmp_path / "targets", shard=1)]
    run_jobs([*ours, *(job for _, job in theirs)], engine="local", num_workers=1)
    found = {}
    for index_codes, num_groups in ((1, 3), (12, 3), (24, 2), (36, 1)):  # 12 frames a video
        folder = tmp_path / f"pairs-{index_codes}"
        jobs = pairs_jobs(ours, theirs, folder, OPERATING_POINTS["paper"], index_codes=index_codes)
        assert len(jobs) == num_groups * len(ours)
        assert [job.sources for job in jobs] == [job.out for job in ours] * num_groups
        run_jobs(jobs, engine="local", num_workers=1)
        rows = [row for job in jobs for row in pq.read_table(job.out).to_pylist()]
        found[index_codes] = sorted(rows, key=lambda row: (row["source"], row["target"]))
    assert [(row["source"], row["target"]) for row in found[36] if row["overlap"] == 1] == [
        (f"{k}.mp4", f"t: {k}.mp4") for k in (1, 2, 3)
    ]
    assert found[1] == found[12] == found[24] == found[36]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from shard_calls import slow_call
from tubelet.corpus.fingerprint import FingerprintSettings
from tubelet.corpus.shards import codes_jobs, run_jobs
media, out = Path({media!r}), Path({out!r})
videos = [(f"{{k}}.mp4", 0.0) for k in range(4)]
settings = FingerprintSettings(fps=8.0, side=32)
jobs = codes_jobs(videos, out, media_root=media, settings=settings, shard_videos=1, video_seconds=60.0, call=slow_call)
run_jobs(jobs, engine="local", num_workers=1)
"""


def test_a_killed_run_goes_on_with_the_missing_shards(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes"
    script = SCRIPT.format(tests=str(Path(__file__).parent), media=str(media), out=str(out))
    running = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while not list(out.glob("*.parquet")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    there = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(there) < 4
    subprocess.run([sys.executable, "-c", script], check=True)
    made = jobs_of(media, [f"{k}.mp4" for k in range(4)], out, shard=1)
    assert {path.name for path in out.glob("*.parquet")} == {job.out.name for job in made}
    assert all((out / name).stat().st_mtime_ns == time_ns for name, time_ns in there.items())
    anew = jobs_of(media, [f"{k}.mp4" for k in range(4)], tmp_path / "anew", shard=1)
    for job in anew:
        make_codes(job, 1)
    assert [job.out.read_bytes() for job in anew] == [job.out.read_bytes() for job in made]
