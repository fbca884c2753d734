"""What is ticked becomes an AVA csv, at every change, whole; labelling goes on where it was."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from page_server import Visitor, serving_app
from PIL import Image

from tubelet.cli.serve import label
from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.sources.ava_lists import read_label_map
from tubelet.inference.tubes import LinkConfig, link_from
from tubelet.types import InputError, PersonBoxes
from tubelet.video.write import VideoWriter
from tubelet.web.label_app import create_label_app
from tubelet.web.labelling import FoundPerson, LabelKeyframe, Labelling, find_all, find_keyframes

ACTIONS = ("walk", "wave", "pick up")


def write_video(path: Path, num_frames: int = 25) -> Path:
    """Write a red square that moves right by 4 pixels a frame, ten frames a second."""
    with VideoWriter(path, width=160, height=96, fps=10, crf=12) as writer:
        for i in range(num_frames):
            frame = np.full((96, 160, 3), 110, np.uint8)
            frame[20:80, 10 + 4 * i : 40 + 4 * i] = (230, 20, 20)
            writer.write(frame)
    return path


def red_detector(frames):
    found = []
    for frame in frames:
        ys, xs = np.nonzero(frame[..., 0].astype(int) - frame[..., 1] > 80)
        boxes = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if len(xs) else []
        array = np.array(boxes, np.float32).reshape(-1, 4)
        found.append(PersonBoxes(boxes=array, scores=np.full(len(array), 0.9, np.float32)))
    return found


def keyframe(seconds: float, *ids: int) -> LabelKeyframe:
    people = tuple(FoundPerson(person_id=i, box_norm=(0.1 * i, 0.2, 0.1 * i + 0.05, 0.9)) for i in ids)
    return LabelKeyframe(pts_seconds=seconds, people=people)


@pytest.fixture
def videos(tmp_path):
    paths = [tmp_path / "videos" / f"{name}.mp4" for name in "abcd"]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text("looked at later")
    return paths


def opened(videos, tmp_path, actions=ACTIONS, **changed) -> Labelling:
    options = {"actions": actions, "every_seconds": 1.0, "val_share": 0.25} | changed
    return Labelling(videos, tmp_path / "labels", **options)


def test_people_are_found_and_followed_at_keyframes(tmp_path):
    found = list(find_keyframes(write_video(tmp_path / "v.mp4"), red_detector, every_seconds=1.0, link=LinkConfig()))
    assert [k.pts_seconds for k in found] == [0.0, 1.0, 2.0]
    assert {p.person_id for k in found for p in k.people} == {1}
    for k in found:
        left = 10 + 40 * k.pts_seconds
        expected = (left / 160, 20 / 96, (left + 30) / 160, 80 / 96)
        assert k.people[0].box_norm == pytest.approx(expected, abs=0.02)


def test_somebody_the_detector_is_unsure_of_is_shown_from_the_threshold_on(tmp_path):
    def unsure(frames):
        return [replace(found, scores=np.full_like(found.scores, 0.45)) for found in red_detector(frames)]

    video = write_video(tmp_path / "v.mp4")
    for threshold, people in ((0.5, 0), (0.3, 3)):
        found = find_keyframes(video, unsure, every_seconds=1.0, link=link_from(threshold))
        assert sum(len(keyframe.people) for keyframe in found) == people


def test_ticks_become_rows_of_the_split(videos, tmp_path):
    labelling = opened(videos, tmp_path)
    for name in "abcd":
        labelling.add(name, [keyframe(0.0, 1, 2), keyframe(1.0, 1), keyframe(2.5)])
    labelling.tick("a", 0, [["wave", "walk"], []], done=False)
    labelling.tick("a", 2, [], done=True)  # nobody is there, and somebody has looked
    labelling.tick("d", 1, [["pick up"]], done=True)
    train = (tmp_path / "labels/train.csv").read_text().splitlines()
    assert train == [
        "a,0000,0.1000,0.2000,0.1500,0.9000,1,1",
        "a,0000,0.1000,0.2000,0.1500,0.9000,2,1",
        "a,2.5",
    ]
    assert (tmp_path / "labels/val.csv").read_text() == "d,0001,0.1000,0.2000,0.1500,0.9000,3,1\n"
    space = read_label_map(tmp_path / "labels/actions.pbtxt")
    assert (space.names, space.ids) == (ACTIONS, (1, 2, 3))
    assert len(read_ava_csv(tmp_path / "labels/train.csv", label_space=space)) == 2
    labelling.move("a", "val")
    assert (tmp_path / "labels/train.csv").read_text() == ""
    labelling.tick("a", 0, [[], []], done=False)
    assert (tmp_path / "labels/val.csv").read_text().startswith("d,")


def test_labelling_goes_on_with_more_videos_and_actions(videos, tmp_path):
    first = opened(videos[:2], tmp_path)
    first.add("a", [keyframe(0.0, 1)])
    first.tick("a", 0, [["wave"]], done=True)
    again = opened(videos, tmp_path, actions=("jump", "wave"))
    assert again.space.names == (*ACTIONS, "jump")  # ids that were written keep their meaning
    assert again.video("a").keyframes[0].people[0].actions == ("wave",)
    assert again.waiting == ("b", "c", "d")
    assert opened(videos, tmp_path, actions=()).space.names == (*ACTIONS, "jump")


@pytest.mark.parametrize(
    ("number", "share", "expected"),
    [(4, 0.25, "tttv"), (3, 0.25, "ttv"), (1, 0.25, "t"), (8, 0.25, "tttvtttv"), (4, 0.0, "tttt"), (4, 0.5, "tvtv")],
)
def test_the_share_of_validation(tmp_path, number, share, expected):
    paths = [tmp_path / f"{k}.mp4" for k in range(number)]
    for path in paths:
        path.write_text("")
    labelling = opened(paths, tmp_path, val_share=share)
    for path in paths:
        labelling.add(path.stem, [keyframe(0.0, 1)])
    assert "".join(labelling.video(path.stem).split[0] for path in paths) == expected


def test_what_cannot_be_ticked_changes_nothing(videos, tmp_path):
    labelling = opened(videos, tmp_path)
    labelling.add("a", [keyframe(0.0, 1)])
    for name, number, actions, reason in (
        ("a", 1, [[]], "no keyframe 1"),
        ("b", 0, [[]], "no keyframe 0"),
        ("a", 0, [[], []], "1 people at keyframe 0, not 2"),
        ("a", 0, [["wawe"]], "did you mean 'wave'"),
    ):
        with pytest.raises(InputError, match=reason):
            labelling.tick(name, number, actions, done=True)
    with pytest.raises(InputError, match="expected train or val"):
        labelling.move("a", "test")
    assert (tmp_path / "labels/train.csv").read_text() == ""


def test_mistakes_of_the_call_are_one_line(videos, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "a.avi"
    twin.write_text("")
    comma = tmp_path / "x,y.mp4"
    comma.write_text("")
    for paths, changed, reason in (
        ([*videos, twin], {}, "more than one video is called so"),
        ([tmp_path / "none.mp4"], {}, "no such video"),
        ([comma], {}, "comma"),
        (videos, {"actions": ()}, "expected names of actions"),
        (videos, {"every_seconds": 0.0}, "expected more than 0"),
    ):
        with pytest.raises(InputError, match=reason):
            opened(paths, tmp_path, **changed)


def test_a_video_that_cannot_be_read_is_told_and_the_others_are_found(videos, tmp_path):
    write_video(videos[2], num_frames=12)
    labelling, failed = opened(videos[1:3], tmp_path), {}
    find_all(labelling, red_detector, link=LinkConfig(), stop=lambda: False, on_failed=failed.__setitem__)
    assert list(failed) == ["b"]
    assert "not a video file" in failed["b"]
    assert len(labelling.video("c").keyframes) == 2
    assert labelling.waiting == ("b",)


def test_the_page_shows_pictures_and_takes_ticks(tmp_path):
    video = write_video(tmp_path / "my film.mp4")
    labelling = opened([video], tmp_path)
    find_all(labelling, red_detector, link=LinkConfig(), stop=lambda: False, on_failed=lambda *_: None)
    with serving_app(create_label_app(labelling, {})) as port:
        me = Visitor(port)
        assert me.ask("GET", "/api/labels").json["videos"][0]["num_keyframes"] == 3
        picture = me.ask("GET", "/api/labels/my%20film/1/4.jpg")
        shown = np.asarray(Image.open(BytesIO(picture.body))).astype(int)
        red = np.nonzero(shown[50, :, 0] - shown[50, :, 1] > 80)[0]
        assert (red.min(), red.max()) == pytest.approx((50, 79), abs=2)  # at 1 s, the middle of nine pictures
        for path in ("/api/labels/my%20film/3/4.jpg", "/api/labels/my%20film/0/9.jpg", "/api/labels/..%2Fx/0/0.jpg"):
            assert me.ask("GET", path).status == 404
        astray = me.ask("GET", "/videos", Accept="text/html")
        assert (astray.status, b"/assets/label.js" in astray.body) == (404, True)
        body = json.dumps({"actions": [["wave"]], "done": True})
        ticked = me.ask("PUT", "/api/labels/my%20film/1", body, content_type="application/json")
        assert ticked.json["people"][0]["actions"] == ["wave"]
        assert (tmp_path / "labels/train.csv").read_text().startswith("my film,0001,")
        wrong = json.dumps({"actions": [["fly"]], "done": True})
        refused = me.ask("PUT", "/api/labels/my%20film/1", wrong, content_type="application/json")
        assert (refused.status, "no class 'fly'" in refused.json["detail"]) == (400, True)
        assert me.ask("PUT", "/api/labels/my%20film/1", body, origin="http://evil.example").status == 403


def test_the_commands_threshold_reaches_detector_and_links(videos, tmp_path, monkeypatch):
    found = {}
    monkeypatch.setattr(
        "tubelet.inference.detectors.open_people", lambda name, threshold: found.update(least=threshold)
    )
    monkeypatch.setattr("tubelet.web.label_app.serve_labelling", lambda *_, link, address: found.update(link=link))
    label(tuple(videos), out=tmp_path / "labels", actions=ACTIONS, person_threshold=0.3)
    assert found["link"] == link_from(0.3)
    assert found["least"] == found["link"].keep_score
