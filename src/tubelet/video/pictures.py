"""A folder or tar of frames, or one picture, read as a video: frame ``i`` is shown at ``i / fps`` seconds.

``i`` counts from the first frame's number, so that a frame that is missing does not move those behind it.
"""

import io
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from tubelet.types import VideoError, first_line
from tubelet.video.convert import FrameSize, resize_rgb
from tubelet.video.media import PICTURE_SUFFIXES, Media, members, open_container

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Pictures:
    """The frames of a folder or tar in the order of the numbers in their names; a single picture is one frame."""

    media: Media
    names: tuple[str, ...]
    fps: float
    """1 for a single picture: it is shown for a second."""
    places: tuple[tuple[int, int], ...] | None = None
    """Offset and size of each frame in the tar; None for files."""

    @cached_property
    def times(self) -> list[float]:
        """Presentation time of each frame."""
        return [number / self.fps for number in self._numbers]

    @property
    def duration_seconds(self) -> float:
        """End of the last frame."""
        return (self._numbers[-1] + 1) / self.fps

    @cached_property
    def _numbers(self) -> list[int]:
        return _numbers(self.names)

    def load(self, index: int, *, max_pixels: int) -> np.ndarray:
        """Return frame ``index``, uint8 (H, W, 3) RGB, turned as its EXIF entry says.

        Raises:
            VideoError: The picture cannot be read or is too large.
        """
        time = self.times[index]
        try:
            with Image.open(io.BytesIO(self._bytes(index)), formats=FORMATS) as picture:
                if picture.width * picture.height > max_pixels:
                    size = f"{picture.width}x{picture.height}"
                    raise VideoError(self.media, f"{size} exceed the limit of {max_pixels} pixels", time)
                return np.array(_eight_bits(ImageOps.exif_transpose(picture)).convert("RGB"))
        except VideoError:
            raise
        except UnidentifiedImageError:
            expected = ", ".join(FORMATS)
            raise VideoError(self.media, f"{self.names[index]} is not a picture ({expected})", time) from None
        except Exception as error:  # Pillow's parsers raise SyntaxError, struct.error, IndexError and more
            raise VideoError(
                self.media, f"{self.names[index]} cannot be decoded ({first_line(error)})", time
            ) from error

    def _bytes(self, index: int) -> bytes:
        if self.places is not None:
            offset, size = self.places[index]
            with open_container(self.media) as file:
                file.seek(offset)
                return file.read(size)
        media = self.media if len(self.names) == 1 and not _is_dir(self.media) else Media(self._file(index))
        with media.open() as file:
            return file.read()

    def _file(self, index: int) -> str:
        return str(Path(self.media.location) / self.names[index])


def open_pictures(media: Media) -> Pictures:
    """List the frames of ``media``; nothing is decoded.

    Raises:
        VideoError: There is no frame, or a folder or tar comes without a rate.
    """
    if media.member is not None or media.location.lower().endswith(PICTURE_SUFFIXES):
        return Pictures(media, (media.member or media.location,), fps=1.0)
    if media.fps <= 0:
        raise VideoError(media, "is a folder or tar of frames and needs its frame rate (the manifest's fps column)")
    if _is_dir(media):
        try:
            names = _frames(entry.name for entry in Path(media.location).iterdir())
        except OSError as error:
            raise VideoError(media, f"cannot be listed ({error.strerror})") from None
        places = None
    else:
        listed = members(media)
        names = _frames(listed)
        places = tuple(listed[name] for name in names)
    if not names:
        raise VideoError(media, f"has no frame, expected {', '.join(PICTURE_SUFFIXES)} files")
    return Pictures(media, names, media.fps, places)


def resize_picture(pixels: np.ndarray, size: FrameSize, scaled: tuple[int, int]) -> np.ndarray:
    """Return uint8 (H, W, 3) scaled to ``scaled`` (width, height) and cropped."""
    width, height = scaled
    frame = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    pixels = resize_rgb(frame, height, width)[0].permute(1, 2, 0).numpy()
    if size.crop is None:
        return pixels
    top, left = size.crop.place(height, width)
    return pixels[top : top + size.crop.height, left : left + size.crop.width]


def _frames(names: Iterable[str]) -> tuple[str, ...]:
    kept = [n for n in names if n.lower().endswith(PICTURE_SUFFIXES) and not Path(n).name.startswith(".")]
    # By number, for some tools do not pad them: 2.jpg comes before 10.jpg.
    return tuple(sorted(kept, key=lambda name: ([int(n) for n in _NUMBER.findall(Path(name).name)], name)))


def _numbers(names: Sequence[str]) -> list[int]:
    """Return which frame of the video each is, by the last number in its name if most of these follow each other."""
    found = [_NUMBER.findall(Path(name).stem) for name in names]
    numbers = [int(each[-1]) for each in found if each]
    steps = [later - number for number, later in pairwise(numbers)]
    if len(numbers) < len(names) or min(steps, default=0) < 1 or steps.count(1) <= len(steps) // 2:
        return list(range(len(names)))
    return [number - numbers[0] for number in numbers]


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of 16 bits a pixel, which Pillow would cut off at 255, with the upper 8 of them."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))


def _is_dir(media: Media) -> bool:
    if media.is_uri:
        return False
    try:
        return stat.S_ISDIR(Path(media.location).stat().st_mode)
    except (OSError, ValueError):
        return False
