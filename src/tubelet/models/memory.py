"""Memory that is freed stays with the process, where models are trained on a CPU.

glibc returns blocks of more than 32 MiB to the system as soon as they are free, and so the end of its heap. A training
step frees and asks for gigabytes in such blocks, and whatever comes back is zeroed page by page at its first use. A
training step of R(2+1)D-18 on 8 clips was 1.2 times as fast without that (``benchmarks/models.py``: 430,000 page faults
a step, none after). GPUs' memory is kept by torch itself. Source of the constants: glibc's ``malloc.h``.
"""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process keep what it frees, up to its peak, for what it asks for next; other processes are not touched.

    Args:
        device: Where it computes; nothing is done unless that is a CPU.

    Returns:
        Whether it is so now: False for a GPU, and where the C library is not glibc.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    # No block comes from mmap, and the heap never shrinks (-1: as large as can be).
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
