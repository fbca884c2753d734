"""Importing this loads the compiled loops that scale frames: 0.4 s, on a machine that has not compiled them yet 4 s.

For the process that worker processes are forked from: they share the loops then, and none waits for them.
"""

import numpy as np

from tubelet.video.rescale import area_filter, colour_matrix, plane_filter, rescale, rescale_plane
from tubelet.video.rescale_loops import BLOCK

_plane = np.zeros((2, BLOCK), dtype=np.uint8)
_triangles = plane_filter((2, 2), (1, 1), (0, 0, 1, 1))
_matrix = colour_matrix(0.299, 0.114, False)
rescale([_plane.ctypes.data] * 3, [BLOCK] * 3, [_triangles] * 2, _matrix, np.empty((3, 1, 1), dtype=np.uint8))
rescale_plane(_plane, area_filter((2, 2), 1), np.empty((1, 1), dtype=np.uint8))
