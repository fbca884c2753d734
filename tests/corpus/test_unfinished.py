"""What killed processes leave half-written goes at the next start, and nothing else does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tubelet.corpus.unfinished import LEFT_AFTER_SECONDS, remove_left, unfinished, whole_shard
from tubelet.records import whole_file

KILLED = """
import os, signal
from pathlib import Path
from tubelet.corpus.unfinished import unfinished, whole_shard
from tubelet.records import whole_file
out = Path({out!r})
unfinished(out / "work/codes/b.singles").mkdir(parents=True)
with whole_file(out / "report.json"), whole_shard(out / "work/codes/a.parquet"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED.format(out=str(tmp_path))], check=False)
    assert len(list(tmp_path.rglob(".*.tmp"))) == 3
    assert remove_left(tmp_path, tmp_path / "work") == 3
    assert not list(tmp_path.rglob(".*.tmp"))


def test_what_is_being_written_elsewhere_stays(tmp_path: Path) -> None:
    work = tmp_path / "work/codes"
    work.mkdir(parents=True)
    beside, notes = work / f".a.parquet.{socket.gethostname()}.{os.getppid()}.tmp", work / ".notes.tmp"
    new, old = (work / f".{name}.parquet.some-other-host.7.tmp" for name in "bc")
    for path in (beside, notes, new, old):
        path.write_bytes(b"")
    long_ago = new.stat().st_mtime - LEFT_AFTER_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    assert remove_left(tmp_path, tmp_path / "work") == 1
    assert sorted(work.iterdir()) == sorted([beside, notes, new])


def test_a_shard_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    def fail() -> None:
        with whole_shard(path):
            assert list(tmp_path.iterdir()) == [unfinished(path)]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())
    with whole_shard(path) as file, whole_file(tmp_path / "b.json"):
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
