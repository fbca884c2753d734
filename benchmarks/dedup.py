"""Recall on planted duplicates, transformation by transformation, and false removals, beside two peers, in one table.

python benchmarks/dedup.py --work FOLDER [--real FOLDER_OR_VIDEO ...] [--rendered FOLDER ...] [--playground FOLDER]

Of each ``--real`` folder up to ``--per-folder`` videos are taken, which count as one scene: they come from one fixed
camera. Every rendered video is a scene of its own. ``--playground`` is a folder of `tubelet playground build`, some of
whose posts are changed copies of its other videos. What is planted stays in ``--work``.

``found``: share of planted duplicates that are called so. ``false``: share of pairs that are no duplicates and are
called so. Peers' thresholds are chosen on these very videos: of those with at most 2 % false pairs of different scenes
the ones with the highest recall over all transformations but mirroring. Ours are fixed (``docs/log.md``).
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from dedup_peers import LIMITS, hashers, hashes, nearest
from dedup_videos import CHANGES, HIDDEN, Original, hosts_of, plant_all, write_nothing_to_see
from machine import write_result

from tubelet.corpus.dedup import OPERATING_POINTS, find_duplicates, index_targets
from tubelet.corpus.fingerprint import TARGET_CROPS, FingerprintSettings, fingerprint_shard

MOST_FALSE = 0.02
Calls = set[tuple[str, str, str]]
"""(transformation, source, target) called duplicates."""


@dataclass(frozen=True, slots=True)
class Planted:
    """The videos that are measured on."""

    work: Path
    originals: tuple[Original, ...]
    kinds: tuple[str, ...]
    """Transformations, folders of ``work``; the first is ``target``."""

    @property
    def names(self) -> list[str]:
        """Of the originals; every transformation of one has its name."""
        return sorted(original.name for original in self.originals)

    def paths(self, kind: str) -> list[str]:
        """Return the files of one transformation."""
        return [f"{kind}/{name}.mp4" for name in self.names]


def ours(planted: Planted, workers: int) -> dict[str, Calls]:
    """Return what each operating point calls a duplicate."""
    tables = dict(zip(planted.kinds, _codes(planted, planted.kinds, (), workers), strict=True))
    targets = _codes(planted, ["target"], TARGET_CROPS, workers)[0]
    found: dict[str, Calls] = {}
    for name, settings in OPERATING_POINTS.items():
        calls = found[f"ours, {name}"] = set()
        index = index_targets([targets], settings)
        for kind, table in tables.items():
            pairs = find_duplicates(table, index, replace(settings, mirrored=kind == "mirrored"))
            calls |= {
                (kind, Path(pair["source"]).stem, Path(pair["target"]).stem)
                for pair in pairs.to_pylist()
                if pair["duplicate"]
            }
    return found


def _codes(planted: Planted, kinds: Sequence[str], crops: tuple[float, ...], workers: int) -> list[pa.Table]:
    call = partial(fingerprint_shard, media_root=planted.work, settings=FingerprintSettings(crops=crops))
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(call, [planted.paths(kind) for kind in kinds]))


def peer_calls(planted: Planted, judge: Callable[[Calls], tuple[float, float]], workers: int) -> dict[str, Calls]:
    """Return what each peer calls a duplicate at the thresholds that suit it best.

    Args:
        planted: The videos.
        judge: From calls to recall and to the share of false pairs.
        workers: Processes.
    """
    with ProcessPoolExecutor(workers) as pool:
        hashed = dict(zip(planted.kinds, pool.map(partial(_hash_kind, planted), planted.kinds), strict=True))
    found: dict[str, Calls] = {}
    for peer in hashed["target"][0]:
        best: tuple[float, Calls, str] = (-1.0, set(), "")
        for bits in LIMITS[peer]:
            shares = {kind: _shares(some, hashed["target"], peer, bits) for kind, some in hashed.items()}
            for share in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
                calls = {
                    (kind, planted.names[s], planted.names[t])
                    for kind, values in shares.items()
                    for s, t in zip(*np.nonzero(values >= share), strict=True)
                }
                recall, false = judge(calls)
                if false <= MOST_FALSE and recall > best[0]:
                    best = recall, calls, f"{bits} bits, {share:.0%} of frames"
        found[f"{peer}, {best[2]}"] = best[1]
    return found


def _hash_kind(planted: Planted, kind: str) -> list[dict[str, np.ndarray]]:
    peers = hashers()
    return [hashes(planted.work / path, peers) for path in planted.paths(kind)]


def _shares(
    sources: list[dict[str, np.ndarray]], targets: list[dict[str, np.ndarray]], peer: str, bits: int
) -> np.ndarray:
    """Return the share of each source's frames that match each target, (sources, targets)."""
    theirs = [target[peer] for target in targets]
    filled = [index for index, codes in enumerate(theirs) if len(codes)]
    shares = np.zeros((len(sources), len(targets)))
    every = np.concatenate([theirs[index] for index in filled])
    begins = np.cumsum([0, *(len(theirs[index]) for index in filled)])[:-1]
    for row, source in enumerate(sources):
        if len(source[peer]):
            shares[row, filled] = (nearest(source[peer], every, begins) <= bits).mean(axis=0)
    return shares


def judge(planted: Planted, calls: Calls) -> tuple[float, float]:
    """Return recall over all transformations but mirroring, and the share of pairs of different scenes called so."""
    kinds = [kind for kind in planted.kinds if kind not in ("target", "mirrored")]
    recall = np.mean([_recall(planted, calls, kind) for kind in kinds])
    called, pairs = _false(planted, calls, same_scene=False)
    return float(recall), called / max(pairs, 1)


def _recall(planted: Planted, calls: Calls, kind: str) -> float:
    return float(np.mean([(kind, name, name) in calls for name in planted.names]))


def _false(planted: Planted, calls: Calls, *, same_scene: bool) -> tuple[int, int]:
    """Return how many pairs of one scene, or of different ones, are called duplicates, and how many there are."""
    scenes = {original.name: original.scene for original in planted.originals}
    hosts = {one.name: {host.name for host in hosts_of(one, planted.originals)} for one in planted.originals}
    called = pairs = 0
    for kind in planted.kinds:
        for source in planted.names:
            for target in planted.names:
                planted_there = source == target or (kind == HIDDEN and target in hosts[source])
                alike = kind == HIDDEN and scenes[target] in {scenes[host] for host in hosts[source]}
                if planted_there or (scenes[source] == scenes[target]) != same_scene or (alike and not same_scene):
                    continue
                pairs += 1
                called += (kind, source, target) in calls
    return called, pairs


def table(planted: Planted, found: dict[str, Calls]) -> list[dict[str, Any]]:
    """Return a row for each transformation, and one for each kind of pairs that are no duplicates."""
    rows: list[dict[str, Any]] = []
    for kind in planted.kinds[1:]:
        row: dict[str, Any] = {"what": f"found: {kind}", "number": len(planted.names)}
        rows.append(row | {name: _recall(planted, calls, kind) for name, calls in found.items()})
    for same, name in ((False, "pairs of different scenes"), (True, "pairs from one fixed camera")):
        counts = {method: _false(planted, calls, same_scene=same) for method, calls in found.items()}
        number = next(iter(counts.values()))[1]
        shares = {method: called / max(number, 1) for method, (called, _) in counts.items()}
        rows.append({"what": f"false: {name}", "number": number} | shares)
    return rows


def nothing_to_see(planted: Planted) -> list[dict[str, Any]]:
    """Hold black, noisy, still and fading videos against all targets and against each other."""
    folder = planted.work / "nothing"
    names = [path.name for path in write_nothing_to_see(folder)]
    plain = fingerprint_shard(names, media_root=folder, settings=FingerprintSettings())
    own = fingerprint_shard(names, media_root=folder, settings=FingerprintSettings(crops=TARGET_CROPS))
    theirs = _codes(planted, ["target"], TARGET_CROPS, 1)[0]
    rows = []
    for what, targets in (("all targets", theirs), ("each other", own)):
        row: dict[str, Any] = {"what": f"false: black, noise, walls, still, words, fades against {what}"}
        row["number"] = sum(not _one_picture(a, b) for a in names for b in targets.column("video").to_pylist())
        for name, settings in OPERATING_POINTS.items():
            pairs = find_duplicates(plain, index_targets([targets], settings), settings).to_pylist()
            wrong = [p for p in pairs if p["duplicate"] and not _one_picture(p["source"], p["target"])]
            row[f"ours, {name}"] = len(wrong) / row["number"]
        rows.append(row)
    return rows


def _one_picture(first: str, second: str) -> bool:
    """Say whether two of the videos with nothing to see show the same: a picture, and how it fades."""
    kinds = [Path(name).stem.rpartition("-") for name in (first, second)]
    return first == second or (kinds[0][2] == kinds[1][2] and {kind[0] for kind in kinds} == {"still", "fade"})


def posts(playground: Path, workers: int) -> list[dict[str, Any]]:
    """Hold the playground's posts against its other videos."""
    listed = pq.read_table(playground / "posts.parquet").to_pylist()
    copied = {post["video"]: post["duplicate_of"] for post in listed}
    others = sorted(str(path.relative_to(playground)) for path in (playground / "videos").glob("*/*.mp4"))
    others = [path for path in others if path not in copied]
    with ProcessPoolExecutor(workers) as pool:
        ask = partial(fingerprint_shard, media_root=playground)
        sources = list(pool.map(partial(ask, settings=FingerprintSettings()), _parts(sorted(copied))))
        targets = list(pool.map(partial(ask, settings=FingerprintSettings(crops=TARGET_CROPS)), _parts(others)))
    planted = {(post, target) for post, target in copied.items() if target in set(others)}
    found: dict[str, Any] = {"what": "found: playground's own copies", "number": len(planted)}
    false: dict[str, Any] = {
        "what": "false: playground's other pairs",
        "number": len(copied) * len(others) - len(planted),
    }
    removed: dict[str, Any] = {"what": "false: playground's posts removed", "number": len(copied)}
    for name, settings in OPERATING_POINTS.items():
        index = index_targets(targets, settings)
        pairs = pa.concat_tables([find_duplicates(table, index, settings) for table in sources]).to_pylist()
        called = {(pair["source"], pair["target"]) for pair in pairs if pair["duplicate"]}
        found[f"ours, {name}"] = len(called & planted) / len(planted)
        false[f"ours, {name}"] = len(called - planted) / false["number"]
        removed[f"ours, {name}"] = len({source for source, _ in called - planted}) / len(copied)
    return [found, false, removed]


def _parts(videos: list[str]) -> list[list[str]]:
    return [videos[first : first + 200] for first in range(0, len(videos), 200)]


def originals(real: Iterable[Path], rendered: Iterable[Path], per_folder: int, offset: float) -> list[Original]:
    """Choose videos, evenly from each folder.

    Args:
        real: Folders that are one scene each, or single videos, of which three stretches are taken.
        rendered: Folders of videos that are a scene each.
        per_folder: Videos of a folder at most.
        offset: 0..1, where between two steps of the choice it begins: others are chosen with another one.
    """
    found: list[Original] = []
    for place in real:
        if place.is_file():
            found += [Original(place, place.stem, start) for start in (20 * offset, 20 + 20 * offset, 50 + 20 * offset)]
            continue
        found += [Original(path, place.name) for path in _evenly(place, per_folder, offset)]
    for place in rendered:
        found += [Original(path, f"{place.name}-{path.stem}") for path in _evenly(place, per_folder, offset)]
    return [one for one in found if one.is_there]


def _evenly(folder: Path, number: int, offset: float) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".avi", ".mp4", ".mkv", ".webm"))
    step = max(len(files) / number, 1.0)
    return [files[int((k + offset) * step)] for k in range(number) if (k + offset) * step < len(files)]


def main() -> None:
    """Plant, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--rendered", type=Path, nargs="*", default=[])
    parser.add_argument("--playground", type=Path)
    parser.add_argument("--per-folder", type=int, default=16)
    parser.add_argument("--offset", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = originals(arguments.real, arguments.rendered, arguments.per_folder, arguments.offset)
    plant_all(chosen, arguments.work, arguments.workers)
    planted = Planted(arguments.work, tuple(chosen), ("target", *CHANGES, HIDDEN))
    found = ours(planted, arguments.workers)
    found |= peer_calls(planted, partial(judge, planted), arguments.workers)
    rows = table(planted, found) + nothing_to_see(planted)
    if arguments.playground is not None:
        rows += posts(arguments.playground, arguments.workers)
    write_result("dedup", rows)


if __name__ == "__main__":
    main()
