"""Freed memory is used again without the system's help: no page is zeroed a second time."""

import subprocess
import sys

import pytest
import torch

from tubelet.models.memory import keep_freed_memory

CHILD = """
import resource
import numpy as np
import torch
from tubelet.models.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(100 << 20, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
assert keep_freed_memory(torch.device("cpu"))
faults()
print(usual, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_blocks_are_kept() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert usual > 4 * 50, "100 MiB in pages of at most 2 MiB, four times"
    assert kept < 20


def test_a_gpu_has_its_own_cache() -> None:
    assert not keep_freed_memory(torch.device("cuda"))
