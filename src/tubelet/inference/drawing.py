"""Draw people on one frame: a box in the identity's colour, the identity, the top actions with their scores as bars.

Colours are Okabe and Ito's palette (2008, "Color Universal Design"), which people with any common colour blindness can
tell apart; black is left out, since it is used for outlines. Grey means: not followed.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
UNKNOWN_COLOUR = (170, 170, 170)
_PANEL = (16, 18, 22, 215)
_BAR_ALPHA = 75
# Text height as a share of the frame's shorter side, and the least that can be read.
_TEXT_SHARE, _LEAST_TEXT_PX = 0.036, 13
_TEXT_SHARE_OF_PERSON = 0.2

Rect = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnPerson:
    """One person as she is to be drawn."""

    box: Rect
    """xyxy, pixels of the frame drawn on."""
    person_id: int
    """-1 = not followed."""
    actions: tuple[tuple[str, float], ...]
    """Names and scores in [0, 1], best first."""


def identity_colour(person_id: int) -> tuple[int, int, int]:
    """Return the RGB colour of an identity; neighbours differ, the eighth repeats the first."""
    return PALETTE[(person_id - 1) % len(PALETTE)] if person_id >= 0 else UNKNOWN_COLOUR


def text_size(height: int, width: int) -> int:
    """Return the text height in pixels for a frame."""
    return max(_LEAST_TEXT_PX, round(_TEXT_SHARE * min(height, width)))


def _panel_text_size(person: DrawnPerson, size: int) -> int:
    """Return the text height beside a person: of somebody small it is smaller, so that it hides nobody else."""
    return max(_LEAST_TEXT_PX, min(size, round(_TEXT_SHARE_OF_PERSON * (person.box[3] - person.box[1]))))


def draw_people(frame: np.ndarray, people: list[DrawnPerson]) -> np.ndarray:
    """Return a copy of the frame, uint8 (H, W, 3), with people drawn on it."""
    picture = Image.fromarray(frame)
    canvas = ImageDraw.Draw(picture, "RGBA")
    height, width = frame.shape[:2]
    size = text_size(height, width)
    line = max(2, size // 5)
    for person in people:
        _draw_box(canvas, person, line)
    taken: list[Rect] = []
    # Large people first: their panels have the least choice of places.
    for person in sorted(people, key=lambda p: -_area(p.box)):
        panel = _Panel(person, _panel_text_size(person, size))
        others = [p.box for p in people if p is not person]
        place = _best_place(person.box, panel.width, panel.height, (width, height), taken, others)
        panel.draw(canvas, place)
        taken.append((*place, place[0] + panel.width, place[1] + panel.height))
    return np.asarray(picture)


def _draw_box(canvas: ImageDraw.ImageDraw, person: DrawnPerson, line: int) -> None:
    x1, y1, x2, y2 = (round(v) for v in person.box)
    # A dark line on both sides keeps the colour visible on any background.
    canvas.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0, 160), width=line + 2)
    canvas.rectangle((x1, y1, x2, y2), outline=identity_colour(person.person_id), width=line)


class _Panel:
    """The identity and the actions of one person, laid out once and drawn where there is room."""

    def __init__(self, person: DrawnPerson, size: int) -> None:
        self._person, self._font = person, label_font(size)
        self._pad = max(2, size // 4)
        self._line = round(size * 1.35)
        self._tag = f"{person.person_id}" if person.person_id >= 0 else "?"
        self._tag_width = self._font.getlength(self._tag) + 2 * self._pad
        texts = [f"{name}  {score:.2f}" for name, score in person.actions]
        longest = max((self._font.getlength(text) for text in texts), default=0.0)
        self.width = self._tag_width + (longest + 2 * self._pad if texts else 0)
        self.height = float(self._line * max(1, len(texts)))

    def draw(self, canvas: ImageDraw.ImageDraw, place: tuple[float, float]) -> None:
        x, y = place
        colour = identity_colour(self._person.person_id)
        canvas.rectangle((x, y, x + self.width - 1, y + self.height - 1), fill=_PANEL)
        canvas.rectangle((x, y, x + self._tag_width - 1, y + self.height - 1), fill=colour)
        middle = self._line / 2
        canvas.text((x + self._pad, y + middle), self._tag, font=self._font, fill=text_ink(colour), anchor="lm")
        left, right = x + self._tag_width, x + self.width
        for i, (name, score) in enumerate(self._person.actions):
            top = y + i * self._line
            # The colour is darkened by the panel below it, so that white text on a full bar stays readable.
            end = left + (right - left) * score
            canvas.rectangle((left, top + 1, max(left, end - 1), top + self._line - 2), fill=(*colour, _BAR_ALPHA))
            foot = top + self._line - max(2, self._line // 8)
            canvas.rectangle((left, foot, max(left, end - 1), top + self._line - 2), fill=colour)
            canvas.text((left + self._pad, top + middle), name, font=self._font, fill=(255, 255, 255), anchor="lm")
            number = f"{score:.2f}"
            canvas.text((right - self._pad, top + middle), number, font=self._font, fill=(255, 255, 255), anchor="rm")


def _best_place(
    box: Rect, width: float, height: float, frame_wh: tuple[int, int], taken: list[Rect], others: list[Rect]
) -> tuple[float, float]:
    """Return the corner (x, y) near the box, inside the frame, where a panel hides least: panels first, then people."""
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - height), (x1, y2), (x2, y1), (x1 - width, y1), (x1, y1), (x1, y2 - height), (x2 - width, y1)]
    best, least = (0.0, 0.0), float("inf")
    for order, (x, y) in enumerate(corners):
        place = (max(0.0, min(x, frame_wh[0] - width)), max(0.0, min(y, frame_wh[1] - height)))
        rect = (*place, place[0] + width, place[1] + height)
        hidden = 10 * sum(_overlap(rect, t) for t in taken) + sum(_overlap(rect, o) for o in others)
        cost = hidden + 0.5 * _overlap(rect, box) + 0.01 * order * width * height
        if cost < least:
            best, least = place, cost
    return best


def _overlap(a: Rect, b: Rect) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _area(box: Rect) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def text_ink(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is easier to read on the colour (ITU-R BT.601 luma)."""
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (0, 0, 0) if luma > 128 else (255, 255, 255)


@cache
def label_font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib carries: it has far more scripts than Pillow's own font."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
