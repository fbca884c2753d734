"""Checkpoints that survive a kill at any moment and are written while the training goes on.

A checkpoint is the folder ``state/step-00000120``: tensors in shards (``checkpoint_shards.py``), ``state.json`` and the
checksums of all of these. It is written under another name, synced, and published by one rename; which one is newest is
found by looking, never by a pointer. Checksums are verified before anything is read: a flipped byte in the middle of a
tensor file loads silently otherwise. What a step does is a function of (seed, step), so the step is all the state there
is besides the tensors.
"""

import errno
import hashlib
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tubelet.models.saved import MODEL_FILE, save_tensors
from tubelet.records import read_json, write_json
from tubelet.train.distributed import RankLostError
from tubelet.train.optim import load_optimizer_tensors, optimizer_tensors
from tubelet.types import InputError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from tubelet.train.checkpoint_shards import CheckpointShards

T = TypeVar("T")

logger = logging.getLogger(__name__)

STATE_FILE = "state.json"
CHECKSUMS_FILE = "checksums.json"
NUM_KEPT = 2
WEIGHTS, AVERAGED, OPTIMIZER = "model/", "averaged/", "optimizer/"
"""What the names of a checkpoint's tensors begin with; ``averaged``: the moving average, where there is one."""


class CheckpointError(OSError):
    """A checkpoint could not be written; the message says which and what stays in use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    step: int
    """Steps done; the next step to do has this number."""
    state: dict[str, Any]
    """What else the run wants to remember, plain JSON."""


class CheckpointWriter:
    """Writes a run's checkpoints, one at a time, while the run goes on; leaving the ``with`` waits for the last.

    Args:
        out: Run folder; on several hosts one that all of them see.
        keep: How many of the newest stay.
        best_metric: Of those saved with scores the one that is highest in this stays too.
        process_group: Of all ranks, on the CPU, used by nothing else: every rank makes a writer and calls the same
            methods at the same steps. None in a process of its own.
    """

    def __init__(
        self,
        out: Path,
        *,
        keep: int = NUM_KEPT,
        best_metric: str | None = None,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        self._out, self._keep, self._best_metric, self._group = out, keep, best_metric, process_group
        self._is_main = process_group is None or process_group.rank() == 0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:  # The second Ctrl-C: what is half written stays under its other name.
            return
        try:
            self.wait()
        except Exception as failed:
            if error is None:
                raise
            logger.warning("%s", failed)  # What ended the run matters more.

    def due(self, step: int, *, every_steps: int, every_minutes: float) -> bool:
        """Return whether it is time for the next one, by the steps done or by this rank's clock, which is its own."""
        return step % every_steps == 0 or time.monotonic() - self._last >= 60 * every_minutes

    def save(
        self,
        tensors: Mapping[str, Tensor],
        *,
        step: int,
        state: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Copy ``tensors`` and begin to write them, after the write before has ended.

        Args:
            tensors: What ``run_tensors`` returns.
            step: Steps done.
            state: Plain JSON to get back from ``latest_checkpoint``.
            metrics: The scores of these weights, where they were scored.

        Raises:
            CheckpointError: The one before could not be written.
            RankLostError: Another rank has died or does not answer.
            InputError: ``best_metric`` is not among the scores.
        """
        from tubelet.train.checkpoint_shards import CheckpointShards

        self.wait()
        if metrics and self._best_metric not in (None, *metrics):
            raise InputError(
                f"best_metric {self._best_metric!r} is not scored; scored are {', '.join(sorted(metrics))}"
            )
        partial = _folder(self._out, step).with_suffix(".incomplete")
        if self._is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
        shards = CheckpointShards(tensors, partial, process_group=self._group)
        content = {"step": step, "state": dict(state), "metrics": dict(metrics or {})}
        self._thread = threading.Thread(target=self._write, args=(shards, partial, content), daemon=True)
        self._thread.start()
        self._last = time.monotonic()

    def check(self) -> None:
        """Raise what went wrong in a write that has ended; does not wait for one that has not."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Return when everything begun is published, on every rank.

        Raises:
            CheckpointError: It could not be written.
            RankLostError: Nor by the others, because one of them has died or does not answer.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, shards: "CheckpointShards", partial: Path, content: dict[str, Any]) -> None:
        """What runs beside the training: no collective here may be one that the training uses."""
        try:
            sums = self._on_every_rank(lambda: {name: _checksum(partial / name) for name in shards.write()})
            checksums = {name: checksum for each in sums for name, checksum in each.items()}
            self._on_every_rank(lambda: self._publish(partial, content, checksums) if self._is_main else None)
        except BaseException as error:
            self._error = self._failed(error, content["step"])
            if self._is_main:  # Where the disk is full, this fills it.
                shutil.rmtree(partial, ignore_errors=True)

    def _publish(self, partial: Path, content: dict[str, Any], checksums: dict[str, str]) -> None:
        """Finish the folder, publish the weights, give the folder its name, drop what is no longer needed."""
        final = partial.with_suffix("")
        write_json(partial / STATE_FILE, content)
        write_json(partial / CHECKSUMS_FILE, checksums | {STATE_FILE: _checksum(partial / STATE_FILE)})
        _sync_folder(partial)
        # Before the folder has its name: a run that was killed in between goes on from the checkpoint before and comes
        # here again, while one that has its last checkpoint would never again.
        publish_weights(partial, self._out / MODEL_FILE, step=content["step"])
        if final.exists():  # The same step again: the earlier one was damaged, or a bad step came right after it.
            _discard(final)
        partial.rename(final)
        _sync_folder(final.parent)
        _prune(self._out, newest=content["step"], keep=self._keep, best_metric=self._best_metric)

    def _on_every_rank(self, work: Callable[[], T]) -> list[T]:
        """Return every rank's result; what goes wrong on one is raised on all."""
        from tubelet.train.checkpoint_shards import gathered

        result, problem, cause = None, "", None
        try:
            result = work()
        except Exception as error:
            problem, cause = f"{type(error).__name__}: {error}", error
        outcomes = gathered((result, problem), self._group)
        for rank, (_, text) in enumerate(outcomes):
            if text:
                raise OSError(text if self._group is None else f"rank {rank}: {text}") from cause
        return [each for each, _ in outcomes]

    def _failed(self, error: BaseException, step: int) -> OSError:
        if isinstance(error, RankLostError):
            return error  # ends the run anyway, and is no fault of the disk
        before = max((s for s in _complete(self._out) if s < step), default=None)
        stays = "there is none before it" if before is None else f"the one of step {before} stays in use"
        text = f"the checkpoint of step {step} could not be written ({error}); {stays}"
        wrapped = CheckpointError(errno.EIO, text, str(self._out / "state"))
        wrapped.__cause__ = error
        return wrapped


def run_tensors(
    model: nn.Module, optimizer: Optimizer, *, averaged: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return everything a checkpoint holds, by name: weights and buffers, their average, the optimizer's state."""
    return (
        {WEIGHTS + name: tensor for name, tensor in model.state_dict().items()}
        | {AVERAGED + name: tensor for name, tensor in (averaged or {}).items()}
        | {OPTIMIZER + name: tensor for name, tensor in optimizer_tensors(optimizer, model).items()}
    )


def latest_checkpoint(out: Path, *, process_group: "ProcessGroup | None" = None) -> Checkpoint | None:
    """Return the newest complete and undamaged checkpoint, saying so when a damaged one is passed over.

    Args:
        out: Run folder.
        process_group: Of all ranks: the first looks, all go on from what it has found.

    Raises:
        InputError: There are checkpoints, but all of them are damaged.
    """
    if process_group is None:
        return _look(out)
    from tubelet.train.checkpoint_shards import gathered

    found: Checkpoint | InputError | None = None
    if process_group.rank() == 0:
        try:
            found = _look(out)
        except InputError as error:
            found = error
    found = gathered(found, process_group)[0]
    if isinstance(found, InputError):
        raise found
    return found


def load_checkpoint(
    checkpoint: Checkpoint,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    averaged: Mapping[str, Tensor] | None = None,
) -> None:
    """Put weights, their average and the optimizer back to where they were, on any number of ranks.

    Raises:
        InputError: The tensors are not those of this model.
    """
    from tubelet.train.checkpoint_shards import read_shards, shard_shapes

    found = shard_shapes(checkpoint.folder)
    weights = run_tensors(model, optimizer, averaged=averaged)
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(OPTIMIZER)}
    extra = sorted(name for name in found if name not in weights and not name.startswith(OPTIMIZER))
    if extra:
        raise InputError(f"{checkpoint.folder}: does not fit this model: unexpected {extra}")
    parameters = dict(model.named_parameters())
    states: dict[str, Tensor] = {}
    for name in (name for name in found if name.startswith(OPTIMIZER)):
        shape, dtype = found[name]
        like = parameters.get(name.removeprefix(OPTIMIZER).rpartition("/")[0])
        # Momentum lies as its weight does, in shards where that is in shards; a counter is whole everywhere.
        if like is not None and like.shape == shape:
            states[name] = torch.empty_like(like, dtype=dtype)
        else:
            states[name] = torch.empty(shape, dtype=dtype)
    read_shards(checkpoint.folder, weights | states)
    load_optimizer_tensors(optimizer, model, {n.removeprefix(OPTIMIZER): tensor for n, tensor in states.items()})


def publish_weights(folder: Path, target: Path, *, step: int) -> None:
    """Make ``target`` the weights of a checkpoint, whole and at once: the averaged ones where there are any."""
    from tubelet.train.checkpoint_shards import read_shards, shard_shapes

    found = shard_shapes(folder)
    names = [name.removeprefix(WEIGHTS) for name in found if name.startswith(WEIGHTS)]
    sources = {name: AVERAGED + name if AVERAGED + name in found else WEIGHTS + name for name in names}
    tensors = {source: torch.empty(found[source][0], dtype=found[source][1]) for source in sources.values()}
    read_shards(folder, tensors)
    save_tensors(target, {name: tensors[source] for name, source in sources.items()}, metadata={"step": str(step)})


def _folder(out: Path, step: int) -> Path:
    return out / "state" / f"step-{step:08d}"


def _complete(out: Path) -> dict[int, Path]:
    """Return the folders that have got their name, by step, in order."""
    found = (path for path in (out / "state").glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return dict(sorted((int(path.name.removeprefix("step-")), path) for path in found))


def _look(out: Path) -> Checkpoint | None:
    complete = _complete(out)
    for step, folder in reversed(complete.items()):
        try:
            return _verified(folder, step)
        except (InputError, OSError) as error:
            logger.warning("checkpoint passed over, the one before is used: %s", error)
    if complete:
        raise InputError(f"{out / 'state'}: every checkpoint is damaged; delete the folder to begin this run anew")
    return None


def _verified(folder: Path, step: int) -> Checkpoint:
    """Return what ``folder`` holds; raise when any byte of it is not what was written."""
    checksums = read_json(folder / CHECKSUMS_FILE)
    names = {path.name for path in folder.iterdir()} - {CHECKSUMS_FILE}
    if not isinstance(checksums, dict) or names != set(checksums):
        raise InputError(f"{folder}: holds other files than {CHECKSUMS_FILE} names")
    for name, checksum in checksums.items():
        if _checksum(folder / name) != checksum:
            raise InputError(f"{folder / name}: checksum differs from the one written")
    content = read_json(folder / STATE_FILE)
    if content["step"] != step:
        raise InputError(f"{folder}: is of step {content['step']}")
    return Checkpoint(folder=folder, step=step, state=content["state"])


def _prune(out: Path, *, newest: int, keep: int, best_metric: str | None) -> None:
    """Drop what is neither of the ``keep`` newest nor the best, and what interrupted writes left."""
    for leftover in (out / "state").glob("step-*.incomplete"):
        shutil.rmtree(leftover)
    complete = _complete(out)
    # Steps after the newest: this run went back before them, because they were damaged.
    kept = {step for step in complete if step <= newest}
    kept = set(sorted(kept)[-keep:]) | _best(complete, kept, best_metric)
    for step, old in complete.items():
        if step not in kept:
            _discard(old)


def _discard(folder: Path) -> None:
    """Remove a checkpoint; renamed first, because a kill in the middle must not leave one that looks complete."""
    doomed = folder.with_name(f"{folder.name}.old.incomplete")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _best(complete: Mapping[int, Path], among: set[int], metric: str | None) -> set[int]:
    """Return the step with the highest score, the later of equal ones; empty when none was scored."""
    scores = {}
    for step in among if metric is not None else ():
        try:
            scores[step] = float(read_json(complete[step] / STATE_FILE)["metrics"][metric])
        except (InputError, KeyError):
            continue
    scored = {step: score for step, score in scores.items() if math.isfinite(score)}
    return {max(scored, key=lambda step: (scored[step], step))} if scored else set()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
