"""What a training run survives: every fault of the table below is made to happen, as often as it says.

python benchmarks/faults.py [--kills 50] [--only kill signal ...]

The run is the tiny co-finetuning recipe on coloured squares, started as users start it (``tubelet train``), with a
checkpoint after every step, so that many a fault comes while one is written. ``same`` counts the runs that ended with
the weights of the undisturbed run, bit for bit, and with its losses at every step in ``metrics.jsonl``.
"""

import argparse
import json
import logging
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from faulted_runs import (
    NUM_STEPS,
    RANK_TIMEOUT,
    Place,
    Warm,
    complete,
    descendants,
    ended,
    finish,
    finished,
    harm,
    is_same,
    is_same_json,
    losses,
    prepared,
    ranks,
    start,
    stopped,
    train_command,
)
from machine import RESULTS, facts, write_result

from tubelet.train.checkpoint import latest_checkpoint

Row = dict[str, Any]


def row(number: str, fault: str, *, times: int, held: int, detail: str) -> Row:
    """Return a row of the table: how often the fault was made to happen, and how often the run did as promised."""
    return {"row": number, "fault": fault, "times": times, "as promised": held, "detail": detail}


def kills(place: Place, times: int = 50) -> Row:
    """Kill a run at random moments, from its start to its end, and let it go on; begin anew when it has ended."""
    runs = same = inside = done = 0
    out = place.fresh("kills")
    with Warm() as warm:
        began = time.monotonic()
        assert warm.killed(place.command(out, num_workers=0), 600)
        seconds = time.monotonic() - began
        while done < times:
            runs, same, out = runs + 1, same + is_same(out, place.whole), place.fresh("kills")
            # Short attempts against a long run: several kills before it gets to its end.
            while done < times and not finished(out):
                before = half_written(out)
                number = done % 2  # of workers
                if not warm.killed(place.command(out, num_workers=number), place.moments.uniform(0, seconds / 2)):
                    done += 1
                    inside += bool(half_written(out) - before)
        finish(place.command(out))
    runs, same = runs + 1, same + is_same(out, place.whole)
    detail = f"{runs} runs, {same} the same; {inside} kills inside the write of a checkpoint"
    return row("1", "SIGKILL at a random moment", times=done, held=done if same == runs else 0, detail=detail)


def half_written(out: Path) -> set[tuple[str, int]]:
    """Return what kills have left of checkpoints, and when it was last written to."""
    return {(path.name, path.stat().st_mtime_ns) for path in (out / "state").glob("*.incomplete")}


def signals(place: Place, times: int = 3) -> Row:
    """Send what schedulers send before they take a machine away, some times in one run."""
    held, slowest = 0, 0.0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        out = place.fresh(f"signal-{number}")
        for _ in range(times):
            began = time.monotonic()
            done = stopped(place, out, number, after=place.moments.uniform(0, 0.5))
            slowest = max(slowest, time.monotonic() - began)
            step = int(complete(out)[-1].name.removeprefix("step-"))
            said = f"stopped after step {step} of {NUM_STEPS}; the same command goes on from there"
            held += done.status == 128 + number and said in done.said
        finish(place.command(out))
        held -= times * (not is_same(out, place.whole))
    detail = "exit status 128 + signal, a checkpoint of the step it stopped after, then the same weights"
    return row("3", "SIGINT, SIGTERM, SIGUSR1", times=3 * times, held=held, detail=detail)


def damage(place: Place, times: int = 200) -> Row:
    """Flip a bit of, cut, or remove a file of the newest checkpoint, chosen at random; then of all of them."""
    out = place.fresh("damage")
    stopped(place, out, signal.SIGTERM, after=0.3)
    before, newest = complete(out)[-2:]
    aside = out / "aside"
    shutil.copytree(newest, aside)
    held = 0
    logging.disable(logging.WARNING)  # it is said each time
    for number in range(times):
        path = place.moments.choice(sorted(newest.iterdir()))
        harm(path, ("flip", "cut", "remove")[number % 3], place.moments)
        # What white space a bit is flipped in, between the checksums, is all the same.
        unharmed = path.exists() and path.name == "checksums.json" and is_same_json(path, aside / path.name)
        found = latest_checkpoint(out)
        held += found is not None and found.folder == (newest if unharmed else before)
        shutil.rmtree(newest)
        shutil.copytree(aside, newest)
    logging.disable(logging.NOTSET)
    harm(max(newest.iterdir(), key=lambda path: path.stat().st_size), "flip", place.moments)
    said = finish(place.command(out))
    held += "checkpoint passed over, the one before is used" in said and is_same(out, place.whole)
    none = place.fresh("damaged")
    stopped(place, none, signal.SIGTERM)
    for folder in complete(none):
        harm(max(folder.iterdir(), key=lambda path: path.stat().st_size), "flip", place.moments)
    done = ended(start(place.command(none)))
    held += done.status == 2 and "every checkpoint is damaged" in done.said
    detail = "the one before is used and it is said, and the same weights come out; status 2 when none is left"
    return row("2", "a flipped bit, a cut or a missing file", times=times + 2, held=held, detail=detail)


def full_disk(place: Place, times: int = 3) -> Row:
    """Let no file become as large as the optimizer's, which is what a full disk does in the middle of one."""
    held = 0
    for number in range(times):
        out = place.fresh(f"full-{number}")
        stopped(place, out, signal.SIGTERM)
        before = complete(out)
        weights = (out / "model.safetensors").read_bytes()
        largest = max(path.stat().st_size for path in before[-1].iterdir())
        limit = largest - place.moments.randrange(1, largest // 4)

        def small_files(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = ended(start(place.command(out), before=small_files))
        step = int(before[-1].name.removeprefix("step-"))
        said = f"could not be written (OSError: [Errno 27] File too large); the one of step {step} stays in use"
        intact = complete(out) == before and (out / "model.safetensors").read_bytes() == weights
        finish(place.command(out))
        held += done.status == 2 and said in done.said and intact and is_same(out, place.whole)
    detail = "status 2, one line, the checkpoint before and the published weights intact; then the same weights"
    return row("4", "no room for a checkpoint", times=times, held=held, detail=detail)


def full_tmpfs(place: Place, times: int = 1) -> Row:
    """Train into a file system that is too small for two checkpoints and the log."""
    size = 2 * sum(path.stat().st_size for path in complete(place.whole)[-1].iterdir())
    held = 0
    out = place.fresh("tmpfs")
    out.mkdir()
    inside = " ".join(place.command(out))
    copy = f"cp -r {out} {place.folder}/tmpfs-after"
    shell = f"mount -t tmpfs -o size={size} none {out} && {inside}; status=$?; {copy}; exit $status"
    done = ended(start(["unshare", "-rm", "sh", "-c", shell]))
    if "unshare" in done.said or "mount:" in done.said:
        return row("4", "a full file system", times=0, held=0, detail=f"not run: {done.said.strip()[:60]}")
    after = place.folder / "tmpfs-after"
    finish(place.command(after))
    held += done.status == 2 and "No space left on device" in done.said and is_same(after, place.whole)
    detail = "status 2, one line; what is there goes on to the same weights elsewhere"
    return row("4", "a full file system (tmpfs)", times=times, held=held, detail=detail)


def dead_workers(place: Place, times: int = 10) -> Row:
    """Kill processes of the loader at random, the one they are forked from included."""
    killed = held = 0
    while killed < times:
        out = place.fresh("workers")
        process = start(place.command(out, num_workers=2))
        here = 0
        while process.poll() is None:
            children = descendants(process.pid)
            if complete(out) and children and killed < times:
                os.kill(place.moments.choice(children), signal.SIGKILL)
                killed, here = killed + 1, here + 1
            time.sleep(place.moments.uniform(0.05, 0.4))
        done = ended(process)
        held += here * (done.status == 0 and is_same(out, place.whole))
    detail = "the run goes on by itself to the same weights"
    return row("6", "SIGKILL of a loader's process", times=killed, held=held, detail=detail)


def other_workers(place: Place) -> Row:
    """Train with other numbers of loader processes."""
    numbers = (0, 2, 4)
    held = 0
    for number in numbers:
        out = place.fresh(f"workers-{number}")
        finish(place.command(out, num_workers=number))
        held += is_same(out, place.whole)
    detail = "0, 2 and 4 beside the undisturbed run's 1: the same losses and weights"
    return row("10", "another number of workers", times=len(numbers), held=held, detail=detail)


def not_finite(place: Place) -> Row:
    """Train at a rate that makes numbers too large in a few steps."""
    out = place.fresh("rate")
    done = ended(start(place.command(out, rate=1e30)))
    told = "gradient norm" in done.said and "samples: " in done.said and "step " in done.said
    record = json.loads((out / "nonfinite.json").read_text())
    again = ended(start([*place.command(out, rate=1e30), "--replay-step", str(record["step"])]))
    held = done.status == 2 and told and again.status == 0
    detail = f"status 2 at step {record['step']}; step, task and samples named, and the step done again alone"
    return row("7", "a loss that is no finite number", times=1, held=int(held), detail=detail)


def dead_rank(place: Place) -> Row:
    """Kill, then stop for good, each of two ranks in turn; nobody but the other rank itself can end it."""
    held, tried, slowest = 0, 0, {signal.SIGKILL: 0.0, signal.SIGSTOP: 0.0}
    undisturbed = place.fresh("ranks-whole")
    assert [ended(p).status for p in ranks(place, undisturbed, 2)] == [0, 0]
    for number in slowest:
        out = place.fresh(f"ranks-{number}")
        for victim in (0, 1):
            there = complete(out)
            both = ranks(place, out, 2)
            while complete(out) == there and both[0].poll() is None:
                time.sleep(0.01)
            began = time.monotonic()
            both[victim].send_signal(number)
            done = ended(both[1 - victim], seconds=10 * RANK_TIMEOUT)
            took = time.monotonic() - began
            slowest[number] = max(slowest[number], took)
            both[victim].kill()
            both[victim].communicate()
            tried += 1
            told = done.status == 1 and "another rank has died or does not answer" in done.said
            held += told and took < 1.25 * RANK_TIMEOUT
        assert [ended(p).status for p in ranks(place, out, 2)] == [0, 0]
        held -= 2 * (not is_same(out, undisturbed))
    killed, hung = slowest.values()
    detail = f"the other ends within {killed:.1f} s of a kill, {hung:.1f} s of a hang (timeout {RANK_TIMEOUT:.0f} s)"
    detail += "; then the same weights"
    return row("8", "a rank that is killed or hangs", times=tried, held=held, detail=detail)


def other_world_sizes(place: Place) -> Row:
    """Continue a run of one process with two, and with one again, in float32."""
    # Adam divides by the size of a gradient: where it is all but zero that makes rounding a difference.
    same = {"precision": "float32", "set": "optim.optimizer=sgd"}
    whole, out = place.fresh("one"), place.fresh("one-two-one")
    finish(place.command(whole, **same))
    for number in (1, 2):
        there = complete(out)
        processes = ranks(place, out, number, **same)
        while complete(out) == there and processes[0].poll() is None:
            time.sleep(0.01)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert {ended(p).status for p in processes} == {128 + signal.SIGTERM}
    finish(place.command(out, **same))
    pairs = list(zip(losses(whole), losses(out), strict=True))
    apart = max(abs(a[2] - b[2]) / abs(a[2]) for a, b in pairs)
    held = apart < 1e-5 and [a[:2] for a, _ in pairs] == [b[:2] for _, b in pairs]
    detail = f"losses at most {apart:.1e} apart, relative"
    return row("9", "continued by 1, 2 and 1 processes", times=1, held=int(held), detail=detail)


def no_place(place: Place) -> Row:
    """Train into a folder that cannot be written, and into one under a file."""
    out = place.fresh("read-only")
    out.mkdir()
    inside = " ".join(place.command(out))
    shell = f"mount -t tmpfs none {out} && mount -o remount,ro {out} && {inside}"
    done = [ended(start(["unshare", "-rm", "sh", "-c", shell]))]
    done.append(ended(start(place.command(place.whole / "meta.json" / "below"))))
    held = sum(each.status == 2 and "Traceback" not in each.said for each in done)
    detail = "status 2 and one line"
    return row("11", "a folder that cannot be written", times=len(done), held=held, detail=detail)


def missing_video(place: Place) -> Row:
    """Take a video away while the run goes on."""
    squares, out = place.folder / "squares-less", place.fresh("less")
    shutil.copytree(place.squares, squares, dirs_exist_ok=True)
    process = start(train_command(squares, out))
    while not complete(out) and process.poll() is None:
        time.sleep(0.01)
    gone = squares / "videos/kinetics"
    gone.rename(squares / "videos/away")
    done = ended(process)
    told = done.status == 2 and "kinetics/train-" in done.said and "Traceback" not in done.said
    (squares / "videos/away").rename(gone)
    finish(train_command(squares, out))
    detail = "status 2 and the sample named; with the files back the same weights"
    return row("11", "videos that vanish", times=1, held=int(told and is_same(out, place.whole)), detail=detail)


FAULTS: Mapping[str, Callable[[Place], Row]] = {
    "kills": kills,
    "damage": damage,
    "signals": signals,
    "full_disk": full_disk,
    "full_tmpfs": full_tmpfs,
    "dead_workers": dead_workers,
    "not_finite": not_finite,
    "dead_rank": dead_rank,
    "other_world_sizes": other_world_sizes,
    "other_workers": other_workers,
    "no_place": no_place,
    "missing_video": missing_video,
}


def main() -> None:
    """Make the faults happen and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    if set(options.only) != set(FAULTS):  # The others stay as they were.
        rows = {row["name"]: row for row in json.loads((RESULTS / "faults.json").read_text())["rows"]}
    try:
        with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as place:
            for name in options.only:
                found = kills(place, options.kills) if name == "kills" else FAULTS[name](place)
                rows[name] = {"name": name} | found | {"measured": facts()["time"]}
                print(rows[name], flush=True)
    finally:
        write_result("faults", [rows[name] for name in FAULTS if name in rows])


if __name__ == "__main__":
    main()
