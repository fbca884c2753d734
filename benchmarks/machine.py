"""Machine facts and result files shared by the benchmarks: a number without them says nothing."""

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("tubelet", "torch", "numpy", "av", "pyarrow", "duckdb", "numba")


def facts() -> dict[str, Any]:
    """Return what decides a measurement: processor, cores, memory, versions and the load of the moment."""
    flags = _cpuinfo("flags").split()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpuinfo("model name") or platform.processor(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch_threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def write_result(name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Print ``rows`` as a table and write them with the machine's facts to ``benchmarks/results/<name>.json``."""
    print_table(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(json.dumps({"benchmark": name, "machine": facts(), "rows": list(rows)}, indent=1) + "\n")
    temporary.replace(path)
    print(f"written: {path}")
    return path


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the columns of all of them, numbers to four digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(c, "")) for c in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for line in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)))


def orders(variants: Mapping[str, T], rounds: int) -> Iterator[list[tuple[str, T]]]:
    """Yield the variants of each round: in an order drawn for every other one, and turned round in between.

    What ran before has filled the caches, with its own code or with another's.
    """
    drawn = random.Random(0)
    order = list(variants.items())
    for number in range(rounds):
        order = order[::-1] if number % 2 else drawn.sample(order, len(order))
        yield order


def median_seconds(
    variants: Mapping[str, Callable[[], object]], *, rounds: int = 9, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Time each variant once per round, interleaved, so that a neighbour's load hits all alike; return the medians.

    ``time.process_time`` as the clock counts the processor's seconds of this process, all its threads together.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for order in orders(variants, rounds):
        for name, call in order:
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
