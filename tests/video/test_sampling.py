import pytest
import torch

from tubelet.video.sampling import keyframe_times, random_clip_times, view_times


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_keyframe_clip_has_the_keyframe_at_half() -> None:
    # 4 frames, stride 2 at 25 fps = 0.08 s apart; frame 2 is the keyframe.
    times = keyframe_times(10.0, num_frames=4, frame_stride=2, fps=25)
    assert times == pytest.approx([9.84, 9.92, 10.0, 10.08])
    assert keyframe_times(1.0, num_frames=1, frame_stride=1, fps=25) == [1.0]
    assert keyframe_times(1.0, num_frames=3, frame_stride=1, fps=10) == pytest.approx([0.9, 1.0, 1.1])


def test_one_view_is_the_centre_and_more_touch_both_ends() -> None:
    # Segment 0..10 s at 10 fps: the last frame begins at 9.9 s; a clip of 5 frames with stride 5 spans 2 s.
    (centre,) = view_times(0, 10, num_views=1, num_frames=5, frame_stride=5, fps=10)
    assert centre == pytest.approx([3.95, 4.45, 4.95, 5.45, 5.95])
    first, middle, last = view_times(0, 10, num_views=3, num_frames=5, frame_stride=5, fps=10)
    assert first[0] == pytest.approx(0.0)
    assert middle == pytest.approx(centre)
    assert last[-1] == pytest.approx(9.9)


def test_a_segment_shorter_than_the_clip_is_centred_in_it() -> None:
    # Segment 2..3 s: frames from 2.0 to 2.9; a clip of 2 s around 2.45.
    for times in (
        random_clip_times(2, 3, num_frames=3, frame_stride=10, fps=10, generator=generator()),
        view_times(2, 3, num_views=1, num_frames=3, frame_stride=10, fps=10)[0],
    ):
        assert times == pytest.approx([1.45, 2.45, 3.45])


def test_random_clips_stay_inside_and_reach_everywhere() -> None:
    source = generator()
    starts = []
    for _ in range(400):
        times = random_clip_times(5, 15, num_frames=8, frame_stride=2, fps=25, generator=source)
        assert times[0] >= 5
        assert times[-1] <= 15 - 0.04 + 1e-9
        assert torch.tensor(times).diff().tolist() == pytest.approx([0.08] * 7, abs=1e-5)
        starts.append(times[0])
    # Room for the start: 5 .. 15 - 0.04 - 0.56 = 14.4; uniform, so mean 9.7 and both ends are met.
    assert min(starts) < 5.2
    assert max(starts) > 14.2
    assert sum(starts) / 400 == pytest.approx(9.7, abs=0.4)


def test_the_generator_decides_alone() -> None:
    options = {"num_frames": 4, "frame_stride": 1, "fps": 25.0}
    a, b = (random_clip_times(0, 100, generator=generator(3), **options) for _ in range(2))  # type: ignore[arg-type]
    assert a == b
    assert a != random_clip_times(0, 100, generator=generator(4), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("frames", "stride", "fps"), [(0, 1, 25.0), (1, 0, 25.0), (1, 1, 0.0)])
def test_values_that_make_no_clip(frames: int, stride: int, fps: float) -> None:
    with pytest.raises(ValueError, match="must all be positive"):
        keyframe_times(1.0, num_frames=frames, frame_stride=stride, fps=fps)
    with pytest.raises(ValueError, match="num_views"):
        view_times(0, 1, num_views=0, num_frames=1, frame_stride=1, fps=25)


def test_whole_frames_begin_at_a_frame_of_the_file() -> None:
    rates = {"num_frames": 4, "frame_stride": 3, "fps": 10.0, "whole_frames": True}
    for times in (
        keyframe_times(2.03, **rates),  # type: ignore[arg-type]
        random_clip_times(0.0, 6.0, generator=generator(), **rates),  # type: ignore[arg-type]
        *view_times(0.05, 6.05, num_views=4, **rates),  # type: ignore[arg-type]
    ):
        numbers = [time * 10 for time in times]
        assert numbers == pytest.approx([round(n) for n in numbers])
        assert numbers[1] - numbers[0] == pytest.approx(3)
    assert keyframe_times(2.03, **rates)[2] == pytest.approx(2.0)  # type: ignore[arg-type]
