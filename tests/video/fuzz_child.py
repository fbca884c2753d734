"""Read mutated copies of a video until the count is reached; run as a process, so that a crash is one to count.

python fuzz_child.py GOOD FOLDER SEED TRIES prints a line of JSON after each try, for the parent to see where it died.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tubelet.types import VideoError
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_clips, read_frames


def mutated(data: bytes, rng: np.random.Generator, attempt: int) -> bytes:
    """Change 1 to 200 bytes, cut, or move a piece; every second time where the index is."""
    out = bytearray(data)
    reach = 4000 if attempt % 2 else len(out)
    for place in rng.integers(0, min(reach, len(out)), int(rng.choice([1, 3, 10, 50, 200]))):
        out[place] = int(rng.choice([0, 255, int(rng.integers(256))]))
    if attempt % 7 == 0:
        out = out[: int(rng.integers(1, len(out)))]
    if attempt % 11 == 0:
        a, b, size = (int(v) for v in rng.integers(0, len(out) // 2 + 1, 3))
        out[a : a + size] = out[b : b + size]
    return bytes(out)


def main() -> None:
    good, folder, seed, tries = sys.argv[1:]
    torch.set_num_threads(1)
    source = Path(good).read_bytes()
    rng = np.random.default_rng(int(seed))
    path = Path(folder) / f"mutated{seed}{Path(good).suffix}"
    whole = refused = 0
    calls = (
        lambda: read_frames(path, [0.1, 2.0, 3.9], size=FrameSize(long_side=32)),
        lambda: read_clips(path, [[0.0, 0.5], [3.0, 9.0]], size=FrameSize(short_side=32), lossy=True),
        lambda: probe(path),
        lambda: sum(1 for _ in iter_frames(path, size=FrameSize(long_side=32))),
    )
    for attempt in range(int(tries)):
        path.write_bytes(mutated(source, rng, attempt))
        try:
            calls[attempt % len(calls)]()
        except VideoError as error:
            if not str(error).startswith(str(path)) or "\n" in str(error):
                raise RuntimeError(f"not one line with the path: {error}") from error
            refused += 1
        else:
            whole += 1
        # Not ru_maxrss: the kernel hands a process the peak of the one that started it.
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
        files = sum(1 for _ in Path("/proc/self/fd").iterdir())
        line = {"tries": attempt + 1, "answered": whole, "refused": refused, "peak_mib": peak, "files": files}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
