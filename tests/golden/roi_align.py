"""Make roi_align.npz: torchvision's RoIAlign, for tests where torchvision does not load.

    pip download --no-deps torchvision==0.29.2 && unzip -d FOLDER torchvision-*.whl
    python tests/golden/roi_align.py FOLDER

Torchvision's wheels of the package index load beside a CUDA build of torch only. Their implementation in Python, which
is the kernel's line by line, needs nothing but torch and is executed by itself; torchvision is BSD-3-Clause, and only
its results are kept. The file holds maps (2, 3, 9, 12), boxes (20, 4) in pixels of 16 to a cell, and what is pooled,
7x7 of two samples each way, aligned and not, (20, 3, 7, 7).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

SCALE, BINS, SAMPLES = 1 / 16, 7, 2


def main(folder: Path) -> None:
    text = (folder / "torchvision" / "ops" / "roi_align.py").read_text()
    # From the first of its own functions to the end of the one that is wanted, without the compiler's decorator.
    body = text[text.index("def _bilinear_interpolate") : text.index("@torch.fx.wrap")]
    names: dict[str, Any] = {"torch": torch}
    exec(body.replace("@lazy_compile(dynamic=True)\n", ""), names)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 9, 12, generator=generator)
    # At most half a cell outside: beyond a whole one the kernels count a sample as 0, the implementation in Python
    # does not.
    corners = torch.rand(20, 2, 2, generator=generator) * 150 - 7
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    rows = torch.cat([torch.arange(20)[:, None] % 2, boxes], dim=1)
    pooled = {
        name: names["_roi_align"](features, rows, SCALE, BINS, BINS, SAMPLES, name == "aligned").numpy()
        for name in ("aligned", "not_aligned")
    }
    np.savez_compressed(Path(__file__).with_suffix(".npz"), features=features.numpy(), boxes=boxes.numpy(), **pooled)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
