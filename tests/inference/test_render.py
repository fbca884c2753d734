from dataclasses import replace
from io import BytesIO
from math import inf
from pathlib import Path

import av
import numpy as np
import pytest
from inference_fakes import GREY, write_uneven, write_video
from PIL import Image

from tubelet.inference.drawing import (
    PALETTE,
    UNKNOWN_COLOUR,
    DrawnPerson,
    _best_place,
    draw_people,
    identity_colour,
    text_ink,
    text_size,
)
from tubelet.inference.render import LabelStyle, Timeline, drawn_size, render, stills
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames

SPACE = LabelSpace(name="s", names=("walk", "carry / hold", "fight"))
STYLE = LabelStyle(label_space=SPACE, top=2, threshold=0.2)


def moment(
    pts_seconds: float, people: dict[int, tuple[float, float, float, float]], score: float = 0.5
) -> ActionDetections:
    n = len(people)
    return ActionDetections(
        video="v",
        pts_seconds=pts_seconds,
        boxes_norm=np.array(list(people.values()), dtype=np.float32).reshape(n, 4),
        scores=np.full((n, 3), score, dtype=np.float32),
        box_scores=np.ones(n, dtype=np.float32),
        person_ids=np.array(list(people), dtype=np.int64),
    )


def seen(timeline: Timeline, pts_seconds: float) -> dict[int, float]:
    """Identity to left side."""
    return {person: round(float(box[0]), 4) for box, _, person in timeline.people(pts_seconds)}


def test_beside_somebody_small_the_text_is_smaller_but_readable() -> None:
    """At 960x720 text is 26 px high; beside 100 px it is 20, beside 30 px the least, 13."""
    ink = []
    for height in (400, 100, 30):
        frame = np.zeros((720, 960, 3), dtype=np.uint8)
        person = DrawnPerson(box=(400.0, 300.0, 450.0, 300.0 + height), person_id=1, actions=(("walk", 0.9),))
        drawn = draw_people(frame, [person])
        rows = np.flatnonzero((drawn == 255).all(axis=2).any(axis=1))  # the white of the text
        ink.append(int(rows[-1] - rows[0]))
    assert ink[0] > ink[1] > ink[2] >= 6


def test_boxes_and_scores_move_evenly_between_keyframes() -> None:
    moments = [moment(1.0, {7: (0.0, 0, 0.2, 1)}, score=0.2), moment(2.0, {7: (0.4, 0, 0.6, 1)}, score=0.6)]
    ((box, scores, person),) = Timeline(moments).people(1.25)
    assert person == 7
    assert box == pytest.approx([0.1, 0, 0.3, 1])
    assert scores == pytest.approx([0.3] * 3)


def test_somebody_in_one_keyframe_only_is_drawn_near_it() -> None:
    moments = [moment(1.0, {1: (0.1, 0, 0.2, 1)}), moment(2.0, {2: (0.3, 0, 0.4, 1)}), moment(3.0, {})]
    timeline = Timeline(moments)
    expected = {0.4: {}, 0.9: {1: 0.1}, 1.0: {1: 0.1}, 1.4: {1: 0.1}, 1.6: {2: 0.3}, 2.4: {2: 0.3}, 2.6: {}, 3.5: {}}
    assert {t: seen(timeline, t) for t in expected} == expected


def test_nobody_is_drawn_in_another_shot() -> None:
    """A cut at 1.2: the first person stays up to it, the second appears from it on, although nearer to 1.0 than 2.0."""

    def cut_at(seconds: float) -> list[ActionDetections]:
        one, two = moment(1.0, {1: (0.1, 0, 0.2, 1)}), moment(1.5, {2: (0.3, 0, 0.4, 1)})
        return [replace(one, shot_seconds=(-inf, seconds)), replace(two, shot_seconds=(seconds, inf))]

    for t, expected in {1.1: {1: 0.1}, 1.19: {1: 0.1}, 1.2: {2: 0.3}, 1.3: {2: 0.3}}.items():
        assert seen(Timeline(cut_at(1.2)), t) == expected, t
    # A cut late in the interval: without it the second person would be drawn from 1.25 on.
    uncut = [replace(m, shot_seconds=(-inf, inf)) for m in cut_at(0)]
    assert seen(Timeline(uncut), 1.3) == {2: 0.3}
    assert seen(Timeline(cut_at(1.4)), 1.3) == {1: 0.1}
    # A cut after the last keyframe and before the first.
    assert seen(Timeline(cut_at(1.2)[:1]), 1.3) == {}
    assert seen(Timeline(cut_at(1.2)[1:]), 1.1) == {}
    # A whole shot between two keyframes shows nobody.
    far = [replace(m, shot_seconds=s) for m, s in zip(cut_at(0), ((-inf, 1.1), (1.4, inf)), strict=True)]
    assert [seen(Timeline(far), t) for t in (1.05, 1.2, 1.45)] == [{1: 0.1}, {}, {2: 0.3}]


def test_the_drawn_box_has_the_identity_colour_where_the_person_is(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [], num_frames=20, size_wh=(320, 240))
    moments = [moment(i / 2, {1: (0.25, 0.5, 0.75, 0.9)}) for i in range(5)]
    out = tmp_path / "out" / "annotated.mp4"
    done = render(video, iter(moments), out, style=STYLE)
    assert (done.num_frames, done.num_repeated, done.num_dropped) == (20, 0, 0)
    frames = list(iter_frames(out))
    assert len(frames) == 20
    pts, frame = frames[12]
    assert pts == pytest.approx(1.2)
    assert frame.shape == (480, 640, 3)  # enlarged so that text can be read
    for y, x in ((336, 160), (336, 480), (240, 320), (432, 320)):  # the middles of the four sides
        strongest = frame[y - 4 : y + 5, x - 4 : x + 5].astype(int).reshape(-1, 3)
        nearest = np.abs(strongest - PALETTE[0]).sum(axis=1).min()
        assert nearest < 90, (y, x)
    inside = frame[300:400, 250:400].astype(int)
    assert np.abs(inside - GREY).max() < 40
    assert np.abs(frame[200:236, 170:300].astype(int) - GREY).max() > 60  # the panel stands above the box


def test_a_variable_rate_keeps_boxes_in_step_with_the_pictures(tmp_path: Path) -> None:
    """Frames at 0, .1, .2, then 1.0, 1.1, ...: the output fills the pause and shows each frame at its own time."""
    times = [0, 1, 2, 10, 11, 12, 13]
    path = write_uneven(tmp_path / "vfr.mp4", times)
    rate = probe(path).fps
    done = render(path, [], tmp_path / "out.mp4", style=STYLE)
    assert done.num_frames == int(1.3 * rate + 0.5) + 1
    source = {t / 10: 10 * t + 20 for t in times}
    for pts, frame in iter_frames(tmp_path / "out.mp4"):
        # On screen is the last picture that begins before the middle of the output frame's time.
        due = max(t for t in source if t < pts + 0.5 / rate - 1e-6)
        assert int(frame[0, 0, 0]) == pytest.approx(source[due], abs=3), pts
    assert done.num_repeated > 0
    assert done.num_frames - done.num_repeated + done.num_dropped == len(times)


def test_the_annotated_video_is_heard(tmp_path: Path) -> None:
    video = tmp_path / "loud.mkv"
    with av.open(str(video), "w") as container:
        pictures, sound = container.add_stream("libx264", rate=10), container.add_stream("pcm_s16le", rate=8000)
        pictures.width, pictures.height, pictures.pix_fmt = 160, 96, "yuv420p"
        sound.codec_context.layout = "mono"
        for i in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((96, 160, 3), dtype=np.uint8), format="rgb24")
            container.mux(pictures.encode(picture))
            heard = av.AudioFrame.from_ndarray(np.full((1, 800), 5000, dtype=np.int16), format="s16", layout="mono")
            heard.sample_rate, heard.pts = 8000, 800 * i
            container.mux(sound.encode(heard))
        container.mux(pictures.encode(None))
    render(video, [], tmp_path / "out.mp4", style=STYLE)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == pytest.approx(8000, abs=2048)


def test_all_moments_are_read_even_if_no_frame_needs_them(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [], num_frames=5)
    read = []

    def source():  # type: ignore[no-untyped-def]
        for t in (0.0, 0.5, 1.0, 9.0):
            read.append(t)
            yield moment(t, {})

    render(video, source(), tmp_path / "out.mp4", style=STYLE)
    assert read == [0.0, 0.5, 1.0, 9.0]


def test_a_video_is_never_its_own_output_and_failures_leave_nothing(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [], num_frames=5)
    with pytest.raises(InputError, match="its own input"):
        render(video, [], video, style=STYLE)

    def broken():  # type: ignore[no-untyped-def]
        yield moment(0.0, {})
        raise InputError("the model is gone")

    with pytest.raises(InputError, match="the model is gone"):
        render(video, broken(), tmp_path / "out.mp4", style=STYLE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.mp4"]


def test_stills_are_pictures_of_their_moments(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [], num_frames=20, background=lambda i: (8 * i + 20,) * 3)
    moments = [moment(t, {}) for t in (1.5, 0.5)]
    for image_format, magic in (("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")):
        pictures = stills(video, moments, style=STYLE, max_side=200, image_format=image_format)  # type: ignore[arg-type]
        assert all(p.startswith(magic) for p in pictures)
        images = [Image.open(BytesIO(p)) for p in pictures]
        assert [i.size for i in images] == [(200, 120)] * 2
        levels = [np.asarray(i).mean() for i in images]
        assert levels == pytest.approx([8 * 15 + 20, 8 * 5 + 20], abs=4)
    assert stills(video, [], style=STYLE) == []


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (128, 96, (640, 480)),
        (640, 272, (1130, 480)),
        (1920, 1080, (1280, 720)),
        (1080, 1920, (720, 1280)),
        (641, 481, (640, 480)),
    ],
)
def test_drawn_size(width: int, height: int, expected: tuple[int, int]) -> None:
    assert drawn_size(VideoMeta(path="v", width=width, height=height, fps=25.0, duration_seconds=1.0)) == expected


def test_only_the_best_actions_above_the_threshold_are_named() -> None:
    assert STYLE.actions(np.array([0.3, 0.9, 0.5])) == (("carry / hold", 0.9), ("fight", 0.5))
    assert STYLE.actions(np.array([0.1, 0.0, 0.19])) == ()


def test_identities_have_colours_of_their_own() -> None:
    assert len({identity_colour(i) for i in range(1, 8)}) == 7
    assert identity_colour(-1) == UNKNOWN_COLOUR
    assert text_size(96, 128) >= 13
    assert text_size(1080, 1920) == 39


def test_panels_stay_inside_the_frame_and_apart_and_any_script_is_drawn() -> None:
    frame = np.zeros((240, 320, 3), dtype=np.uint8)
    actions = (("gå: ходить", 1.0), ("walk", 0.0))
    people = [
        DrawnPerson(box=(x, 0.0, x + 40.0, 239.0), person_id=i, actions=actions) for i, x in ((1, 275.0), (2, 0.0))
    ]
    drawn = draw_people(frame, people)
    assert drawn.shape == frame.shape
    assert not frame.any()  # the input is left alone
    for colour, columns in ((PALETTE[0], slice(100, 320)), (PALETTE[1], slice(0, 220))):
        tag = (np.abs(drawn[:, columns].astype(int) - colour).sum(axis=2) < 30).sum()
        assert tag > 300


def test_a_panel_hides_other_panels_least_of_all_then_people() -> None:
    """A panel of 60 x 30 beside a box: above it, below it, to its right, ... whichever is free first."""
    box = (100.0, 100.0, 150.0, 200.0)

    def place(taken: list[tuple[float, ...]], others: list[tuple[float, ...]]) -> tuple[float, float]:
        return _best_place(box, 60, 30, (400, 400), taken, others)  # type: ignore[arg-type]

    above, below, right = (100, 70), (100, 200), (150, 100)
    person_above, panel_below = (90.0, 60.0, 170.0, 100.0), (100.0, 200.0, 160.0, 230.0)
    assert place([], []) == above
    assert place([], [person_above]) == below
    assert place([panel_below], [person_above]) == right
    # Everywhere around stands somebody, and a tenth of the place above is a panel's: 10 x 180 px outweigh 1800 px.
    crowd = (0.0, 0.0, 400.0, 400.0)
    assert place([(100.0, 70.0, 106.0, 100.0)], [crowd]) == below
    assert place([], [crowd]) == above


def test_identities_are_written_in_what_can_be_read_on_their_colour() -> None:
    """Luma of yellow (240, 228, 66): 213, of blue (0, 114, 178): 87."""
    assert text_ink((240, 228, 66)) == (0, 0, 0)
    assert text_ink((0, 114, 178)) == (255, 255, 255)
    assert text_ink((0, 0, 255)) == (255, 255, 255)
    assert text_ink((0, 255, 0)) == (0, 0, 0)
