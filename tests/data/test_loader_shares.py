"""Processes that share a run's batches: what each loads, and that together it is what one alone would load."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loader_sets import deadly_sets, make_sets

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import batches
from tubelet.data.mixture import STRATEGIES, Mixture, sample_seed
from tubelet.types import ClipBatch, InputError
from tubelet.video.augmentations import BatchAugment

Steps = list[tuple[int, tuple[ClipBatch, ...]]]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipDataset]:
    return make_sets(tmp_path_factory.mktemp("shares"))


def mixture(sets: dict[str, ClipDataset], strategy: str = "weighted", batch_size: int = 8) -> Mixture:
    sizes = {task: len(dataset) for task, dataset in sets.items()}
    return Mixture(sizes, strategy=strategy, batch_size=batch_size, num_steps=4, seed=2)


def joined(shares: list[ClipBatch]) -> ClipBatch:
    """Return the shares of a part as one batch."""
    clips = [len(share.sample_ids) for share in shares]
    box_clip = None
    if shares[0].box_clip is not None:
        box_clip = torch.cat([share.box_clip + sum(clips[:rank]) for rank, share in enumerate(shares)])
    tensors: dict[str, Any] = {
        name: None if getattr(shares[0], name) is None else torch.cat([getattr(share, name) for share in shares])
        for name in ("video", "targets", "boxes", "boxes_norm", "box_scores")
    }
    joined_names: dict[str, Any] = {
        name: sum((getattr(share, name) for share in shares), ())
        for name in ("sample_ids", "skipped_ids", "seeds", "slots")
    }
    counts = {name: sum(getattr(share, name) for share in shares) for name in ("num_clamped", "num_dropped_boxes")}
    return ClipBatch(task=shares[0].task, box_clip=box_clip, **tensors, **joined_names, **counts)


def assert_same(ours: ClipBatch, theirs: ClipBatch) -> None:
    for name in ("video", "targets", "boxes", "box_clip", "boxes_norm", "box_scores"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a is None and b is None) or torch.equal(a, b), name

    for name in ("task", "sample_ids", "skipped_ids", "seeds", "slots", "num_clamped", "num_dropped_boxes"):
        assert getattr(ours, name) == getattr(theirs, name), name


def assert_shares_join(
    sets: dict[str, ClipDataset], plan: Mixture, whole: Steps, world_size: int, **options: Any
) -> None:
    ranks = [
        list(batches(sets, plan, seed=9, rank=rank, world_size=world_size, **options)) for rank in range(world_size)
    ]
    assert [step for step, _ in whole] == list(range(plan.num_steps))
    for (step, parts), *shares in zip(whole, *ranks, strict=True):
        assert {number for number, _ in shares} == {step}
        assert {len(mine) for _, mine in shares} == {len(parts)}
        for number, part in enumerate(parts):
            assert_same(joined([mine[number] for _, mine in shares]), part)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shares_of_processes_join_to_the_batch_of_one(sets: dict[str, ClipDataset], strategy: str) -> None:
    plan = mixture(sets, strategy)
    whole = list(batches(sets, plan, seed=9))
    for step, parts in whole:
        assert [(batch.task, batch.slots) for batch in parts] == [(part.task, part.slots) for part in plan.parts(step)]
        for batch in parts:
            assert batch.seeds == tuple(sample_seed(9, step, slot) for slot in batch.slots)
    assert max(len(parts) for _, parts in whole) == (2 if strategy == "mixed" else 1)
    assert_shares_join(sets, plan, whole, 2)
    assert_shares_join(sets, plan, whole, 4, num_workers=1 if strategy == "mixed" else 0)


def test_a_part_smaller_than_the_processes_leaves_some_without(sets: dict[str, ClipDataset]) -> None:
    """Every process has every part, so that all of them do the same passes through the model."""
    plan = Mixture(
        {task: len(d) for task, d in sets.items()},
        strategy="mixed",
        batch_size=8,
        num_steps=4,
        seed=0,
        weights={"classify": 7, "localise": 1},
    )
    found = [list(batches(sets, plan, seed=9, rank=rank, world_size=4, num_workers=1)) for rank in range(4)]
    sizes = [[[len(part.sample_ids) for part in parts] for _, parts in steps] for steps in found]
    # Seven eighths of the slots, in pairs: all or six of eight.
    assert sizes[0] == sizes[1] == sizes[2] == [[2, 0], [2], [2], [2, 0]]
    assert sizes[3] == [[0, 2], [2], [2], [0, 2]]


def test_clips_that_mix_stay_in_one_process(tmp_path: Path) -> None:
    sets = make_sets(tmp_path)
    augment = sets["classify"]._augment
    assert augment is not None
    sets["classify"]._augment = replace(augment, batch=BatchAugment(mixup=0.4))
    plan = mixture({"classify": sets["classify"]}, batch_size=8)
    only = {"classify": sets["classify"]}
    shares = [next(batches(only, plan, seed=9, rank=rank, world_size=2))[1][0].slots for rank in (0, 1)]
    assert shares == [(0, 1, 2, 3), (4, 5, 6, 7)]


@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 3), (2, 4)])
def test_a_batch_that_does_not_divide_is_refused(
    sets: dict[str, ClipDataset], batch_size: int, world_size: int
) -> None:
    plan = mixture(sets, batch_size=batch_size)
    message = f"batch_size is {batch_size}, expected a multiple of the {world_size} processes"
    with pytest.raises(InputError, match=message):
        next(batches(sets, plan, seed=9, world_size=world_size))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_who_skips_what_does_not_depend_on_the_processes(tmp_path: Path, num_workers: int) -> None:
    sets = deadly_sets(tmp_path, broken=("b.mp4",))
    plan = mixture(sets)
    whole = list(batches(sets, plan, seed=9, on_error="skip"))
    assert 4 < sum(len(part.skipped_ids) for _, parts in whole for part in parts) < 28
    for world_size in (2, 4):
        assert_shares_join(sets, plan, whole, world_size, on_error="skip", num_workers=num_workers)
