"""Batches from data sets. What is in a batch follows from its step alone, whoever makes it and whatever happens.

Workers make single samples, so that all of them work at the batch that is wanted next, and a sample whose video kills
its worker is known by name. They hold no tables: each order brings the rows it needs (``ClipDataset.example``).
"""

import logging
import math
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tubelet.data.dataset import ClipDataset
from tubelet.data.handover import MakeSample, SharedVideo, make_sample, place_sample, rebuilt, share_video
from tubelet.data.mixture import Mixture, sample_seed, slots_of_rank
from tubelet.types import ClipBatch, ClipSample, Crops, InputError, OnError, VideoError
from tubelet.worker_pool import WorkerPool

logger = logging.getLogger(__name__)

PREFETCH_BYTES = 512 * 2**20
MAX_AHEAD = 100
"""Batches that may be in the making, however small they are: each holds an open file."""
ORDERS_PER_STEP = 4
SAMPLE_SECONDS = 1800.0
"""A sample that takes longer is given up; one that fills the frame cache decodes its whole video."""
WORKER_MODULES = ("tubelet.data.handover", "tubelet.video.ready")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a batch is to be made of."""

    step: int
    task: str
    indices: Sequence[int]
    make: Sequence[MakeSample]
    """How each sample is made; sent to workers."""
    frame_hw: tuple[int, int]
    """Height and width of the samples."""
    slots: tuple[int, ...] = ()
    """Place of each sample in the step's global batch; in training only."""
    ends_step: bool = True
    """No other batch of this step follows."""


def collate(task: str, samples: Sequence[ClipSample]) -> ClipBatch:
    """Stack samples of one task into a batch; frames (T, 3, S, S) become video (B, 3, T, S, S)."""
    if not samples:
        raise ValueError("a batch needs at least one sample")
    num_frames, channels, height, width = samples[0].frames.shape
    video = torch.empty((len(samples), channels, num_frames, height, width), dtype=torch.uint8)
    for place, sample in zip(video, samples, strict=True):
        place_sample(sample, place)
    return _batch(task, video, samples)


def batches(
    datasets: Mapping[str, ClipDataset],
    mixture: Mixture,
    *,
    start_step: int = 0,
    num_workers: int = 0,
    seed: int,
    on_error: OnError = "raise",
    rank: int = 0,
    world_size: int = 1,
    prefetch_bytes: int = PREFETCH_BYTES,
) -> Generator[tuple[int, tuple[ClipBatch, ...]]]:
    """Yield ``(step, batches)`` from ``start_step`` to the end of the mixture: this process's share of every part.

    The batches of a step depend on (seed, step) alone; those of all processes together are the same for any
    ``world_size``. A batch may be empty: where none of a ``mixed`` step's part lies in this process's slots, and where
    none of a share can be made.

    Args:
        datasets: The data set of each task of the mixture.
        mixture: Which tasks and samples a step takes.
        start_step: First step.
        num_workers: Processes that read ahead; 0 = read here.
        seed: Of the augmentation.
        on_error: ``raise``: a sample that cannot be made ends the run. ``skip``: its batch is short of it, the others
            of the batch stay what they are; it is logged and named in ``ClipBatch.skipped_ids``. When that is too
            much is said by ``train.session.check_skips``.
        rank: Number of this training process, 0..world_size-1.
        world_size: Training processes.
        prefetch_bytes: Room for the frames of batches that are being made or wait to be used; one batch always has it.

    Raises:
        VideoError: A sample's video cannot be read; the message names the sample.
        WorkerError: A sample killed every worker that tried it, or took too long; named as well.
        InputError: Another mistake of the data; or sizes of the mixture that are not the data sets'; or a batch that
            does not divide by the processes.
    """
    sizes = {task: len(dataset) for task, dataset in datasets.items()}
    if sizes != mixture.sizes:
        raise InputError(f"the mixture was made for sets of {mixture.sizes}, the data sets have {sizes}")
    slots = slots_of_rank(mixture.batch_size, rank, world_size)

    def orders() -> Iterator[Wanted]:
        for step in range(start_step, mixture.num_steps):
            parts = mixture.parts(step)
            for number, part in enumerate(parts, start=1):
                share = part.share(slots)
                yield Wanted(
                    step=step,
                    task=part.task,
                    indices=share.indices,
                    make=[partial(ClipDataset.sample, seed=sample_seed(seed, step, slot)) for slot in share.slots],
                    frame_hw=datasets[part.task].view_hw("centre"),
                    slots=share.slots,
                    ends_step=number == len(parts),
                )

    found: list[ClipBatch] = []
    for wanted, batch in _load(datasets, orders(), num_workers, prefetch_bytes, on_error):
        found.append(batch)
        if wanted.ends_step:
            yield wanted.step, tuple(found)
            found = []


def evaluation_batches(
    dataset: ClipDataset,
    task: str,
    batch_size: int,
    num_workers: int = 0,
    *,
    view: int | Sequence[int] = 0,
    num_views: int | Sequence[int] = 1,
    crop: int = 0,
    crops: Crops = "centre",
    indices: Sequence[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
    prefetch_bytes: int = PREFETCH_BYTES,
) -> Iterator[ClipBatch]:
    """Yield one view of every example (``ClipDataset.view``), in order, in batches of at most ``batch_size``.

    Of several processes each takes every ``world_size``-th batch, so a batch holds the same examples for any number of
    them. All get as many batches, the last of which may be empty. Errors are those of ``batches``.

    Args:
        dataset: The examples.
        task: Named in the batches.
        batch_size: Examples of a batch.
        num_workers: Processes that read ahead; 0 = read here.
        view: Of ``ClipDataset.view``: one for all, or one for each of ``indices``.
        num_views: Likewise.
        crop: Of ``ClipDataset.view``, for all.
        crops: Likewise.
        indices: Which examples, some perhaps several times; None = each once.
        rank: Number of this process.
        world_size: Processes.
        prefetch_bytes: As in ``batches``.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected at least 1")
    frame_hw = dataset.view_hw(crops)
    chosen = range(len(dataset)) if indices is None else indices

    def make(place: int) -> MakeSample:
        own, of = (value if isinstance(value, int) else value[place] for value in (view, num_views))
        return partial(ClipDataset.view, view=own, num_views=of, crop=crop, crops=crops)

    def orders() -> Iterator[Wanted]:
        for number in range(-(-len(chosen) // (batch_size * world_size))):
            first = (number * world_size + rank) * batch_size
            taken = chosen[first : first + batch_size]
            how = [make(place) for place in range(first, first + len(taken))]
            yield Wanted(step=number, task=task, indices=taken, make=how, frame_hw=frame_hw)

    # Never "skip": a score over the examples that could be read is not the score of the set.
    for _, batch in _load({task: dataset}, orders(), num_workers, prefetch_bytes, "raise"):
        yield batch


def _named(error: InputError, sample_id: str) -> InputError:
    if isinstance(error, VideoError):
        return VideoError(error.path, f"sample {sample_id}: {error.reason}", error.pts_seconds)
    return type(error)(f"sample {sample_id}: {error}")


def _load(
    datasets: Mapping[str, ClipDataset],
    orders: Iterator[Wanted],
    num_workers: int,
    prefetch_bytes: int,
    on_error: OnError,
) -> Iterator[tuple[Wanted, ClipBatch]]:
    if num_workers == 0:
        made = (_made_here(datasets[wanted.task], wanted) for wanted in orders)
        yield from ((p.wanted, _finished(p, datasets[p.wanted.task], on_error)) for p in made)
        return
    setup = {task: dataset.holding(dataset.example(0)) for task, dataset in datasets.items()}
    with (
        WorkerPool(num_workers, setup=setup, modules=WORKER_MODULES, call_seconds=SAMPLE_SECONDS) as pool,
        closing(_ordered(pool, datasets, orders, prefetch_bytes)) as ordered,
    ):
        for pending in ordered:
            yield pending.wanted, _finished(pending, datasets[pending.wanted.task], on_error)


@dataclass(kw_only=True, slots=True)
class _Pending:
    """A batch in the making."""

    wanted: Wanted
    shared: SharedVideo | None
    """Where workers put the frames."""
    made: dict[int, Any] = field(default_factory=dict)
    """By place in the batch: a sample, or what ``make_sample`` returns."""
    errors: dict[int, InputError] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.made) + len(self.errors) == len(self.wanted.indices)


def _made_here(dataset: ClipDataset, wanted: Wanted) -> _Pending:
    pending = _Pending(wanted=wanted, shared=None)
    for place, (index, make) in enumerate(zip(wanted.indices, wanted.make, strict=True)):
        try:
            pending.made[place] = make(dataset, index)
        except InputError as error:
            pending.errors[place] = error
    return pending


def _ordered(
    pool: WorkerPool, datasets: Mapping[str, ClipDataset], orders: Iterator[Wanted], prefetch_bytes: int
) -> Generator[_Pending, None, None]:
    """Yield complete batches in order; order more of them while there is room."""
    window: dict[int, _Pending] = {}
    number = ahead = taken = 0
    upcoming = next(orders, None)
    try:
        while upcoming is not None or window:
            # A few batches at a time, so that the first does not wait until the last is ordered.
            limit = min(ahead + ORDERS_PER_STEP, number + MAX_AHEAD)
            while upcoming is not None and ahead < limit:
                num_bytes = len(upcoming.indices) * math.prod(_sample_shape(datasets[upcoming.task], upcoming))
                if window and taken + num_bytes > prefetch_bytes:
                    break
                taken += num_bytes
                window[ahead] = _submit(pool, datasets[upcoming.task], upcoming, ahead)
                ahead += 1
                upcoming = next(orders, None)
            while not window[number].complete:
                done = pool.result()
                at, place = done.key
                if done.error is None:
                    window[at].made[place] = done.value
                else:
                    window[at].errors[place] = done.error
            pending = window.pop(number)
            number += 1
            if pending.shared is not None:
                os.close(pending.shared.fd)
                taken -= pending.shared.video.numel()
            yield pending
    finally:
        pool.close()
        for pending in window.values():
            if pending.shared is not None:
                os.close(pending.shared.fd)


def _submit(pool: WorkerPool, dataset: ClipDataset, wanted: Wanted, number: int) -> _Pending:
    if not wanted.indices:
        return _Pending(wanted=wanted, shared=None)
    shape = _sample_shape(dataset, wanted)
    shared = share_video((len(wanted.indices), *shape))
    for place, (index, make) in enumerate(zip(wanted.indices, wanted.make, strict=True)):
        arguments = (wanted.task, dataset.example(index), make, shape, place)
        pool.submit((number, place), make_sample, *arguments, fd=shared.fd)
    return _Pending(wanted=wanted, shared=shared)


def _finished(pending: _Pending, dataset: ClipDataset, on_error: OnError) -> ClipBatch:
    """Return the batch when all of it was tried, short of what may be skipped."""
    wanted = pending.wanted
    skipped = []
    for place in sorted(pending.errors):
        sample_id = dataset.sample_id(wanted.indices[place])
        error = _named(pending.errors[place], sample_id)
        if on_error == "raise":
            raise error
        logger.warning("step %d: left out: %s", wanted.step + 1, error)  # counted from 1, as in ``metrics.jsonl``
        skipped.append(sample_id)
    places = sorted(pending.made)
    if not places:
        batch = _no_samples(dataset, wanted)
    elif pending.shared is None:
        batch = collate(wanted.task, [pending.made[place] for place in places])
    else:
        video = pending.shared.video
        samples = [rebuilt(pending.made[place], video[place]) for place in places]
        batch = _batch(wanted.task, video[places] if skipped else video, samples)
    slots = tuple(wanted.slots[place] for place in places) if wanted.slots else ()
    return replace(batch, skipped_ids=tuple(skipped), slots=slots)


def _sample_shape(dataset: ClipDataset, wanted: Wanted) -> tuple[int, int, int, int]:
    return 3, dataset.preprocess.num_frames, *wanted.frame_hw


def _no_samples(dataset: ClipDataset, wanted: Wanted) -> ClipBatch:
    localise = dataset.kind == "localise"
    return ClipBatch(
        task=wanted.task,
        video=torch.empty((0, *_sample_shape(dataset, wanted)), dtype=torch.uint8),
        targets=torch.empty((0, len(dataset.label_space))),
        boxes=torch.empty((0, 4)) if localise else None,
        box_clip=torch.empty(0, dtype=torch.int64) if localise else None,
        boxes_norm=torch.empty((0, 4)) if localise else None,
        box_scores=torch.empty(0) if localise else None,
        sample_ids=(),
    )


def _batch(task: str, video: Tensor, samples: Sequence[ClipSample]) -> ClipBatch:
    counts = torch.tensor([s.targets.shape[0] for s in samples])
    localise = samples[0].boxes is not None
    return ClipBatch(
        task=task,
        video=video,
        targets=torch.cat([s.targets for s in samples]),
        boxes=_cat([s.boxes for s in samples]),
        box_clip=torch.arange(len(samples)).repeat_interleave(counts) if localise else None,
        boxes_norm=_cat([s.boxes_norm for s in samples]),
        box_scores=_cat([s.box_scores for s in samples]),
        sample_ids=tuple(s.sample_id for s in samples),
        num_clamped=sum(s.num_clamped for s in samples),
        num_dropped_boxes=sum(s.num_dropped_boxes for s in samples),
        seeds=tuple(s.seed for s in samples),
    )


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [t for t in tensors if t is not None]
    return torch.cat(present) if present else None
