"""How fast videos become codes, beside the obvious way, and how long a query of five million codes takes.

python benchmarks/dedup_speed.py [--rounds 7] [--videos FILE ...] [--playground FOLDER]

Videos as in ``benchmarks/decode.py``: 10 s of 30 fps, 340x256, H.264 with B-frames, a key frame every 12 and every 250
frames. One thread, processor time. The obvious way decodes every frame to RGB, takes those of a grid of 16 a second,
scales them to 112 x 112 and codes their luma. Queries: half are codes of the index with 0 to 6 bits flipped, half are
random; every answer is compared with that of looking at all codes. With ``--playground`` (a folder of `tubelet
playground build`) its posts are held against its other videos, the whole of what `tubelet corpus dedup` does after
decoding: as they are, and with as many again as make ``INDEX_CODES``, whose codes have the bits of a video flipped in
the places that are drawn for this video: they cluster as codes of frames do, and nothing shows what they show.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from machine import median_seconds, write_result
from videos import make_videos

from tubelet.corpus.code_index import build_index
from tubelet.corpus.dedup import OPERATING_POINTS, find_duplicates, index_targets
from tubelet.corpus.fingerprint import TARGET_CROPS, FingerprintSettings, fingerprint_shard, frame_codes
from tubelet.corpus.shards import INDEX_CODES
from tubelet.inference.real_video import real_video
from tubelet.types import InputError

SECONDS = 10.0
NUM_CODES, NUM_QUERIES, NUM_CHECKED = 5_000_000, 2000, 300
NUM_SOURCES = 200
SETTINGS = OPERATING_POINTS["paper"]


def ours(paths: list[Path], crops: tuple[float, ...]) -> object:
    """Code videos as ``tubelet corpus dedup`` does."""
    settings = FingerprintSettings(crops=crops)
    return [fingerprint_shard([path.name], media_root=path.parent, settings=settings) for path in paths]


def obvious(paths: list[Path]) -> object:
    """Decode every frame to RGB, keep those of the grid, scale, code."""
    codes = []
    for path in paths:
        kept, number = [], 0
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            for frame in container.decode(video=0):
                pixels = frame.to_ndarray(format="rgb24")
                if float(frame.time or 0.0) >= number / 16 - 1e-6:
                    kept.append(pixels)
                    number += 1
        small = torch.nn.functional.interpolate(
            torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2), size=(112, 112), mode="bilinear", antialias=True
        )
        luma = small.permute(0, 2, 3, 1).numpy().astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        codes.append(frame_codes(luma.astype(np.uint8)).codes)
    return codes


def fingerprinting(videos: list[Path], gop: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each way."""
    ways = {
        "codes": partial(ours, videos, ()),
        "codes with three crops": partial(ours, videos, TARGET_CROPS),
        "the obvious way": partial(obvious, videos),
    }
    for call in ways.values():
        call()
    seconds = median_seconds(ways, rounds=rounds, clock=time.process_time)
    shown = SECONDS * len(videos)
    return [
        {"what": name, "gop": gop, "x_real_time": shown / value, "x_obvious": seconds["the obvious way"] / value}
        for name, value in seconds.items()
    ]


def searching(rounds: int) -> list[dict[str, Any]]:
    """Return a row for whole codes, and one for whole codes and parts of them."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, NUM_CODES, dtype=np.uint64)
    queries = codes[:NUM_QUERIES].copy()
    queries[1::2] = rng.integers(0, 2**64, NUM_QUERIES // 2, dtype=np.uint64)
    for place in range(NUM_QUERIES):
        for bit in rng.permutation(64)[: place // 2 % 7]:
            queries[place] ^= np.uint64(1) << np.uint64(bit)
    rows = []
    for name, part_radius in (("a query, radius 4", -1), ("a query, radius 4, or 3 in a part", 3)):
        began = time.process_time()
        owners = np.arange(NUM_CODES, dtype=np.int32)
        index = build_index(codes, owners, num_owners=NUM_CODES, part_radius=part_radius)
        built = time.process_time() - began
        few = build_index(codes, owners // 5000, num_owners=NUM_CODES // 5000, part_radius=part_radius)
        call = partial(few.count, queries, np.ones(NUM_QUERIES, dtype=np.int64))
        call()
        value = median_seconds({"queries": call}, rounds=rounds, clock=time.process_time)["queries"]
        found = wanted = 0
        for query in queries[:NUM_CHECKED]:
            near = np.flatnonzero(np.bitwise_count(codes ^ query) <= 4)
            wanted += len(near)
            found += len(np.intersect1d(near, index.count(query[None], np.ones(1, dtype=np.int64))[0]))
        row = {"what": name, "codes": NUM_CODES, "us_per_query": 1e6 * value / NUM_QUERIES}
        rows.append(row | {"build_seconds": built, "within_4": wanted, "recall": found / wanted})
    return rows


def comparing(playground: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for the playground's other videos as targets, and one for an index as large as it may get."""
    posts = sorted(pq.read_table(playground / "posts.parquet").column("video").to_pylist())
    others = [str(path.relative_to(playground)) for path in sorted((playground / "videos").glob("*/*.mp4"))]
    others = sorted(set(others) - set(posts))
    coded = partial(fingerprint_shard, media_root=playground)
    sources = coded(posts[:: max(len(posts) // NUM_SOURCES, 1)], settings=FingerprintSettings())
    targets = coded(others, settings=FingerprintSettings(crops=TARGET_CROPS))
    frames = pc.sum(sources.column("num_frames")).as_py()
    num_codes = pc.sum(pc.list_value_length(targets.column("codes"))).as_py()
    rows = []
    for times in (1, max(INDEX_CODES // num_codes, 1)):
        index = index_targets([targets, *(_flipped(targets, seed) for seed in range(1, times))], SETTINGS)
        call = partial(find_duplicates, sources, index, SETTINGS)
        call()
        value = median_seconds({"frames": call}, rounds=rounds, clock=time.process_time)["frames"]
        row = {"what": "comparison, a frame", "videos": times * len(others), "codes": times * num_codes}
        rows.append(row | {"us_per_frame": 1e6 * value / frames, "pairs": call().num_rows})
    return rows


def _flipped(table: pa.Table, seed: int) -> pa.Table:
    """Return the codes of other videos that are as much alike as these."""
    lists = table.column("codes").combine_chunks()
    masks = np.random.default_rng(seed).integers(0, 2**64, len(lists), dtype=np.uint64)
    codes = lists.values.to_numpy() ^ np.repeat(masks, np.diff(lists.offsets.to_numpy()))
    return table.set_column(3, table.schema.field(3), pa.ListArray.from_arrays(lists.offsets, pa.array(codes)))


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    parser.add_argument("--playground", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sources = list(arguments.videos)
    try:
        sources.append(real_video())
    except InputError as error:
        print(f"without bikes.mp4: {error}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for gop in (12, 250):
            rows += fingerprinting(make_videos(sources, Path(folder), gop), gop, arguments.rounds)
    rows += searching(arguments.rounds)
    if arguments.playground is not None:
        rows += comparing(arguments.playground, arguments.rounds)
    write_result("dedup_speed", rows)


if __name__ == "__main__":
    main()
