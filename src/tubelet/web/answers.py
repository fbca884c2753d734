"""What the server's interface says: the shapes of its JSON, which OpenAPI describes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from tubelet.web.jobs import Job, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A result file."""

    format: str
    name: str
    """What the browser is told to call it."""
    num_bytes: int
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """A finished video."""

    url: str
    """What to play; ranges of bytes can be asked for."""
    media_type: str
    duration_seconds: float
    width: int
    height: int
    fps: float
    num_people: int
    num_moments: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobAnswer:
    """A video that was sent, and how far it is."""

    id: str
    name: str
    state: State
    stage: str
    """Of a running job: ``preparing`` or ``looking``."""
    share: float
    """Of the work done, 0..1."""
    seconds_left: float | None
    """Of a running job, as far as it can be told."""
    before: int | None
    """Videos before a queued one."""
    created: float
    """Seconds since 1970."""
    note: str
    error: str
    is_mine: bool
    """Whether this visitor sent it, and may cancel and remove it."""
    video: VideoFacts | None = None
    detections_url: str | None = None
    """The detections JSON (``tubelet.detections/1``), which the page reads."""
    downloads: tuple[Download, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A video that can be tried without one's own."""

    name: str
    title: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerInfo:
    """What the server does, and what it takes."""

    model: str
    max_bytes: int
    max_seconds: float
    keep_seconds: float
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why something was not done."""

    detail: str
    """One line."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is told of the answers with these statuses."""
    return {status: {"model": Refused} for status in statuses}


def answer_mistakes(app: FastAPI) -> None:
    """Answer whatever is wrong with a request, or with the server, as ``Refused``."""

    @app.exception_handler(RequestValidationError)
    async def mistaken(request: Request, error: RequestValidationError) -> Response:
        wrong = (f"{' '.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors())
        return JSONResponse({"detail": "; ".join(wrong)}, status_code=422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "the server made a mistake; its log says which"}, status_code=500)


def job_answer(job: Job, *, visitor: str, before: int | None, now: float) -> JobAnswer:
    """Return what is told of a job.

    Args:
        job: The job.
        visitor: Who asks.
        before: Videos before it in the queue.
        now: Seconds since 1970.
    """
    left = None
    if job.state == "running" and job.started is not None and job.share > 0.02:
        left = (now - job.started) * (1 - job.share) / job.share
    base = f"/api/jobs/{job.id}"
    video: VideoFacts | None = None
    downloads: tuple[Download, ...] = ()
    if job.state == "done":
        facts = {name: job.outcome[name] for name in VideoFacts.__dataclass_fields__ if name != "url"}
        video = VideoFacts(url=f"{base}/video", **facts)
        downloads = tuple(
            Download(
                format=file["format"],
                name=Path(file["path"]).name,
                num_bytes=file["num_bytes"],
                url=f"{base}/files/{file['format']}",
            )
            for file in job.outcome["files"]
        )
    return JobAnswer(
        id=job.id,
        name=job.name,
        state=job.state,
        stage=job.stage,
        share=job.share,
        seconds_left=left,
        before=before,
        created=job.created,
        note=job.note,
        error=job.error,
        is_mine=job.visitor == visitor,
        video=video,
        detections_url=f"{base}/files/json" if video else None,
        downloads=downloads,
    )


def example_answers(paths: Sequence[Path]) -> tuple[Example, ...]:
    """Return the examples, called as their files are."""
    return tuple(
        Example(name=p.name, title=p.stem.replace("_", " ").replace("-", " "), url=f"/api/examples/{p.name}")
        for p in paths
    )
