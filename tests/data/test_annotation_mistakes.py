"""Mistakes in the classification sets' files: one line with file and row, and nothing is written."""

from pathlib import Path

import pytest
from layout_builder import Builder, write_video
from published_layouts import LAYOUTS

from tubelet.data.sources.annotation_files import read_label_space
from tubelet.data.sources.importers import IMPORTERS
from tubelet.types import InputError


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("mistakes") / "video.mp4")


@pytest.fixture
def build(tmp_path: Path, video: Path) -> Builder:
    return Builder(tmp_path, video)


# Each case: the source, the option to break, what is written there, and the message.
EPIC = "uid,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
KINETICS = "label,youtube_id,time_start,time_end,split\n"
MISTAKES: list[tuple[str, str, str, str]] = [
    ("kinetics", "train.csv", "label,youtube_id,time_start,split\n", r"train\.csv:1: column 'time_end' is missing"),
    ("kinetics", "train.csv", KINETICS + "abseil,a,0,10,train\n", r"train\.csv:2: 'abseil' is no class .*'abseiling'"),
    (
        "kinetics",
        "train.csv",
        KINETICS + "abseiling,a,x,10,train\n",
        r"train\.csv:2: time_start is 'x', expected a who",
    ),
    (
        "kinetics",
        "train.csv",
        KINETICS + "abseiling,a,9,9,train\n",
        r"csv:2: time_end is 9, expected after time_start 9",
    ),
    ("kinetics", "train.csv", KINETICS + "abseiling,a,0,9,dev\n", r"train\.csv:2: split is 'dev', expected one of"),
    ("kinetics", "train.csv", KINETICS + ",a,0,9,train\n", r"train\.csv:2: label is missing"),
    ("kinetics", "train.csv", KINETICS + "abseiling,a,0,9\n", r"train\.csv:2: 4 columns, expected 5"),
    (
        "kinetics",
        "train.csv",
        KINETICS + "abseiling,a,-5,9,train\n",
        r"csv:2: time_end is 9, expected .* -5, which is 0",
    ),
    (
        "kinetics",
        "train.csv",
        KINETICS + "abseiling,a,0,1e9,train\n",
        r"train\.csv:2: time_end is 1000000000, expected",
    ),
    ("kinetics", "train.csv", KINETICS + "abseiling, ,0,9,train\n", r"train\.csv:2: youtube_id is missing"),
    ("path-lists", "train.csv", "a/one.mp4,0\n", r"train\.csv:1: 'a/one\.mp4,0' is not path label"),
    ("path-lists", "train.csv", "a/one.mp4 x\n", r"train\.csv:1: the label is 'x', expected a whole number"),
    ("path-lists", "train.csv", "a/one.mp4 -1\n", r"train\.csv:1: label -1 is not in mine; expected 0\.\."),
    ("path-lists", "train.csv", "a/one.mp4 999999999\n", r"train\.csv:1: label 999999999; expected less than 100000"),
    ("moments", "trainingSet.csv", "x" * 200_000, r"trainingSet\.csv:1: field larger than field limit .* a quote left"),
    ("something-v2", "something-something-v2-train.json", "[" * 100_000, r"train\.json: not JSON"),
    ("moments", "trainingSet.csv", "a/b.mp4,clapping,3\n", r"trainingSet\.csv:1: 3 columns, expected file,category"),
    ("moments", "trainingSet.csv", "a/b.mp4,claping,3,0\n", r"trainingSet\.csv:1: 'claping' is no class .*'clapping'"),
    ("moments", "trainingSet.csv", "a/b.mp4,clapping,many,0\n", r"csv:1: votes for is 'many', expected a whole number"),
    ("moments", "trainingSet.csv", "a/b.mp4,clapping,-3,1\n", r"csv:1: -3 votes for and 1 against, expected no neg"),
    ("multi-moments", "trainingSet.csv", "a.mp4,\n", r"trainingSet\.csv:1: has no label, expected path,index"),
    ("multi-moments", "trainingSet.csv", "a.mp4\n", r"trainingSet\.csv:1: 1 column, expected path,index"),
    ("multi-moments", "trainingSet.csv", "a.mp4,313\n", r"csv:1: label 313 is not in multi_moments; expected 0\.\.312"),
    (
        "something-v1",
        "something-something-v1-train.csv",
        "7,Holding something\n",
        r"csv:1: 1 columns, expected id;templ",
    ),
    (
        "something-v1",
        "something-something-v1-train.csv",
        "7;Holding\n",
        r"csv:1: 'Holding' is no class of something_v1",
    ),
    ("something-v2", "something-something-v2-train.json", "{}", r"train\.json: expected a list of objects with id"),
    ("something-v2", "something-something-v2-train.json", '[{"id":"1"}]', r"train\.json: item 0: no template"),
    (
        "something-v2",
        "something-something-v2-train.json",
        '[{"id": "", "template": "Holding something"}]',
        r"train\.json: item 0: id is '', expected the name of a video",
    ),
    (
        "something-v1",
        "something-something-v1-train.csv",
        " ;Holding something\n",
        r"train\.csv:1: id is '', expected the name",
    ),
    ("something-v2", "something-something-v2-train.json", "[1]", r"train\.json: item 0: expected an object with id"),
    ("something-v2", "something-something-v2-train.json", "[", r"train\.json: not JSON"),
    (
        "epic55",
        "EPIC_train_action_labels.csv",
        EPIC + "0,P01,P01_01,0:0,0:0:1,0,0\n",
        r"csv:2: time is '0:0', expected",
    ),
    (
        "epic55",
        "EPIC_train_action_labels.csv",
        EPIC + "0,P01,P01_01,0:0:0,0:0:1,9,0\n",
        r"csv:2: verb_class 9 is not in",
    ),
    (
        "epic55",
        "EPIC_train_action_labels.csv",
        EPIC + "0,P01,P01_01,0:0:2,0:0:1,0,0\n",
        r"csv:2: stop_timestamp is 0:0:1",
    ),
    ("epic55", "EPIC_train_action_labels.csv", EPIC + "0,X,P01_01,0:0:0,0:0:1,0,0\n", r"csv:2: participant_id is 'X'"),
    ("epic55", "EPIC_verb_classes.csv", "id,key\n", r"EPIC_verb_classes\.csv:1: column 'verb_id' is missing"),
    ("sports1m", "train_partition.txt", "https://www.youtube.com/watch?v=a\n", r"partition\.txt:1: no labels"),
    ("sports1m", "train_partition.txt", "https://www.youtube.com/a 1\n", r"partition\.txt:1: .* has no video id"),
    (
        "sports1m",
        "train_partition.txt",
        "https://www.youtube.com/watch?v=a 487\n",
        r"label 487 is not in sports1m; .*486",
    ),
    (
        "ucf101",
        "ucfTrainTestlist/trainlist02.txt",
        "Archery/a.avi 4\n",
        r"list02\.txt:1: number 4 for Archery, expected 3",
    ),
    ("ucf101", "ucfTrainTestlist/trainlist02.txt", "a.avi 3\n", r"list02\.txt:1: 'a\.avi 3' has no class"),
    ("hmdb51", "splits/brush_hair_test_split1.txt", "a.avi 3\n", r"split1\.txt:1: 'a\.avi 3' is not file\.avi and 0"),
    ("hmdb51", "splits/somersalt_test_split1.txt", "a.avi 1\n", r"'somersalt' is no class of hmdb51 .*'somersault'"),
    ("table", "clips.csv", "path,labels\na,b\n", r"clips\.csv:1: column 'label' is missing"),
    ("table", "clips.csv", "path,label,weight\na,b,1\n", r"clips\.csv:1: unknown column 'weight'"),
    ("table", "clips.csv", "a.mp4,b,1\n", r"clips\.csv:1: 3 columns and no header"),
    ("table", "clips.csv", "path,label\n,run\n", r"clips\.csv:2: path is missing"),
    (
        "table",
        "clips.csv",
        "path,label\na.mp4,run\n../b.mp4,run\n",
        r"clips\.csv:3: path .\.\./b\.mp4. leaves the media root",
    ),
    ("table", "clips.csv", "path,label,split\na,run,dev\n", r"clips\.csv:2: split is 'dev', expected train, val or "),
    (
        "table",
        "clips.csv",
        "path,label,start_seconds,end_seconds\na,run,1,1\n",
        r"csv:2: end_seconds is 1\.0, expected seconds after",
    ),
    (
        "table",
        "clips.csv",
        "path,label,start_seconds,end_seconds\na,run,1,\n",
        r"csv:2: end_seconds is '', expected seconds",
    ),
    (
        "table",
        "clips.csv",
        "path,label,start_seconds,end_seconds\na,run,0,inf\n",
        r"csv:2: end_seconds is inf, expected seconds",
    ),
    ("table", "clips.csv", "path,label,label\na,run,jump\n", r"clips\.csv:1: column 'label' is there twice"),
    (
        "table",
        "clips.csv",
        "path,label,start_seconds,end_seconds\nfile:///etc/passwd,run,0,1\n",
        r"file:///etc/passwd: addresses with file:// are not followed",
    ),
    ("table", "clips.csv", "path,label\ns3://bucket/a.mp4,run\n", r"s3://bucket/a\.mp4: a URI is not opened here"),
]


@pytest.mark.parametrize(("source", "file", "text", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_file_and_row(
    build: Builder, source: str, file: str, text: str, message: str
) -> None:
    layout = LAYOUTS[source](build)
    build.text(file, text)
    with pytest.raises(InputError, match=message) as caught:
        IMPORTERS[source](out=build.folder / "manifest", **layout.options)
    assert "\n" not in str(caught.value)
    assert not (build.folder / "manifest").exists()


@pytest.mark.parametrize("source", list(LAYOUTS))
def test_a_folder_without_the_videos_is_refused(build: Builder, source: str) -> None:
    layout = LAYOUTS[source](build)
    with pytest.raises(InputError, match=r"nowhere: cannot be listed \(No such file"):
        IMPORTERS[source](out=build.folder / "manifest", **layout.options | {"media_root": build.folder / "nowhere"})
    (build.folder / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no videos; expected files like"):
        IMPORTERS[source](out=build.folder / "manifest", **layout.options | {"media_root": build.folder / "empty"})
    if source != "class-folders":
        other = build.folder / "other"
        other.mkdir()
        write_video(other / "unrelated.mp4")
        with pytest.raises(InputError, match=r"other: none of the \d+ annotated videos is there, such as '"):
            IMPORTERS[source](out=build.folder / "manifest", **layout.options | {"media_root": other})


# A file of a split that is given and has no rows; with a header where its layout has one.
EMPTY = [
    ("kinetics", "train.csv", KINETICS),
    ("path-lists", "train.csv", ""),
    ("moments", "trainingSet.csv", "\n"),
    ("multi-moments", "trainingSet.csv", ""),
    ("something-v1", "something-something-v1-train.csv", ""),
    ("something-v2", "something-something-v2-train.json", "[]"),
    ("epic55", "EPIC_train_action_labels.csv", EPIC),
    ("sports1m", "train_partition.txt", ""),
    ("ucf101", "ucfTrainTestlist/trainlist02.txt", ""),
    ("hmdb51", "splits/cartwheel_test_split1.txt", "\n"),
    ("table", "clips.csv", "path,label\n"),
]


@pytest.mark.parametrize(("source", "file", "text"), EMPTY, ids=[case[0] for case in EMPTY])
def test_a_split_without_rows_is_no_smaller_manifest(build: Builder, source: str, file: str, text: str) -> None:
    layout = LAYOUTS[source](build)
    build.text(file, text)
    with pytest.raises(InputError, match=rf"{Path(file).name}: has no rows"):
        IMPORTERS[source](out=build.folder / "manifest", **layout.options)


def test_options_that_mean_nothing_are_refused(build: Builder) -> None:
    for source, changes, message in (
        ("table", {"frames_fps": float("nan")}, "frames_fps is nan, expected frames per second"),
        ("table", {"frames_fps": -1.0}, "frames_fps is -1, expected"),
        ("path-lists", {"separator": ""}, "separator is empty"),
        ("moments", {"min_agreement": 5.0}, r"min_agreement is 5, expected a share in 0\.\.1"),
    ):
        layout = LAYOUTS[source](build)
        with pytest.raises(InputError, match=message):
            IMPORTERS[source](out=build.folder / "manifest", **layout.options | changes)
    layout = LAYOUTS["moments"](build)
    for name in ("trainingSet.csv", "validationSet.csv"):
        build.text(name, "clapping/yt-1_2.mp4,clapping,1,2\n")
    with pytest.raises(InputError, match=r"moments\.csail\.mit\.edu: no row is left: 2 rows below agreement"):
        IMPORTERS["moments"](out=build.folder / "manifest", **layout.options | {"min_agreement": 1.0})


def test_categories_with_one_number_for_two_classes(build: Builder) -> None:
    layout = LAYOUTS["moments"](build)
    categories = build.text("c.txt", "clapping,0\npraying,0\n")
    with pytest.raises(InputError, match=r"ids must be unique, these are not: \[0\]"):
        IMPORTERS["moments"](out=build.folder / "manifest", **layout.options | {"categories": categories})


@pytest.mark.parametrize("text", ["[1, 2", "[1, 2]", "3", '{"name": "x"}', '{"name": "x", "names": 3}'])
def test_a_file_that_is_no_label_space(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"labels\.json"):
        read_label_space(path)
