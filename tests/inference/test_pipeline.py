from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_fakes import BLUE, RED, PaintDetector, untrained, write_video

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest_writer import write_manifest
from tubelet.inference.classify import classify
from tubelet.inference.people import PersonBoxes
from tubelet.inference.pipeline import Localiser
from tubelet.inference.ring import FrameRing, mark_nearest
from tubelet.inference.tubes import LinkConfig, TubeLinker
from tubelet.labels import LabelSpace
from tubelet.models.precision import default_autocast
from tubelet.types import Crops, Fit, InputError, Preprocess, VideoError
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_frames
from tubelet.video.normalise import normalise
from tubelet.video.sampling import keyframe_times
from tubelet.video.transforms import canvas_boxes, placement, to_canvas


def walking(i: int) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]:
    return [((10 + 2 * i, 20, 34 + 2 * i, 80), RED), ((130, 10, 150, 70), BLUE)]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("street") / "street.mp4", walking, num_frames=30)


def test_moments_have_boxes_identities_and_the_scores_of_the_clip_around_them(street: Path) -> None:
    loaded = untrained()
    moments = list(Localiser(loaded, people=PaintDetector(), every_seconds=0.5, smooth=0.0)(street))
    assert [m.pts_seconds for m in moments] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert all(m.person_ids.tolist() == [1, 2] for m in moments)
    at_one = moments[2]
    # Frame 10: red from 30 to 54, blue from 130 to 150; compression may move an edge by a pixel.
    expected = np.array([[30, 20, 54, 80], [130, 10, 150, 70]]) / [160, 96, 160, 96]
    assert np.abs(at_one.boxes_norm - expected).max() < 0.011
    # Independent of the streaming code: read the clip at once and run the model on it.
    times = keyframe_times(1.0, num_frames=4, frame_stride=1, fps=5.0)
    frames, _ = to_canvas(read_frames(street, times).frames, None, fit=Fit(size=32))
    video = normalise(frames.permute(1, 0, 2, 3)[None], loaded.preprocess)
    boxes = canvas_boxes(torch.from_numpy(at_one.boxes_norm), placement(96, 160, fit=Fit(size=32)))
    with torch.inference_mode():
        logits = loaded.model(video, "boxes", boxes, torch.zeros(2, dtype=torch.int64))
    assert torch.from_numpy(at_one.scores) == pytest.approx(logits.sigmoid().numpy(), abs=0.02)
    assert np.ptp(logits.numpy()) > 0.1  # the comparison is not between constants


@pytest.mark.parametrize(("detect_every", "calls"), [(1, 30), (2, 15), (3, 15), (4, 8), (9, 8), (None, 15)])
def test_people_are_looked_for_at_least_at_every_nth_frame(street: Path, detect_every: int | None, calls: int) -> None:
    """30 frames, 10 a second, a keyframe at every fourth; five looks a second by default."""
    people = PaintDetector()
    list(Localiser(untrained(), people=people, detect_every=detect_every, every_seconds=0.4)(street))
    assert people.num_frames == calls


def test_a_missed_detection_is_bridged_at_a_keyframe(tmp_path: Path) -> None:
    def sometimes(i: int) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]:
        return [((10 + 2 * i, 20, 34 + 2 * i, 80), RED)] if i != 10 else []

    video = write_video(tmp_path / "gap.mp4", sometimes, num_frames=30)
    moments = list(Localiser(untrained(), people=PaintDetector())(video))
    at_one = moments[2]
    assert at_one.pts_seconds == 1.0
    assert at_one.person_ids.tolist() == [1]
    assert at_one.boxes_norm[0] * [160, 96, 160, 96] == pytest.approx([30, 20, 54, 80], abs=1.5)
    link = LinkConfig(max_gap_seconds=1e-3)
    spaced = list(Localiser(untrained(), people=PaintDetector(), link=link, every_seconds=0.1)(video))
    assert spaced[10].person_ids.tolist() == [1], "a gap of one detection is bridged whatever the setting"


def test_nothing_crosses_a_cut(tmp_path: Path) -> None:
    """The same box in two shots: two identities, and clips that show one shot only."""

    def background(i: int) -> np.ndarray:
        blocks = np.random.default_rng(i >= 15).integers(90, 140, (6, 10, 3))
        return (np.kron(blocks, np.ones((16, 16, 1))) + (60 if i >= 15 else -60)).astype(np.uint8)

    still = [((60, 20, 90, 80), RED)]
    video = write_video(tmp_path / "cut.mp4", lambda i: still, num_frames=30, background=background)
    localiser = Localiser(untrained(), people=PaintDetector(), smooth=0.0)
    moments = list(localiser(video))
    assert [m.person_ids.tolist() for m in moments] == [[1]] * 3 + [[2]] * 3
    assert moments[2].pts_seconds == 1.0
    # Frame 15 of 10 a second is the first of the new shot: the cut lies half a frame before it.
    # The first keyframe is answered a second later, before the cut.
    cut, inf = pytest.approx(1.45), np.inf
    assert [m.shot_seconds for m in moments] == [(-inf, inf), (-inf, cut), (-inf, cut), *[(cut, inf)] * 3]
    clips = {k.pts_seconds: k.clip for k in localiser.keyframes(probe(video), iter_frames(video))}
    for time, dark in ((1.0, True), (1.5, False)):
        clip = clips[time]
        assert clip is not None
        corner = clip[:, :, 8:12, :8].float().mean(dim=(0, 2, 3))  # (T,), brightness beside the box
        assert all((corner < 100) == dark), (time, corner)


def test_an_empty_scene_costs_no_model_call_and_yields_empty_moments(tmp_path: Path) -> None:
    video = write_video(tmp_path / "empty.mp4", lambda i: [], num_frames=12)
    loaded = untrained()
    loaded.model.forward = None  # type: ignore[method-assign, assignment]
    moments = list(Localiser(loaded, people=PaintDetector())(video))
    assert [(m.pts_seconds, m.boxes_norm.shape, m.scores.shape) for m in moments] == [
        (t, (0, 4), (0, 4)) for t in (0.0, 0.5, 1.0)
    ]


def test_batching_and_progress_change_nothing(street: Path) -> None:
    seen: list[float] = []
    one = list(Localiser(untrained(), people=PaintDetector(), batch_size=1)(street, on_time=seen.append))
    many = list(Localiser(untrained(), people=PaintDetector(), batch_size=5)(street))
    assert seen == [m.pts_seconds for m in one]
    for a, b in zip(one, many, strict=True):
        assert a.scores == pytest.approx(b.scores, abs=0.02)
        assert (a.boxes_norm == b.boxes_norm).all()


def test_moments_come_while_the_video_is_being_read(street: Path) -> None:
    people = PaintDetector()
    moments = iter(Localiser(untrained(), people=people, batch_size=1, smooth=0.0)(street))
    next(moments)
    assert 0 < people.num_frames < 12  # of 18: not all frames have been looked at


def most_held(video: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """Return the most frames, tubes and boxes that a localiser held at once."""
    held: list[tuple[int, int, int]] = []
    update = TubeLinker.update
    rings: set[FrameRing] = set()
    add = FrameRing.add

    def added(ring: FrameRing, *what: Any) -> None:
        rings.add(ring)
        add(ring, *what)

    def updated(linker: TubeLinker, *what: Any) -> None:
        update(linker, *what)
        tubes = [*linker._alive, *linker._ended]
        held.append((sum(map(len, rings)), len(tubes), sum(len(tube.boxes) for tube in tubes)))

    with monkeypatch.context() as watched:
        watched.setattr(FrameRing, "add", added)
        watched.setattr(TubeLinker, "update", updated)
        assert len(list(Localiser(untrained(), people=PaintDetector())(video))) > 10
    frames, tubes, boxes = zip(*held)
    return max(frames), max(tubes), max(boxes)


def test_what_is_held_does_not_grow_with_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person stays, another comes for a second every three and is a new one each time."""

    def paint(i: int) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]:
        return [((130, 10, 150, 70), BLUE)] + ([((20, 20, 44, 80), RED)] if i % 30 < 10 else [])

    short, long = (write_video(tmp_path / f"{n}.mp4", paint, num_frames=n) for n in (90, 270))
    held = most_held(short, monkeypatch)
    assert held == most_held(long, monkeypatch)
    assert held[0] < 60
    assert held[1] <= 3


def test_boxes_that_reach_out_of_the_frame_are_cut_at_its_edge(street: Path) -> None:
    class Beyond(PaintDetector):
        def _find(self, frame: np.ndarray) -> PersonBoxes:
            box = np.array([[-16, 48, 80, 120]], dtype=np.float32)  # of a frame of 160 x 96
            return PersonBoxes(boxes=box, scores=np.array([0.9], dtype=np.float32))

    moment = next(iter(Localiser(untrained(), people=Beyond())(street)))
    assert moment.boxes_norm.tolist() == [[0.0, 0.5, 0.5, 1.0]]


def test_user_mistakes(street: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no localise head 'clips'"):
        Localiser(untrained(), people=PaintDetector(), task="clips")
    with pytest.raises(InputError, match="every_seconds"):
        Localiser(untrained(), people=PaintDetector(), every_seconds=0)
    with pytest.raises(VideoError, match="no such file"):
        list(Localiser(untrained(), people=PaintDetector())(tmp_path / "missing.mp4"))


def frames_at(*times: float) -> list[tuple[float, np.ndarray]]:
    return [(t, np.zeros((1, 1, 3), dtype=np.uint8)) for t in times]


@pytest.mark.parametrize(
    ("times", "spacing", "expected"),
    [
        ((0.0, 0.2, 0.4, 0.6), 0.2, [[0], [1], [2], [3]]),  # on the grid
        ((0.0, 0.3, 0.6, 0.9), 0.5, [[0], [], [1], []]),  # 0.5 is nearer to 0.6; 1.0 lies after the end
        ((0.0, 0.4, 0.6), 0.5, [[0], [1], []]),  # a tie goes to the earlier
        ((0.0, 2.0), 0.5, [[0, 1, 2], [3, 4]]),  # fewer frames than wanted times; 1.0 is a tie
        ((0.7, 0.8), 0.5, [[], []]),  # no multiple inside
        ((1.0,), 0.5, [[2]]),
        ((), 0.5, []),
    ],
)
def test_nearest_frames_of_regular_times(times: tuple[float, ...], spacing: float, expected: list[list[int]]) -> None:
    marked = list(mark_nearest(frames_at(*times), spacing))
    assert [ticks for _, _, ticks in marked] == expected
    assert [t for t, _, _ in marked] == list(times)


def test_ring_holds_a_bounded_number_of_frames_and_returns_the_nearest() -> None:
    ring = FrameRing(Preprocess(size=8, num_frames=4, frame_stride=2, fps=10.0), fps=240.0)  # a step of 0.2 s
    for i in range(1000):  # 240 frames a second
        ring.add(i / 240, np.full((8, 8, 3), i % 250, dtype=np.uint8), shot=0)
        ring.forget_before(i / 240 - 0.8)
    assert len(ring) <= 8 * 5
    clip, seconds = ring.clip(3.9, shot=0)
    wanted = [3.5, 3.7, 3.9, 4.1]
    found = clip[0, :, 0, 0].tolist()
    assert all(abs(v - (240 * t) % 250) <= 0.0125 * 240 + 1 for v, t in zip(found, wanted))
    assert [240 * s % 250 for s in seconds] == pytest.approx(found)


def test_classify_averages_views_of_the_whole_video(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((4 * i, 0, 4 * i + 30, 90), RED)], num_frames=30)
    loaded = untrained()
    one, three = (classify(video, loaded, num_views=n) for n in (1, 3))
    assert one.shape == (3,)
    assert one.sum() == pytest.approx(1.0, abs=1e-4)  # a softmax head
    assert three.sum() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(one - three).max() > 1e-4
    with pytest.raises(InputError, match="no classify head"):
        classify(video, loaded, task="boxes")


@pytest.mark.parametrize("changes", [{}, {"fps": 0.0, "frame_stride": 3}, {"exact_hw": (40, 53)}, {"short_side": 36}])
def test_classify_scores_a_video_as_separate_reads_of_the_data_set_do(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((4 * i, 0, 4 * i + 30, 90), RED)], num_frames=40)
    loaded = untrained()
    loaded = replace(loaded, preprocess=replace(loaded.preprocess, **changes))
    manifest = write_manifest(
        tmp_path / "m",
        name="m",
        kind="classify",
        multi_label=False,
        label_space=LabelSpace(name="clips", names=("a", "b", "c")),
        media_root=tmp_path,
        licence="",
        source="",
        clips=[
            {"clip_id": "v", "video": "v.mp4", "start_seconds": 0.0, "end_seconds": 4.0, "split": "val", "labels": [0]}
        ],
    )
    data = ClipDataset(manifest, "val", preprocess=loaded.preprocess, augment=None)
    crops: Crops = "centre" if loaded.preprocess.fit.is_letterbox else "three"
    scores = []
    for view in range(3):
        for crop in range(3 if crops == "three" else 1):
            frames = data.view(0, view=view, num_views=3, crop=crop, crops=crops).frames.transpose(0, 1)[None]
            with default_autocast(torch.device("cpu")), torch.inference_mode():
                logits = loaded.model(normalise(frames, loaded.preprocess), "clips")
            scores.append(logits.float().softmax(dim=1)[0].numpy())
    found = classify(video, loaded, num_views=3, crops=crops)
    assert np.allclose(found, np.mean(scores, axis=0), atol=1e-6)


def test_a_stride_in_frames_of_the_file_is_that_of_its_rate(street: Path) -> None:
    moments = list(Localiser(untrained(fps=10.0), people=PaintDetector())(street))  # the video has 10 frames a second
    own = list(Localiser(untrained(fps=0.0), people=PaintDetector())(street))
    assert len(own) == len(moments) > 2
    for one, other in zip(own, moments, strict=True):
        assert np.array_equal(one.scores, other.scores)


def test_boxes_follow_the_square_that_the_model_sees(street: Path) -> None:
    loaded = untrained()
    loaded = replace(loaded, preprocess=replace(loaded.preprocess, exact_hw=(40, 66)))
    localiser = Localiser(loaded, people=PaintDetector())
    boxes = localiser._on_canvas(np.array([[0.5, 0.5, 0.75, 0.75], [0, 0, 0.1, 1]], dtype=np.float32), (96, 160))
    # 40x66, the square of 32 begins at (4, 17); the second box lies left of it.
    assert boxes.tolist() == [[16, 16, 32, 26], [0, 0, 1, 32]]
    assert len(list(localiser(street))) > 2


def test_frames_are_read_no_larger_than_they_are(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> set[tuple[int, ...]]:
        seen = set()

        class Watching(PaintDetector):
            def __call__(self, frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
                seen.update(frame.shape for frame in frames)
                return super().__call__(frames)

        list(Localiser(untrained(), people=Watching())(street))
        return seen

    assert sizes() == {(96, 160, 3)}
    monkeypatch.setattr("tubelet.inference.pipeline.DECODE_SIZE", FrameSize(long_side=80, shrink_only=True))
    assert sizes() == {(48, 80, 3)}
