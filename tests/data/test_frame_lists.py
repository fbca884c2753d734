"""AVA as LFB and PySlowFast keep it: folders of frames, and csv lists that name every one."""

from pathlib import Path

import pytest
from still_pictures import write_pictures

from tubelet.data.sources.ava import import_ava
from tubelet.data.sources.frame_lists import ListedFrames, folder_names, read_frame_lists
from tubelet.types import InputError

HEADER = "original_vido_id video_id frame_id path labels\n"


def row(film: str, number: int, folder: str | None = None) -> str:
    # The layout of the published file: pictures count from 1, frame_id from 0, labels are an empty quoted cell.
    return f'{film} 7 {number} {film if folder is None else folder}/{film}_{number + 1:06d}.jpg ""\n'


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text(header + "".join(rows))
    return path


def test_the_published_layout(tmp_path: Path) -> None:
    first = written(
        tmp_path / "train.csv", *(row("-5KQ66BBWC4", i) for i in range(3)), *(row("b", i, "/x/y") for i in (1, 0))
    )
    films = read_frame_lists([first, written(tmp_path / "val.csv", row("c", 0, "deep/er"))])
    assert films == {
        "-5KQ66BBWC4": ListedFrames(folder="-5KQ66BBWC4", num_frames=3),
        "b": ListedFrames(folder="/x/y", num_frames=2),
        "c": ListedFrames(folder="deep/er", num_frames=1),
    }
    assert folder_names(films, "b") == ("x/y", "y", "b")
    assert folder_names(films, "new") == ("new",)


def test_ava_as_folders_of_frames(tmp_path: Path) -> None:
    media = tmp_path / "frames"
    write_pictures(media / "cut" / "one_fps30", 1810)  # 905 s at 2 frames a second
    write_pictures(media / "two", 1812)
    write_pictures(media / "other", 1810)
    lists = [
        written(tmp_path / "f_train.csv", *(row("one", i, "/elsewhere/cut/one_fps30") for i in range(1810))),
        written(tmp_path / "f_val.csv", *(row("two", i) for i in range(1810))),
    ]
    (tmp_path / "train.csv").write_text("one,0902,0.1,0.2,0.5,0.9,12,0\nother,0903,0.1,0.2,0.5,0.9,12,0\n")
    (tmp_path / "val.csv").write_text("two,1798,0.1,0.2,0.5,0.9,12,0\ngone,1798,0.1,0.2,0.5,0.9,12,0\n")
    manifest = import_ava(
        train=tmp_path / "train.csv",
        val=tmp_path / "val.csv",
        media_root=media,
        out=tmp_path / "out",
        frames_fps=2.0,
        frame_lists=tuple(lists),
    )
    clips = [(row["clip_id"], row["video"], row["fps"]) for row in manifest.clips.to_pylist()]
    assert clips == [("one", "cut/one_fps30", 2.0), ("other", "other", 2.0), ("two", "two", 2.0)]
    assert manifest.boxes is not None
    assert manifest.boxes.column("pts_seconds").to_pylist() == [2.0, 3.0, 898.0]
    told = ("videos_missing", "videos_that_start_at_900", "videos_not_in_frame_lists", "videos_with_other_frames")
    assert [manifest.counts[key] for key in told] == [1, 3, 1, 1]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            ["a,0,0,x\n"],
            "video,frame\n",
            r"list\.csv: .*original_vido_id.*; expected a header and rows original_vido_id",
        ),
        (["a 0\n"], HEADER, r"list\.csv: CSV parse error: .*Expected 5 columns, got 2"),
        (['a 0 x a/1.jpg ""\n'], HEADER, r"list\.csv: .*conversion error to int32: invalid value 'x'"),
        ([row("a", 0), row("a", 1, "b")], HEADER, r"pictures of 'a' lie in 'a' and 'b'"),
        ([row("a", 0), row("a", 2)], HEADER, r"'a' has 2 pictures numbered 0 to 2; expected each number from 0 on"),
        ([], "", r"list\.csv: Empty CSV file"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    path = written(tmp_path / "list.csv", *rows, header=header)
    with pytest.raises(InputError, match=message) as caught:
        read_frame_lists([path])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"none\.csv: cannot be read \(.*No such file"):
        read_frame_lists([tmp_path / "none.csv"])


def test_a_film_in_two_lists(tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", row("a", 0))
    with pytest.raises(InputError, match="'a' is in another of the frame lists as well"):
        read_frame_lists([path, path])
