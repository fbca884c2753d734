"""Scale planes that lie between two pages that nobody may touch; the process dies where a byte outside is read."""

import ctypes
import mmap

import numpy as np

from tubelet.video.rescale import area_filter, colour_matrix, plane_filter, rescale, rescale_plane
from tubelet.video.rescale_loops import BLOCK

PAGE = mmap.PAGESIZE
NOBODY = 0
CASES = [
    ((48, 64), (17, 31), (0, 0, 17, 31)),
    ((48, 64), (32, 48), (5, 9, 24, 37)),
    ((33, 40), (66, 80), (41, 20, 25, 60)),
    ((7, 16), (3, 5), (0, 0, 3, 5)),
    ((9, 5), (11, 20), (0, 0, 11, 20)),
    ((200, 320), (9, 11), (0, 0, 9, 11)),
    ((48, 64), (32, 48), (0, 40, 32, 8)),
]


def between_guards(pixels: np.ndarray, *, at_end: bool) -> np.ndarray:
    """Return a copy whose first or last byte is next to a page that nobody may touch."""
    pages = -(-pixels.size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (0, pages + 1):
        assert protect(ctypes.c_void_p(first + page * PAGE), ctypes.c_size_t(PAGE), NOBODY) == 0
    start = (pages + 1) * PAGE - pixels.size if at_end else PAGE
    kept = np.frombuffer(memory, np.uint8, pixels.size, start).reshape(pixels.shape)
    kept[:] = pixels
    return kept


def main() -> None:
    """Scale planes of many sizes and strides, RGB and luma, and compare with the same in open memory."""
    rng = np.random.default_rng(0)
    matrix = colour_matrix(0.299, 0.114, False)
    for source, wanted, kept in CASES:
        for stride in {max(source[1], BLOCK), source[1] + 24}:
            strides = stride, stride + 3, stride + 7
            planes = [rng.integers(0, 256, (source[0], each), dtype=np.uint8) for each in strides]
            filters = [plane_filter(source, wanted, kept)] * 2
            outcomes, lumas = [], []
            for at_end in (True, False):
                guarded = [between_guards(plane, at_end=at_end) for plane in planes]
                out = between_guards(np.zeros((3, *kept[2:]), np.uint8), at_end=at_end)
                rescale([plane.ctypes.data for plane in guarded], strides, filters, matrix, out)
                luma = between_guards(np.zeros((20, 20), np.uint8), at_end=at_end)
                unpadded = between_guards(planes[0][:, : source[1]].copy(), at_end=at_end)
                rescale_plane(unpadded, area_filter(source, 20), luma)
                outcomes.append(out.copy())
                lumas.append(luma.copy())
            assert np.array_equal(*outcomes)
            wide = [np.pad(plane, ((0, 0), (0, stride + 7 - plane.shape[1]))) for plane in planes]
            rescale(
                [plane.ctypes.data for plane in wide], [stride + 7] * 3, filters, matrix, open_out := np.empty_like(out)
            )
            assert np.array_equal(open_out, outcomes[0])
            assert np.array_equal(*lumas)
            assert outcomes[0].any()
            assert lumas[0].any()
    print("all inside")


if __name__ == "__main__":
    main()
