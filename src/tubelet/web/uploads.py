"""Uploads: written as they come, within limits of bytes, time and number; nothing of a broken one stays."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from tubelet.web.limits import GIB, MIB, Limits

DRAIN_BYTES = 8 * MIB
DRAIN_SECONDS = 2.0
LEAST_FREE_BYTES = 2 * GIB


class RefusedError(Exception):
    """An upload is not taken.

    Args:
        status: Of HTTP.
        reason: For the visitor, one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Places:
    """So many uploads are received at a time.

    Args:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        self._free = number

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place, or raise ``RefusedError`` where none is free."""
        if self._free < 1:
            raise RefusedError(503, "too many videos are being sent at present; try again in a minute")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def receive(request: Request, folder: Path, limits: Limits, *, free_bytes: Callable[[], int]) -> Path:
    """Write a request's body to a file with a random name.

    Args:
        request: Whose body is the video.
        folder: Where to write.
        limits: Bytes and times.
        free_bytes: Space left on the disk.

    Returns:
        The file; the caller's to move or remove.

    Raises:
        RefusedError: It is too large, empty, too slow, broken off, or the disk is nearly full.
    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > limits.max_bytes:
        raise too_large(limits)
    if free_bytes() - (int(claimed) if claimed.isdigit() else limits.max_bytes) < LEAST_FREE_BYTES:
        raise RefusedError(507, "the server's disk is nearly full; try again later")
    path = folder / secrets.token_urlsafe(16)
    whole = False
    try:
        await _write(request, path, limits)
        whole = True
    finally:
        if not whole:
            path.unlink(missing_ok=True)
    return path


async def _write(request: Request, path: Path, limits: Limits) -> None:
    begun, num_bytes = time.monotonic(), 0
    stream = request.stream()
    with path.open("wb") as file:
        path.chmod(0o600)
        while (chunk := await _within(_next(stream), limits.idle_seconds)) is not None:
            num_bytes += len(chunk)
            if num_bytes > limits.max_bytes:
                raise too_large(limits)
            spent = time.monotonic() - begun
            if spent > limits.idle_seconds and num_bytes < limits.least_bytes_per_second * spent:
                raise RefusedError(408, "the video came too slowly")
            await asyncio.to_thread(file.write, chunk)
    if not num_bytes:
        raise RefusedError(400, "the file is empty")


async def drain(request: Request) -> None:
    """Read on for a moment what is refused: a browser that is cut off while it sends shows no reason."""
    num_bytes, end = 0, time.monotonic() + DRAIN_SECONDS
    stream = request.stream()
    try:
        while num_bytes < DRAIN_BYTES and time.monotonic() < end:
            chunk = await _within(_next(stream), DRAIN_SECONDS)
            if chunk is None:
                return
            num_bytes += len(chunk)
    except (RefusedError, RuntimeError):  # RuntimeError: it has been read already
        return


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes | None:
    """Return the next piece that holds something, or None at the end."""
    try:
        while (chunk := await anext(stream, None)) is not None:
            if chunk:
                return chunk
    except ClientDisconnect:
        raise RefusedError(400, "the connection broke off before the whole video had come") from None
    return None


async def _within(waiting: Awaitable[bytes | None], seconds: float) -> bytes | None:
    try:
        return await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        raise RefusedError(408, f"nothing came of the video for {seconds:.0f} s") from None


def too_large(limits: Limits) -> RefusedError:
    """Return the error of a file of too many bytes."""
    return RefusedError(413, f"the file is larger than the {limits.max_bytes // MIB} MiB that are taken")
