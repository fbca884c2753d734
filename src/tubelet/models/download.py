"""Fetch a file over HTTP under a temporary name, going on where the last attempt stopped; it is checked, then named."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException
from pathlib import Path

from tubelet.records import whole_file
from tubelet.types import InputError

FETCHED = Path("out/weights")
"""Where ``tubelet weights fetch`` puts files, each in a folder of its weights' name."""
TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 20


def download(
    url: str, path: Path, *, sha256: str = "", on_bytes: Callable[[int, int | None], None] | None = None
) -> str:
    """Fetch ``url`` to ``path`` and return the file's SHA-256; a file that is there already is only checked.

    What arrives is kept in ``path`` + ``.part`` and continued from there, if the server still has the same file (its
    ``ETag`` or date, kept beside it). The file gets its name when its size is the server's and its hash the expected.

    Args:
        url: Address, http or https.
        path: Where the file goes.
        sha256: Expected hexadecimal digits, the first ones or all; empty checks the size only.
        on_bytes: Called with the bytes so far and in all (None = the server does not say).

    Raises:
        InputError: No connection, no such file, or another file than expected, which is then deleted.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            _fetch(url, part, on_bytes)
        except urllib.error.HTTPError as error:
            raise InputError(f"{url}: the server says {error.code} {error.reason}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            kept = f"; {part.stat().st_size} bytes are kept, the same command goes on" if part.exists() else ""
            what = "no network connection" if isinstance(error, urllib.error.URLError) else "the transfer ended early"
            raise InputError(f"{url}: {what} ({' '.join(str(reason).split())}){kept}") from None
        digest = _checked(part, url, sha256)
        part.replace(path)
        _tag_file(part).unlink(missing_ok=True)
        return digest
    return _checked(path, url, sha256)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _checked(path: Path, url: str, sha256: str) -> str:
    digest = sha256_of(path)
    if not digest.startswith(sha256.lower()):
        if path.suffix == ".part":
            path.unlink()
            _tag_file(path).unlink(missing_ok=True)
        raise InputError(f"{path}: its SHA-256 begins {digest[:16]}, expected {sha256}; not the file of {url}")
    return digest


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _fetch(url: str, part: Path, on_bytes: Callable[[int, int | None], None] | None) -> None:
    """Get what is missing of a file."""
    have = part.stat().st_size if part.exists() else 0
    tag = _tag_file(part).read_text(encoding="utf-8") if _tag_file(part).exists() else ""
    request = urllib.request.Request(url, headers={"User-Agent": "tubelet"})
    if have and tag:
        # With If-Range the server sends the rest of the same file, or the whole of another.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and _whole(error.headers, have):
            return
        raise
    with answer:
        continues = answer.status == 206 and _begins_at(answer.headers, have)
        if answer.status == 206 and not continues:
            raise OSError(f"the server sends {answer.headers.get('Content-Range')} for the rest from {have}")
        with whole_file(_tag_file(part)) as file:
            file.write(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        have = have if continues else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else None
        with part.open("ab" if continues else "wb") as out:
            while block := answer.read(BLOCK_BYTES):
                have += out.write(block)
                if on_bytes is not None:
                    on_bytes(have, total)
    if total is not None and have != total:
        raise OSError(f"{have} of {total} bytes arrived")


def _begins_at(headers: "Message[str, str]", have: int) -> bool:
    return (headers.get("Content-Range") or "").startswith(f"bytes {have}-")


def _whole(headers: "Message[str, str]", have: int) -> bool:
    """Is what is here all there is? Then asking for the rest is an error to the server (416)."""
    return headers.get("Content-Range") == f"bytes */{have}"
