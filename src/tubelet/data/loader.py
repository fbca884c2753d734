"""Batches from data sets. What is in a batch follows from its step alone, whoever makes it and whatever happens.

Workers make single samples, so that all of them work at the batch that is wanted next, and a sample whose video kills
its worker is known by name. They hold no tables: each order brings the rows it needs (``ClipDataset.example``).
"""

import logging
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from tubelet.data.dataset import ClipDataset
from tubelet.data.handover import MakeSample, SharedVideo, make_sample, place_sample, rebuilt, share_video
from tubelet.data.mixture import Mixture, sample_seed
from tubelet.types import ClipBatch, ClipSample, Crops, InputError, VideoError
from tubelet.worker_pool import WorkerPool

logger = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]
MAX_SKIPPED_SHARE = 0.01
"""With ``on_error="skip"`` a run stops when more than this share of its samples, or of the first ``SHARE_FLOOR`` while
it has had fewer, could not be read: then the data is wrong and not a video in it."""
SHARE_FLOOR = 1000
PREFETCH_BYTES = 512 * 2**20
MAX_AHEAD = 100
"""Batches that may be in the making, however small they are: each holds an open file."""
ORDERS_PER_STEP = 4
SAMPLE_SECONDS = 1800.0
"""A sample that takes longer is given up; one that fills the frame cache decodes its whole video."""
WORKER_MODULES = ("tubelet.data.handover",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a batch is to be made of."""

    task: str
    indices: Sequence[int]
    make: Sequence[MakeSample]
    """How each sample is made; sent to workers."""
    frame_hw: tuple[int, int]
    """Height and width of the samples."""


def collate(task: str, samples: Sequence[ClipSample], skipped_ids: tuple[str, ...] = ()) -> ClipBatch:
    """Stack samples of one task into a batch; frames (T, 3, S, S) become video (B, 3, T, S, S)."""
    if not samples:
        raise ValueError("a batch needs at least one sample")
    num_frames, channels, height, width = samples[0].frames.shape
    video = torch.empty((len(samples), channels, num_frames, height, width), dtype=torch.uint8)
    for place, sample in zip(video, samples, strict=True):
        place_sample(sample, place)
    return _batch(task, video, samples, skipped_ids)


def batches(
    datasets: Mapping[str, ClipDataset],
    mixture: Mixture,
    *,
    start_step: int = 0,
    num_workers: int = 0,
    seed: int,
    on_error: OnError = "raise",
    prefetch_bytes: int = PREFETCH_BYTES,
) -> Iterator[tuple[int, ClipBatch]]:
    """Yield ``(step, batch)`` from ``start_step`` to the end of the mixture.

    Batch ``step`` depends on (seed, step) alone.

    Args:
        datasets: The data set of each task of the mixture.
        mixture: Which task and samples a step takes.
        start_step: First step.
        num_workers: Processes that read ahead; 0 = read here.
        seed: Of the augmentation.
        on_error: ``raise``: a sample that cannot be made ends the run. ``skip``: its batch is short of it, the others
            of the batch stay what they are; it is logged and named in ``ClipBatch.skipped_ids``. The run still ends
            where a batch is left with nothing, or where more than ``MAX_SKIPPED_SHARE`` of its samples were skipped.
        prefetch_bytes: Room for the frames of batches that are being made or wait to be used; one batch always has it.

    Raises:
        VideoError: A sample's video cannot be read; the message names the sample.
        WorkerError: A sample killed every worker that tried it, or took too long; named as well.
        InputError: Another mistake of the data; or sizes of the mixture that are not the data sets'.
    """
    sizes = {task: len(dataset) for task, dataset in datasets.items()}
    if sizes != mixture.sizes:
        raise InputError(f"the mixture was made for sets of {mixture.sizes}, the data sets have {sizes}")

    def wanted(step: int) -> Wanted:
        indices = mixture.indices(step)
        seeds = [sample_seed(seed, step, slot) for slot in range(len(indices))]
        make = [partial(ClipDataset.sample, seed=number) for number in seeds]
        task = mixture.task_at(step)
        return Wanted(task=task, indices=indices, make=make, frame_hw=datasets[task].view_hw("centre"))

    steps = range(start_step, mixture.num_steps)
    yield from _load(datasets, wanted, steps, num_workers, prefetch_bytes, Skips(on_error=on_error))


def evaluation_batches(
    dataset: ClipDataset,
    task: str,
    batch_size: int,
    num_workers: int = 0,
    *,
    view: int = 0,
    num_views: int = 1,
    crop: int = 0,
    crops: Crops = "centre",
    prefetch_bytes: int = PREFETCH_BYTES,
) -> Iterator[ClipBatch]:
    """Yield one view of every example (``ClipDataset.view``), in order, in batches of at most ``batch_size``.

    Errors are those of ``batches``.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected at least 1")
    make = partial(ClipDataset.view, view=view, num_views=num_views, crop=crop, crops=crops)
    frame_hw = dataset.view_hw(crops)

    def wanted(step: int) -> Wanted:
        indices = range(step * batch_size, min((step + 1) * batch_size, len(dataset)))
        return Wanted(task=task, indices=indices, make=[make] * len(indices), frame_hw=frame_hw)

    # Never "skip": a score over the examples that could be read is not the score of the set.
    steps = range(-(-len(dataset) // batch_size))
    for _, batch in _load({task: dataset}, wanted, steps, num_workers, prefetch_bytes, Skips(on_error="raise")):
        yield batch


@dataclass(kw_only=True, slots=True)
class Skips:
    """What could not be made so far, and when that is too much."""

    on_error: OnError
    num_seen: int = 0
    num_skipped: int = 0

    def check(self, step: int, errors: Sequence[tuple[str, InputError]], num_wanted: int) -> None:
        """Note a step's batch; raise for the first of its ``errors`` (sample id, error) unless they may be skipped."""
        number = step + 1  # of the step in messages, as in ``metrics.jsonl``
        self.num_seen += num_wanted
        self.num_skipped += len(errors)
        for sample_id, error in errors:
            if self.on_error == "raise":
                raise _named(error, sample_id)
            logger.warning("step %d: left out: %s", number, _named(error, sample_id))
        if not errors:
            return
        sample_id, error = errors[-1]
        if len(errors) == num_wanted:
            raise _named(error, sample_id, f"step {number} has no sample left; the last: ")
        if self.num_skipped > MAX_SKIPPED_SHARE * max(self.num_seen, SHARE_FLOOR):
            share = (
                f"{self.num_skipped} of {self.num_seen} samples could not be read, more than {MAX_SKIPPED_SHARE:.0%}"
            )
            raise _named(error, sample_id, f"{share}; the last: ")


def _named(error: InputError, sample_id: str, before: str = "") -> InputError:
    if isinstance(error, VideoError):
        return VideoError(error.path, f"{before}sample {sample_id}: {error.reason}", error.pts_seconds)
    return type(error)(f"{before}sample {sample_id}: {error}")


def _load(
    datasets: Mapping[str, ClipDataset],
    wanted: Callable[[int], Wanted],
    steps: range,
    num_workers: int,
    prefetch_bytes: int,
    skips: Skips,
) -> Iterator[tuple[int, ClipBatch]]:
    if num_workers == 0:
        made = (_made_here(datasets, wanted(step), step) for step in steps)
        yield from ((p.step, _finished(p, datasets, skips)) for p in made)
        return
    setup = {task: dataset.holding(dataset.example(0)) for task, dataset in datasets.items()}
    with (
        WorkerPool(num_workers, setup=setup, modules=WORKER_MODULES, call_seconds=SAMPLE_SECONDS) as pool,
        closing(_ordered(pool, datasets, wanted, steps, prefetch_bytes)) as ordered,
    ):
        for pending in ordered:
            yield pending.step, _finished(pending, datasets, skips)


@dataclass(kw_only=True, slots=True)
class _Pending:
    """A batch in the making."""

    step: int
    wanted: Wanted
    shared: SharedVideo | None
    """Where workers put the frames."""
    parts: dict[int, Any] = field(default_factory=dict)
    """By slot: a sample, or what ``make_sample`` returns."""
    errors: dict[int, InputError] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.parts) + len(self.errors) == len(self.wanted.indices)


def _made_here(datasets: Mapping[str, ClipDataset], wanted: Wanted, step: int) -> _Pending:
    pending = _Pending(step=step, wanted=wanted, shared=None)
    for slot, (index, make) in enumerate(zip(wanted.indices, wanted.make, strict=True)):
        try:
            pending.parts[slot] = make(datasets[wanted.task], index)
        except InputError as error:
            pending.errors[slot] = error
    return pending


def _ordered(
    pool: WorkerPool,
    datasets: Mapping[str, ClipDataset],
    wanted: Callable[[int], Wanted],
    steps: range,
    prefetch_bytes: int,
) -> Generator[_Pending, None, None]:
    """Yield complete batches in order; order more of them while there is room."""
    window: dict[int, _Pending] = {}
    ahead = steps.start
    taken = 0
    try:
        for step in steps:
            # A few batches at a time, so that the first does not wait until the last is ordered.
            limit = min(ahead + ORDERS_PER_STEP, step + MAX_AHEAD, steps.stop)
            while ahead < limit:
                plan = wanted(ahead)
                num_bytes = len(plan.indices) * math.prod(_sample_shape(datasets[plan.task], plan))
                if window and taken + num_bytes > prefetch_bytes:
                    break
                taken += num_bytes
                window[ahead] = _submit(pool, datasets[plan.task], plan, ahead)
                ahead += 1
            while not window[step].complete:
                done = pool.result()
                at, slot = done.key
                if done.error is None:
                    window[at].parts[slot] = done.value
                else:
                    window[at].errors[slot] = done.error
            pending = window.pop(step)
            assert pending.shared is not None
            os.close(pending.shared.fd)
            taken -= pending.shared.video.numel()
            yield pending
    finally:
        pool.close()
        for pending in window.values():
            if pending.shared is not None:
                os.close(pending.shared.fd)


def _submit(pool: WorkerPool, dataset: ClipDataset, wanted: Wanted, step: int) -> _Pending:
    shape = _sample_shape(dataset, wanted)
    shared = share_video((len(wanted.indices), *shape))
    for slot, (index, make) in enumerate(zip(wanted.indices, wanted.make, strict=True)):
        arguments = (wanted.task, dataset.example(index), make, shape, slot)
        pool.submit((step, slot), make_sample, *arguments, fd=shared.fd)
    return _Pending(step=step, wanted=wanted, shared=shared)


def _finished(pending: _Pending, datasets: Mapping[str, ClipDataset], skips: Skips) -> ClipBatch:
    """Return the batch of a complete step, short of what may be skipped."""
    wanted, dataset = pending.wanted, datasets[pending.wanted.task]
    errors = [(dataset.sample_id(wanted.indices[slot]), pending.errors[slot]) for slot in sorted(pending.errors)]
    skips.check(pending.step, errors, len(wanted.indices))
    slots = sorted(pending.parts)
    skipped = tuple(sample_id for sample_id, _ in errors)
    if pending.shared is None:
        return collate(wanted.task, [pending.parts[slot] for slot in slots], skipped)
    video = pending.shared.video
    samples = [rebuilt(pending.parts[slot], video[slot]) for slot in slots]
    return _batch(wanted.task, video[slots] if skipped else video, samples, skipped)


def _sample_shape(dataset: ClipDataset, wanted: Wanted) -> tuple[int, int, int, int]:
    return 3, dataset.preprocess.num_frames, *wanted.frame_hw


def _batch(task: str, video: Tensor, samples: Sequence[ClipSample], skipped: tuple[str, ...] = ()) -> ClipBatch:
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
        skipped_ids=skipped,
        seeds=tuple(s.seed for s in samples),
    )


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [t for t in tensors if t is not None]
    return torch.cat(present) if present else None
