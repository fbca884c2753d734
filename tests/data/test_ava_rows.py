import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tubelet.data import ava_rows
from tubelet.data.ava_csv import read_ava_csv
from tubelet.types import InputError


def lines(number: int) -> list[str]:
    """Boxes with a keyframe without one, an empty one and a blank line now and then."""
    found = []
    for i in range(number):
        found.append(f"video{i // 7},{902 + i % 90:04d},0.{i % 10},0.1,0.95,0.9,{i % 60 + 1},{i / number}\n")
        found += [f"listed,{i}\n"] * (i % 11 == 3) + [f"empty,{i},,,,,,\n"] * (i % 13 == 5) + ["\n"] * (i % 17 == 2)
    return found


def test_blocks_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("".join(lines(500)))
    whole = read_ava_csv(path, detections=True)
    monkeypatch.setattr(ava_rows, "BLOCK_BYTES", 700)
    blocks = read_ava_csv(path, detections=True)
    for name in ("video", "pts_seconds", "boxes_norm", "label_ids", "scores"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))
    assert len(whole) == 500
    assert whole.keyframes == blocks.keyframes
    assert len(whole.keyframes) == len(range(3, 500, 11)) + len(range(5, 500, 13))


@pytest.mark.parametrize("at", [0, 1, 250, 499])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("v,0902,0.1,0.1,0.2,0.2,1,high\n", "score is 'high'"),
        ("v,0902,0.1,0.1,0.2,0.2,one,0.5\n", "action id is 'one'"),
        ("v,0902,0.1\n", "3 columns"),
        ("v,soon\n", "'v,soon' is not video_id,seconds"),
        ("v,0902,10,10,20,20,1,0.5\n", "not pixels"),
        ("v,0902,0.1,0.1,0.2,0.2,1,nan\n", "score is nan"),
        ('"v,0902\n', "a quote that is not closed"),
        ("v,0902,0.1,nan,0.2,0.2,1,0.5\n", "y1 is 'nan'"),
    ],
    ids=["score", "id", "columns", "keyframe", "pixels", "nan-score", "quote", "nan-box"],
)
def test_a_mistake_in_a_later_block_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, bad: str, message: str
) -> None:
    monkeypatch.setattr(ava_rows, "BLOCK_BYTES", 700)
    text = lines(500)
    text.insert(at, bad)
    path = tmp_path / "a.csv"
    path.write_text("".join(text))
    with pytest.raises(InputError) as error:
        read_ava_csv(path, detections=True)
    assert str(error.value).startswith(f"{path}:{at + 1}: ")
    assert message in str(error.value)


def test_detections_cut_within_their_last_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("v,0902,0.1,0.1,0.2,0.2,1,0.5\nv,09")
    with pytest.raises(InputError, match=r"a\.csv:2: video_id,seconds without an end of line"):
        read_ava_csv(path, detections=True)
    path.write_text(path.read_text() + "02\n")
    assert len(read_ava_csv(path, detections=True)) == 1


def test_refused_files_leave_a_process_that_ends_as_it_should(tmp_path: Path) -> None:
    good = "v,0902,0.1,0.1,0.2,0.2,1,0.5\n"
    for number, bad in enumerate(["v,0902,0.1,x,0.2,0.2,1,0.5\n", "v,0902,0.1\n", "v,0902\n", '"v,0902,0.1\n']):
        (tmp_path / f"{number}.csv").write_text(good + bad + good)
    code = (
        "import sys; from pathlib import Path; from tubelet.data.ava_rows import read_rows\n"
        "from tubelet.types import InputError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()) * 3:\n"
        "    try: print(path.name, len(read_rows(path, scored=True).labels))\n"
        "    except InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2] == "2.csv 2"
    assert done.stdout.splitlines()[3].startswith(f"{tmp_path}/3.csv:")


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((2000, 2))
    text = "".join(f"v,0902,0.1,0.1,{0.5 + x / 3:.9f},0.9,1,{score:.9f}\n" for x, score in noise)
    packed = bytearray(gzip.compress(text.encode()))
    packed[len(packed) // 2 :] = bytes(len(packed) - len(packed) // 2)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"a\.csv\.gz"):
        read_ava_csv(path, detections=True)


def test_a_line_without_an_end_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ava_rows, "BLOCK_BYTES", 700)
    path = tmp_path / "a.csv"
    path.write_text("a" * 5000)
    with pytest.raises(InputError, match=r"a\.csv:1: 1 columns"):
        read_ava_csv(path, detections=True)
