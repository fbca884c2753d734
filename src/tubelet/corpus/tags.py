"""What people type and how it is compared: tags out of captions, one spelling for what is the same tag.

Exact for every script; ``tag_kernels.py`` has the same rules for what is ASCII, which most of ten million posts are.
"""

import re
import sys
import unicodedata
from functools import lru_cache

MAX_TAG_BYTES = 200
"""Longer tags (UTF-8) are no tags; platforms allow 100 to 140 characters for one hashtag."""

_WORD = "a-zA-Z0-9_"
_NOT_BEFORE = "a-zA-Z0-9&/_"
_ASCII_PATTERN = re.compile(f"(?<![{_NOT_BEFORE}])#([{_WORD}]+(?:#[{_WORD}]+)*)")


@lru_cache(maxsize=2**17)
def normalise_tag(raw: str) -> str | None:
    """Return a tag as it is compared, or None if it is no tag.

    NFKC (full-width letters and #), case folded, without #, emoji, punctuation and underscores. A tag without a single
    letter ("2019", "!!!") is none.
    """
    if raw.isascii():
        tag = re.sub("[^a-z0-9]+", "", raw.lower())
        return tag if re.search("[a-z]", tag) else None
    tag = letters(folded(raw))
    return tag if any(unicodedata.category(c).startswith("L") for c in tag) else None


def folded(text: str) -> str:
    """Return the text in NFKC without case; twice, since folding a letter can leave a form NFKC would change."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def letters(text: str) -> str:
    """Keep letters, digits and the marks that belong to letters; a mark after anything else (an emoji) goes too."""
    kept: list[str] = []
    before_is_kept = False
    for c in text:
        kind = unicodedata.category(c)[0]
        before_is_kept = kind in "LN" or (kind == "M" and before_is_kept and not 0xFE00 <= ord(c) <= 0xFE0F)
        if before_is_kept:
            kept.append(c)
    return "".join(kept)


def tags_from_text(caption: str) -> list[str]:
    """Return the raw hashtags of a caption, in order, without #, as platforms parse them.

    A hashtag starts at a # that does not follow a letter, digit, & or / (so neither "C#", "&#39;" nor a link's "/#top"
    starts one; "#a#b" is two) and goes on over letters, digits, marks and underscores. Tags without a letter are left
    out.
    """
    text = unicodedata.normalize("NFKC", caption)
    pattern = _ASCII_PATTERN if text.isascii() else _unicode_pattern()
    tags = [tag for run in pattern.findall(text) for tag in run.split("#")]
    return [tag for tag in tags if normalise_tag(tag) is not None]


@lru_cache(maxsize=1)
def _unicode_pattern() -> re.Pattern[str]:
    """Return the pattern over all scripts; only where it is needed, because naming every letter takes 0.3 s."""
    ranges: list[list[int]] = []
    for code in range(0x80, sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] in "LNM":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    word = _WORD + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    # \w is what isalnum() says, and _: a mark (of an emoji, say) may stand before a hashtag.
    return re.compile(rf"(?<![\w&/])#([{word}]+(?:#[{word}]+)*)")
