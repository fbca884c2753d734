import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tubelet.data.handover import make_sample, place_sample, rebuilt, share_video
from tubelet.types import ClipSample

SHAPE = (3, 4, 5, 7)


class OneSample:
    """Stands for a data set; whatever row it holds, its sample is one and the same."""

    def __init__(self, frames: Tensor) -> None:
        self.sample = ClipSample(
            frames=frames, targets=torch.ones(1, 2), boxes=None, boxes_norm=None, box_scores=None, sample_id="a", seed=5
        )

    def holding(self, example: object) -> "OneSample":
        return self


def handed_over(frames: Tensor, row: int, num_rows: int = 3) -> tuple[Tensor, ClipSample]:
    shared = share_video((num_rows, *SHAPE))
    try:
        rest = make_sample({"t": OneSample(frames)}, "t", None, lambda one, _: one.sample, SHAPE, row, shared.fd)  # type: ignore[dict-item, arg-type, attr-defined]
    finally:
        os.close(shared.fd)
    return shared.video, rebuilt(rest, shared.video[row])


@pytest.mark.parametrize(
    "changed",
    [
        lambda frames: frames,
        lambda frames: frames.flip(-1),
        lambda frames: frames.transpose(0, 1).contiguous().transpose(0, 1),
        lambda frames: frames.repeat(1, 1, 1, 2)[..., ::2],
        lambda frames: frames[:1].expand(4, -1, -1, -1),
    ],
    ids=["as read", "flipped", "channels first", "every other column", "one frame for all"],
)
def test_a_sample_lands_in_its_place_however_it_lies_in_memory(changed: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = changed(torch.randint(1, 256, (4, 3, 5, 7), dtype=torch.uint8, generator=generator))
    video, sample = handed_over(frames, row=1)
    assert torch.equal(sample.frames, frames)
    assert torch.equal(video[1], frames.transpose(0, 1))
    assert not video[[0, 2]].any()
    assert (sample.sample_id, sample.seed, sample.targets.tolist()) == ("a", 5, [[1.0, 1.0]])


def test_a_write_that_the_system_cuts_short_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, lengths = os.pwrite, []

    def short(fd: int, data: memoryview, offset: int) -> int:
        lengths.append(len(data))
        return whole(fd, data[:8], offset)

    monkeypatch.setattr(os, "pwrite", short)
    frames = torch.arange(4 * 3 * 5 * 7).remainder(251).to(torch.uint8).view(4, 3, 5, 7)
    video, _ = handed_over(frames, row=2)
    assert torch.equal(video[2], frames.transpose(0, 1))
    assert sorted(set(lengths)) == [3, 11, 19, 27, 35]


def test_frames_of_another_shape_are_refused_by_name_and_nothing_is_written() -> None:
    frames = torch.ones((1, 3, 5, 7), dtype=torch.uint8)  # would be stretched over four
    with pytest.raises(ValueError, match=r"sample a is \(3, 1, 5, 7\), its batch takes \(3, 4, 5, 7\)"):
        handed_over(frames, row=0)
    room = torch.zeros(SHAPE, dtype=torch.uint8)
    with pytest.raises(ValueError, match="sample a"):
        place_sample(OneSample(frames).sample, room)
    assert not room.any()
