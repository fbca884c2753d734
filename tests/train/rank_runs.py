"""Runs on several ranks: gloo on the CPU, in processes forked from one that has imported but computed nothing.

Forked from the test's own process they could not train: where torch knows of GPUs, autograd refuses a process whose
parent has used it.
"""

import faulthandler
import hashlib
import json
import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tubelet.models.model import VideoModel
from tubelet.records import to_json
from tubelet.tasks import normalise
from tubelet.train import loop
from tubelet.train.config import RunConfig
from tubelet.train.data import batches_from, open_data
from tubelet.train.distributed import joined
from tubelet.train.interrupt import StopRequest
from tubelet.train.log import RunLog
from tubelet.train.opening import open_session
from tubelet.train.session import Session

LIMIT_SECONDS = 120.0
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tubelet.train.fit"])


def on_ranks(number: int, work: Callable[..., Any], *arguments: Any, out: Path) -> list[Any]:
    """Call ``work(*arguments)`` on ``number`` ranks; return what each returned, or ``{"error": [type, message]}``.

    ``work`` is a function of a module. A rank that was killed has None; one that takes too long fails the test.
    """
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        PROCESSES.Process(target=_rank, args=(rank, number, port, out / f"rank-{rank}.json", work, arguments))
        for rank in range(number)
    ]
    for process in ranks:
        process.start()
    deadline = time.monotonic() + LIMIT_SECONDS
    for process in ranks:
        process.join(max(0.0, deadline - time.monotonic()))
    hung = [rank for rank, process in enumerate(ranks) if process.is_alive()]
    for process in ranks:
        process.kill()
        process.join()
    assert not hung, f"ranks {hung} did not end"
    files = [out / f"rank-{rank}.json" for rank in range(number)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def _rank(rank: int, number: int, port: int, file: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number)})
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(LIMIT_SECONDS - 20)  # says where a rank hangs, before it is killed
    try:
        result = work(*arguments)
    except BaseException as error:
        traceback.print_exc()
        result = {"error": [type(error).__name__, str(error)]}
    file.write_text(json.dumps(result))
    os._exit(0)


@contextmanager
def float64() -> Any:
    """Inside, models compute in float64; a run itself cannot ask for it."""
    with ExitStack() as stack:
        stack.enter_context(patch("tubelet.tasks.normalise", lambda *arguments: normalise(*arguments).double()))
        stack.enter_context(patch("tubelet.train.opening.VideoModel", lambda *given: VideoModel(*given).double()))
        yield


def train(run: RunConfig, out: Path, *, wide: bool = False, weights: bool = False) -> dict[str, Any]:
    """Train ``run`` in this process, which may be a rank; return what it saw and what came out.

    Returns:
        ``losses``: of each task for each step; ``norms`` of its gradient; ``samples``: for each step the rows
        (task, slot, id, seed, hash of the augmented frames and boxes) of this rank; ``state``; with ``weights`` the
        sum of absolutes of each whole parameter and buffer.
    """
    seen: list[list[Any]] = []
    steps: list[tuple[dict[str, float], float]] = []
    original = loop.train_step

    def watched(session: Session, parts: Any, counts: Any, *, learning_rate: float) -> tuple[dict[str, float], float]:
        seen.append([row for part in parts for row in rows_of(part)])
        steps.append(original(session, parts, counts, learning_rate=learning_rate))
        return steps[-1]

    with ExitStack() as stack:
        if wide:
            stack.enter_context(float64())
        stack.enter_context(patch.object(loop, "train_step", watched))
        world = stack.enter_context(joined("cpu", timeout_seconds=60))
        data = world.together(lambda: open_data(run))
        session = open_session(run, out, data, world=world)
        stack.enter_context(session.checkpoints)
        options = {"num_steps": session.num_steps, "start_step": session.step, "batch_size": run.batch_size}
        log = stack.enter_context(RunLog(out, **options, is_main=world.is_main, progress=False))
        batches = batches_from(session.step, run, data, world, num_workers=run.num_workers)
        loop.train_steps(session, batches, log, StopRequest(), score=dict)
        found: dict[str, Any] = {
            "losses": [losses for losses, _ in steps],
            "norms": [norm for _, norm in steps],
            "samples": seen,
            "state": to_json(session.state),
        }
        if weights:
            found["weights"] = {
                name: whole(tensor).double().abs().sum().item() for name, tensor in session.model.state_dict().items()
            }
    return found


def whole(tensor: Any) -> torch.Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def rows_of(part: Any) -> list[list[Any]]:
    """Return a row for each sample of a batch, with a hash of all that the model sees of it."""
    rows = []
    for place, sample_id in enumerate(part.sample_ids):
        digest = hashlib.sha256(part.video[place].contiguous().numpy().tobytes())
        mine = slice(place, place + 1) if part.box_clip is None else part.box_clip == place
        for tensor in (part.targets, part.boxes):
            if tensor is not None:
                digest.update(tensor[mine].numpy().tobytes())
        rows.append([part.task, part.slots[place], sample_id, part.seeds[place], digest.hexdigest()])
    return rows


def merged(ranks: list[Mapping[str, Any]]) -> list[list[Any]]:
    """Return each step's samples of all ranks, by task and slot."""
    return [sorted(row for part in step for row in part) for step in zip(*(rank["samples"] for rank in ranks))]
