"""Perceptual hashes of frames that other packages offer, held against each other as they are used for videos.

A video is a set of hashes of its frames, four a second; two videos match where a share of the frames of one has a hash
of the other's within a number of bits. Share and bits are chosen to a peer's favour, on what it is measured on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tubelet.video.decode import iter_frames

FPS = 4.0
Hasher = Callable[[np.ndarray], np.ndarray | None]
"""From a frame uint8 (H, W, 3) to bytes of its hash, or None where it has nothing to hash."""


def hashers() -> dict[str, Hasher]:
    """Return the peers that are installed (``pip install tubelet[bench]``)."""
    found: dict[str, Hasher] = {}
    try:
        from hvdaccelerators import vpdq

        def pdq(frame: np.ndarray) -> np.ndarray | None:
            code, quality = vpdq.hash_frame(np.ascontiguousarray(frame).tobytes(), frame.shape[1], frame.shape[0])
            return np.frombuffer(bytes.fromhex(code.decode()), np.uint8) if quality >= 50 else None  # comes as hex

        found["vPDQ (hvdaccelerators)"] = pdq
    except ImportError as error:
        print(f"without vPDQ: {error}")
    try:
        import imagehash

        def phash(frame: np.ndarray) -> np.ndarray | None:
            return np.packbits(imagehash.phash(Image.fromarray(frame)).hash.ravel())

        found["pHash (imagehash)"] = phash
    except ImportError as error:
        print(f"without pHash: {error}")
    return found


LIMITS: Mapping[str, tuple[int, ...]] = {
    "vPDQ (hvdaccelerators)": (31, 24, 40, 50, 60, 70, 80, 90, 100),
    "pHash (imagehash)": (10, 6, 8, 12, 14, 16, 18, 20),
}
"""Bits in which hashes of frames that match may differ: what is customary, and what else is tried."""


def hashes(path: Path, peers: Mapping[str, Hasher]) -> dict[str, np.ndarray]:
    """Return the hashes of a video's frames, uint8 (T, bytes), by peer."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in peers}
    number = 0
    for time, frame in iter_frames(path):
        if time < number / FPS - 1e-6:
            continue
        number += 1
        for name, peer in peers.items():
            code = peer(frame)
            if code is not None:
                found[name].append(code)
    return {name: np.stack(codes) if codes else np.zeros((0, 32), np.uint8) for name, codes in found.items()}


def nearest(source: np.ndarray, targets: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the least distance of each source frame to the frames of each target, (S, targets).

    Args:
        source: (S, bytes).
        targets: (N, bytes), of all targets.
        ends: (targets,), where the frames of each begin.
    """
    words = [part.view(np.uint64) for part in (source, targets)]
    apart = np.zeros((len(source), len(targets)), dtype=np.uint16)
    for k in range(words[0].shape[1]):
        apart += np.bitwise_count(words[0][:, None, k] ^ words[1][None, :, k])
    return np.minimum.reduceat(apart, ends, axis=1)
