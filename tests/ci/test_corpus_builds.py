"""A corpus that is built on a Ray cluster, or killed wherever it happens to be, has the same bytes."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ci_support import ROOT, TUBELET

sys.path.insert(0, str(ROOT / "tests/corpus"))

from shard_calls import write_video
from small_corpus import contents, small_corpus

from tubelet.corpus.pipeline import build_recipe

pytestmark = pytest.mark.ci

NUM_KILLS = 4


def test_a_cluster_that_loses_a_worker_and_meets_poison_gives_the_same_shards(tmp_path):
    """One file ends the process that decodes it, another one the worker of Ray that this process belongs to."""
    pytest.importorskip("ray")
    media, out, corpus = tmp_path / "media", tmp_path / "shards", tmp_path / "corpus"
    media.mkdir()
    corpus.mkdir()
    for number in range(12):
        write_video(media / f"{number:02}.mp4", number)
    for name in ("05-deadly.mp4", "08-grim.mp4"):
        (media / name).write_bytes(b"")
    script = [sys.executable, str(ROOT / "tests/ci/ray_shards.py"), str(media), str(out), str(corpus)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests/corpus")}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("killing one when shards are there: [1-6]\n", done.stdout)
    assert "workers alive: 1" in done.stdout

    rows = [row for path in out.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    reasons = {row["video"]: row["reason"] for row in rows if row["reason"]}
    assert len(rows) == len({row["video"] for row in rows}) == 14
    assert reasons == {
        "05-deadly.mp4": "its worker process ended 3 times (signal 11, SIGSEGV)",
        "08-grim.mp4": "ended every process that tried it (3 tasks)",
    }
    calls = Counter((media / "calls.log").read_text().split())
    assert calls["08-grim.mp4"] <= 6  # three times in its shard, three times alone

    here = tmp_path / "here"
    # Without the one that would end this process; its shard's other video is compared by itself.
    (media / "08-grim.mp4").rename(tmp_path / "08-grim")
    subprocess.run([*script[:1], "-c", LOCAL, str(media), str(here)], env=environment, cwd=ROOT, check=True)
    ours = {row["video"]: row for path in here.glob("*.parquet") for row in pq.read_table(path).to_pylist()}
    assert ours == {row["video"]: row for row in rows if row["video"] != "08-grim.mp4"}
    same = {path.name for path in here.glob("*.parquet")} & {path.name for path in out.glob("*.parquet")}
    assert len(same) >= 4
    assert all((here / name).read_bytes() == (out / name).read_bytes() for name in same)

    build_recipe(small_corpus(corpus), corpus / "here", num_workers=2)
    assert contents(corpus / "here") == contents(corpus / "on-ray")


LOCAL = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/ci")
from ray_shards import jobs_of
from tubelet.corpus.shards import run_jobs
run_jobs(jobs_of(Path(sys.argv[1]), Path(sys.argv[2])), engine="local", num_workers=2)
"""


def test_a_killed_build_ends_with_the_same_bytes(tmp_path):
    config = small_corpus(tmp_path)

    def command(out: Path) -> list[str]:
        given = [str(TUBELET), "corpus", "build", "own_posts", "--posts", config.posts, "--out", str(out)]
        given += ["--seed-labels", config.seed_labels, "--media-root", str(config.media_root), "--min-videos", "2"]
        given += ["--targets", *map(str, config.targets), "--dedup", "balanced", "--within", "--shard-videos", "1"]
        return given

    began = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), capture_output=True, check=True)
    seconds = time.monotonic() - began
    moments = random.Random(2026)
    for number in range(NUM_KILLS):
        running = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.3, 1.0) * seconds)
        running.send_signal(signal.SIGINT if number % 2 else signal.SIGKILL)
        # -SIGINT: Ctrl-C came while Python was still importing.
        assert running.wait(timeout=60) in (0, 130, -signal.SIGKILL, -signal.SIGINT)
    subprocess.run(command(tmp_path / "killed"), capture_output=True, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
