"""Draw the pictures of docs/concepts.md as SVG.

python scripts/draw_concepts.py [FOLDER]

Plain shapes on a light card, so that they read on a light and on a dark page; no font is embedded.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

INK, FAINT, PAPER, LINE = "#1f2933", "#667784", "#fbfbf8", "#b9c2c9"
BLUE, ORANGE, GREEN, PURPLE = "#3b6fb6", "#d9822b", "#3d8f5f", "#7a5ca8"
TINTS = {BLUE: "#d6e3f3", ORANGE: "#f8e2cb", GREEN: "#d5eadd", PURPLE: "#e3daf0"}


class Drawing:
    """Shapes in the order they are drawn; lengths in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._width, self._height, self._title = width, height, title
        self._shapes: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, colour: str = LINE, fill: str | None = None
    ) -> "Drawing":
        """Draw a rectangle with round corners."""
        inside = fill or TINTS.get(colour, "#ffffff")
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
            f'fill="{inside}" stroke="{colour}"/>'
        )
        return self

    def text(
        self, x: float, y: float, words: str, *, size: int = 14, colour: str = INK, anchor: str = "middle"
    ) -> "Drawing":
        """Write lines, the first with its base line at ``y``; ``|`` ends a line."""
        for number, line in enumerate(words.split("|")):
            self._shapes.append(
                f'<text x="{x:g}" y="{y + number * size * 1.3:g}" font-size="{size}" fill="{colour}" '
                f'text-anchor="{anchor}">{escape(line)}</text>'
            )
        return self

    def named(self, x: float, y: float, width: float, height: float, words: str, colour: str) -> "Drawing":
        """Draw a box with words in its middle."""
        lines = words.count("|")
        return self.box(x, y, width, height, colour).text(x + width / 2, y + height / 2 + 5 - 9 * lines, words)

    def arrow(self, x1: float, y1: float, x2: float, y2: float, colour: str = FAINT) -> "Drawing":
        """Draw an arrow."""
        self._shapes.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="1.6" '
            'marker-end="url(#head)"/>'
        )
        return self

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: float = 2, dashes: str = "") -> "Drawing":
        """Draw a line through points."""
        through = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._shapes.append(
            f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dashes}"/>'
        )
        return self

    def save(self, path: Path) -> None:
        """Write the picture."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{FAINT}"/></marker></defs>'
        )
        card = f'<rect width="{self._width}" height="{self._height}" rx="8" fill="{PAPER}"/>'
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" role="img" '
            f'font-family="system-ui, sans-serif"><title>{escape(self._title)}</title>{head}{card}\n'
            + "\n".join(self._shapes)
            + "\n</svg>\n"
        )


def tubelets() -> Drawing:
    """A clip, cut into tubelets, one of which becomes a token."""
    drawing = Drawing(760, 250, "A clip is cut into tubelets; each becomes a token")
    for frame in range(7, -1, -1):
        x, y = 40 + 14 * frame, 70 - 6 * frame + 40
        drawing.box(x, y, 120, 90, BLUE if frame < 2 else LINE, "#ffffff" if frame > 1 else TINTS[BLUE])
    for column in range(1, 4):
        drawing.line([(40 + 30 * column, 110), (40 + 30 * column, 200)], BLUE, 1)
    for row in range(1, 3):
        drawing.line([(40, 110 + 30 * row), (160, 110 + 30 * row)], BLUE, 1)
    drawing.box(70, 140, 30, 30, ORANGE)
    drawing.text(140, 32, "a clip: 32 frames of 224 x 224", size=15)
    drawing.text(40, 226, "a tubelet: 16 x 16 pixels of 2 frames", colour=ORANGE, anchor="start")
    drawing.arrow(290, 150, 370, 150).text(330, 138, "linear", size=12, colour=FAINT)
    for time in range(4):
        for place in range(6):
            here = time == 0 and place == 3
            drawing.box(390 + 26 * place, 78 + 30 * time, 20, 20, ORANGE if here else PURPLE)
    drawing.text(545, 93, "…", size=18).text(545, 183, "…", size=18)
    drawing.text(470, 226, "tokens: 16 times x 14 x 14 places")
    words = "Each token keeps its place|in time, height and width:|what is found in it can be|pooled for one person|"
    drawing.text(570, 110, words + "(ROI-Align), or for all|(the mean of the clip).", size=13, anchor="start")
    return drawing


def factorised_encoder() -> Drawing:
    """Spatial transformer for each time, temporal one for each place, two kinds of heads."""
    drawing = Drawing(860, 300, "The Factorised Encoder and its two kinds of heads")
    for time in range(3):
        drawing.named(30, 50 + 70 * time, 90, 50, f"tokens of|time {time + 1}", PURPLE)
        drawing.arrow(122, 75 + 70 * time, 158, 75 + 70 * time)
        drawing.named(160, 50 + 70 * time, 120, 50, "spatial|transformer", BLUE)
        drawing.arrow(282, 75 + 70 * time, 328, 75 + 70 * time)
    drawing.text(170, 276, "the same weights for every time", size=12, colour=FAINT)
    drawing.named(330, 50, 120, 190, "temporal|transformer,|once for|each place", GREEN)
    drawing.text(390, 276, "a place sees itself at all times", size=12, colour=FAINT)
    drawing.arrow(452, 145, 488, 145)
    drawing.named(490, 110, 110, 70, "grid of tokens|t x h x w", PURPLE)
    drawing.arrow(602, 130, 646, 92).arrow(602, 160, 646, 198)
    drawing.named(650, 60, 190, 60, "mean of all tokens|linear: classes of the clip", ORANGE)
    drawing.named(650, 170, 190, 80, "ROI-Align in each time,|box drawn out into a tube;|mean; linear: actions", ORANGE)
    drawing.text(745, 276, "one head for each data set", size=12, colour=FAINT)
    return drawing


STEPS = {
    "weighted": "BBGBOBBGBBBOGBBBGBBB",
    "alternating": "BGOBGOBGOBGOBGOBGOBG",
    "sequential": "BBBBBBBBBBBBBBGGGGOO",
    "mixed": "",
}


def mixture() -> Drawing:
    """Three sets and the steps that each way of mixing makes of them."""
    drawing = Drawing(860, 304, "Which data set a training step is taken from")
    names = {"B": (BLUE, "Kinetics, 14 of 20"), "G": (GREEN, "Moments, 4 of 20"), "O": (ORANGE, "AVA, 2 of 20")}
    for number, (colour, name) in enumerate(names.values()):
        drawing.box(150 + 230 * number, 22, 18, 18, colour).text(176 + 230 * number, 36, name, anchor="start")
    for row, (name, steps) in enumerate(STEPS.items()):
        y = 66 + 54 * row
        drawing.text(130, y + 22, name, anchor="end", size=15)
        for step in range(20):
            x = 150 + 34 * step
            if steps:
                drawing.box(x, y, 28, 32, names[steps[step]][0])
                continue
            drawing.box(x, y, 28, 22, BLUE).box(x, y + 22, 28, 9, GREEN).box(x, y + 31, 28, 6, ORANGE)
    words = "training steps: each is a batch of one task, but for mixed, whose parts' gradients are summed"
    drawing.text(490, 290, words, size=13, colour=FAINT)
    return drawing


def tubes() -> Drawing:
    """Detections at keyframes, linked into tubes, and the clip around a keyframe."""
    drawing = Drawing(860, 300, "From boxes to tubes, never across a cut")
    drawing.line([(60, 250), (820, 250)], FAINT, 1.5).text(822, 272, "time", size=12, colour=FAINT, anchor="end")
    heights = {BLUE: [150, 144, 140, 138, 134, 130, 128], ORANGE: [80, 86, 92, 100, 104, 110, 116]}
    for colour, tops in heights.items():
        drawing.line([(90 + 60 * i + 13, top + 22) for i, top in enumerate(tops)], colour, 2)
        for i, top in enumerate(tops):
            if not (colour == ORANGE and i == 3):
                drawing.box(90 + 60 * i, top, 26, 44, colour)
    drawing.box(270, 100, 26, 44, ORANGE, "#ffffff")
    drawing.text(283, 88, "bridged", size=12, colour=ORANGE)
    drawing.line([(545, 30), (545, 262)], INK, 2, "6 4").text(545, 24, "a cut", size=13)
    for i, top in enumerate([110, 112, 112, 108]):
        drawing.box(590 + 60 * i, top, 26, 44, GREEN)
    drawing.line([(603 + 60 * i, top + 22) for i, top in enumerate([110, 112, 112, 108])], GREEN, 2)
    drawing.text(692, 178, "a new person, though|the box fits the old", size=12, colour=GREEN)
    drawing.box(128, 212, 190, 22, PURPLE).text(223, 228, "clip around a keyframe", size=12)
    drawing.line([(223, 234), (223, 250)], PURPLE, 2)
    drawing.text(223, 268, "keyframe: who does what, scored here", size=12, colour=PURPLE)
    return drawing


def protocols() -> Drawing:
    """What the three AVA evaluators do differently with the same detections."""
    drawing = Drawing(860, 262, "Three protocols in use for AVA's frame mAP")
    rows = ["", "official", "slowfast", "mmaction"]
    columns = ["detections kept", "matched in the order of", "keyframes that count", "left out of the mean"]
    no_truth = "classes without truth"
    cells = [
        ["best 50 of a keyframe,|over all classes", "score", "those the truth lists,|also without boxes", no_truth],
        ["all", "rows of the file", "all but the excluded", no_truth],
        ["all", "score, in float32", "with a scored class,|not excluded", no_truth + "|or detections"],
    ]  # fmt: skip
    widths, left = [180, 170, 190, 190], 110
    for number, (name, width) in enumerate(zip(columns, widths, strict=True)):
        drawing.text(left + sum(widths[:number]) + width / 2, 36, name, size=14)
    for row, name in enumerate(rows[1:]):
        y = 62 + 64 * row
        drawing.text(100, y + 32, name, anchor="end", size=15)
        for number, (words, width) in enumerate(zip(cells[row], widths, strict=True)):
            colour = (BLUE, GREEN, ORANGE)[row]
            x = left + sum(widths[:number])
            drawing.box(x, y, width - 8, 54, colour)
            lines = words.count("|")
            drawing.text(x + width / 2 - 4, y + 32 - 9 * lines, words, size=13)
    return drawing


def main(folder: Path) -> None:
    """Write all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (tubelets, factorised_encoder, mixture, tubes, protocols):
        path = folder / f"{draw.__name__}.svg"
        draw().save(path)
        print(f"written: {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
