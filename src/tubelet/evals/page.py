"""What self-contained pages are made of: no request leaves them, they work in light, dark, print and on a phone."""

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from tubelet.types import InputError

MAX_BYTES = 10_000_000
NO_VALUE = "\N{EN DASH}"
# Nothing but what the file holds may be loaded, whatever a label or caption contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Still:
    """A picture with what it shows."""

    image: bytes
    """PNG or JPEG file contents."""
    caption: str
    alt: str


def page_html(title: str, lead: str, body: str) -> str:
    """Return a page.

    Args:
        title: Its heading, plain text.
        lead: Sentences below it, plain text.
        body: The rest, as html.
    """
    style = files("tubelet.evals").joinpath("assets/page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        f'<p class="lead">{escape(lead)}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


def write_page(path: Path, html: str) -> Path:
    """Write a page, whole or not at all.

    Raises:
        InputError: It has more than ``MAX_BYTES``.
    """
    size = len(html.encode())
    if size > MAX_BYTES:
        raise InputError(f"{path}: the page has {size} bytes, at most {MAX_BYTES} are allowed; use fewer pictures")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def percent(value: float | None) -> str:
    """Return a share as percent with one decimal, a dash where there is none."""
    return NO_VALUE if value is None else f"{100 * value:.1f}"


def table_html(caption: str, head: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """Return a table that scrolls on narrow screens.

    Args:
        caption: Stands below it.
        head: Of the columns.
        rows: (name, description or nothing, cells), the name being the first column.
    """
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    lines = []
    for name, description, cells in rows:
        small = f"<small>{escape(description)}</small>" if description else ""
        values = "".join(f"<td>{escape(c)}</td>" for c in cells)
        lines.append(f'<tr><th scope="row">{escape(name)}{small}</th>{values}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{top}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        f'<p class="note">{escape(caption)}</p>'
    )


def bars_html(values: Sequence[tuple[str, float | None]], *, top: float, mark: float | None = None) -> str:
    """Return a bar for each (name, value in 0..1) on a track of the same length, with its number in percent.

    Args:
        values: A screen reader hears the name; the eye sees the colour, of ``key_html``.
        top: Value of a whole track.
        mark: Drawn on every track.
    """
    at = "" if mark is None else f'<i class="chance" style="left:{_width(mark, top)}%"></i>'
    rows = []
    for i, (name, value) in enumerate(values):
        spoken = f'<span class="spoken">{escape(name)} </span>{percent(value)}'
        bar = "" if value is None else f'<i class="bar c{i}" style="width:{_width(value, top)}%"></i>'
        rows.append(f'<div class="row"><span class="track">{bar}{at}</span><span class="value">{spoken}</span></div>')
    return "".join(rows)


def _width(value: float, top: float) -> str:
    return f"{min(100.0, max(0.0, 100 * value / top)):.1f}"


def key_html(names: Sequence[str]) -> str:
    """Return the key of bars."""
    items = "".join(f'<li><span class="swatch c{i}"></span> {escape(name)}</li>' for i, name in enumerate(names))
    return f'<ul class="legend">{items}</ul>'


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Return (what, value) pairs as a table."""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in facts)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def figure_html(caption: str, svg: str) -> str:
    """Return an ``<svg>`` of our own code as a figure, without the XML declaration and document type."""
    inline = svg[max(svg.find("<svg"), 0) :]
    return f'<figure class="made"><figcaption>{escape(caption)}</figcaption>{inline}</figure>'


def still_html(still: Still) -> str:
    """Return a picture with its caption."""
    image = f'<img src="{_data_url(still.image)}" alt="{escape(still.alt)}">'
    return f"<figure>{image}<figcaption>{escape(still.caption)}</figcaption></figure>"


def _data_url(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(image).decode()}"
