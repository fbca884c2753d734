"""A strip below the picture: a lane for each person, with what she did in the last seconds, in her colour."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from tubelet.inference.drawing import DrawnPerson, identity_colour, label_font, text_ink, text_size
from tubelet.inference.tubes import NOT_FOLLOWED

WINDOW_SECONDS = 10.0
MOST_LANES = 5
JOINED_SECONDS = 0.6
"""Sightings further apart are two spans."""
_GROUND = (16, 18, 22)


@dataclass(slots=True)
class _Span:
    """A stretch in which one person does the same thing, or is merely there."""

    begin: float
    end: float
    action: str | None


class Strip:
    """What was drawn in the last seconds, as lanes; frames come in order of time.

    Args:
        height: Of the frames that it goes below, in pixels.
        width: Likewise.
    """

    def __init__(self, *, height: int, width: int) -> None:
        size = max(9, round(0.75 * text_size(height, width)))
        self._font, self._lane, self._width = label_font(size), round(1.5 * size), width
        self.height = 2 * round(MOST_LANES * self._lane / 2)
        """Of the strip in pixels; even."""
        self._spans: dict[int, list[_Span]] = {}
        self._lanes: dict[int, int] = {}

    def below(self, frame: np.ndarray, pts_seconds: float, people: list[DrawnPerson]) -> np.ndarray:
        """Return the frame (H, W, 3) with the strip below it, (H + height, W, 3)."""
        self._remember(pts_seconds, people)
        picture = Image.new("RGB", (self._width, self.height), _GROUND)
        canvas = ImageDraw.Draw(picture)
        for person, lane in self._lanes.items():
            for span in self._spans[person]:
                self._draw(canvas, person, lane, span, pts_seconds)
        return np.concatenate([frame, np.asarray(picture)])

    def _remember(self, now: float, people: list[DrawnPerson]) -> None:
        for person in people:
            if person.person_id == NOT_FOLLOWED:
                continue
            action = person.actions[0][0] if person.actions else None
            spans = self._spans.setdefault(person.person_id, [])
            if spans and now - spans[-1].end <= JOINED_SECONDS:
                spans[-1].end = now
                if spans[-1].action == action:
                    continue
            spans.append(_Span(now, now, action))
        oldest = now - WINDOW_SECONDS
        self._spans = {
            who: kept for who, spans in self._spans.items() if (kept := [span for span in spans if span.end >= oldest])
        }
        self._lanes = {who: lane for who, lane in self._lanes.items() if who in self._spans}
        free = [lane for lane in range(MOST_LANES) if lane not in self._lanes.values()]
        # Who came last has the best claim: the others were seen already.
        waiting = [who for who in self._spans if who not in self._lanes]
        waiting.sort(key=lambda who: -self._spans[who][-1].end)
        self._lanes |= zip(waiting, free)

    def _draw(self, canvas: ImageDraw.ImageDraw, person: int, lane: int, span: _Span, now: float) -> None:
        ends = max(span.begin, now - WINDOW_SECONDS), span.end
        left, right = (self._width * (1 - (now - seconds) / WINDOW_SECONDS) for seconds in ends)
        top, colour = lane * self._lane, identity_colour(person)
        middle = top + self._lane / 2
        if span.action is None:
            canvas.line((left, middle, right, middle), fill=colour, width=max(1, self._lane // 8))
            return
        canvas.rectangle((left, top + 1, max(left, right - 1), top + self._lane - 2), fill=colour)
        text = f"{person} {span.action}"
        if self._font.getlength(text) + 4 <= right - left:
            canvas.text((left + 2, middle), text, font=self._font, fill=text_ink(colour), anchor="lm")
