"""The server's addresses: the page, its files, and an interface that OpenAPI describes (``/openapi.json``).

A job's id is 128 random bits and the only way to its results; a visitor's list holds what the same cookie came with.
"""

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from tubelet import __version__
from tubelet.records import to_json
from tubelet.web.answers import JobAnswer, ServerInfo, answer_mistakes, example_answers, job_answer, refusals
from tubelet.web.folders import Folders, safe_name
from tubelet.web.jobs import Job, JobStore, QueueFullError, new_job_id
from tubelet.web.limits import Limits
from tubelet.web.uploads import Places, RefusedError, drain, receive

EVENT_SECONDS = 0.4
ENDED = ("done", "failed", "cancelled")
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
PAGE_FILES = ("page.css", "page.js", "server.js", "start.js", "moments.js", "player.js", "timeline.js", "panel.js")
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": "The video's bytes as they are, no form.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shop:
    """What the addresses work with."""

    store: JobStore
    folders: Folders
    limits: Limits
    model: str
    """What the page calls the model."""
    examples: tuple[Path, ...]
    wake: Callable[[], None]
    """Called when there is something in the queue."""


def asset(name: str, status: int = 200) -> Response:
    """Return one of the page's own files."""
    data = files("tubelet.web").joinpath("assets", name).read_bytes()
    media_type = MEDIA_TYPES[Path(name).suffix]
    return Response(data, status, media_type=media_type, headers={"cache-control": "no-cache"})


def create_app(shop: Shop) -> FastAPI:
    """Return the application; wrap it in ``guard.Guard`` before it is served."""
    app = FastAPI(
        title="Tubelet",
        version=__version__,
        description="Send a video; get who does what, where and when.",
        docs_url=None,  # the framework's pages load scripts from elsewhere
        redoc_url=None,
    )
    places = Places(shop.limits.max_uploads)
    add_pages(app, "page.html", PAGE_FILES, places=("/", "/videos/{job_id}"))
    _add_sending(app, shop, places)
    _add_examples(app, shop)
    _add_jobs(app, shop)
    _add_results(app, shop)

    answer_mistakes(app)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        await drain(request)
        headers = {"connection": "close"} | ({"retry-after": "60"} if error.status in (429, 503) else {})
        return JSONResponse({"detail": error.reason}, status_code=error.status, headers=headers)

    return app


def add_pages(app: FastAPI, html: str, page_files: Sequence[str], *, places: Sequence[str]) -> None:
    """Answer with a page at ``places``, and, as not found, at any other; and with the files it is made of."""

    def page() -> Response:
        return asset(html)

    for place in places:
        app.get(place, include_in_schema=False)(page)

    @app.get("/assets/{name}", include_in_schema=False)
    def page_file(name: str) -> Response:
        if name not in page_files:
            raise HTTPException(404)
        return asset(name)

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return asset("icon.svg")

    @app.exception_handler(404)
    async def unknown(request: Request, error: HTTPException) -> Response:
        # A browser that was led to a wrong address gets the page; whoever asks the interface, JSON.
        is_page = not request.url.path.startswith(("/api/", "/assets/"))
        if is_page and "text/html" in request.headers.get("accept", ""):
            return asset(html, 404)
        return await http_exception_handler(request, error)


def _add_sending(app: FastAPI, shop: Shop, places: Places) -> None:
    sending = refusals(400, 408, 413, 415, 422, 429, 503, 507)

    def check_form(request: Request) -> None:
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            how = f"curl --data-binary @street.mp4 '{request.base_url}api/jobs?name=street.mp4'"
            raise RefusedError(415, f"expected the video's bytes as they are, no form: {how}")

    @app.post(
        "/api/jobs",
        status_code=202,
        responses=sending,
        openapi_extra=UPLOAD_BODY,
        tags=["videos"],
        dependencies=[Depends(check_form)],  # before the query is read: a form's name is not in it
    )
    async def send_video(
        request: Request, name: Annotated[str, Query(max_length=400, description="The file's name.")]
    ) -> JobAnswer:
        """Send a video; it is queued."""
        visitor: str = request.state.visitor
        _check_room(shop, visitor)
        async with places.one():
            upload = await receive(request, shop.folders.incoming, shop.limits, free_bytes=shop.folders.free_bytes)
        job_id = new_job_id()
        shop.folders.accept(job_id, upload)
        return _queued(shop, job_id, visitor, name)


def _add_examples(app: FastAPI, shop: Shop) -> None:
    @app.post("/api/examples/{name}/jobs", status_code=202, responses=refusals(404, 422, 429), tags=["videos"])
    def send_example(request: Request, name: str) -> JobAnswer:
        """Have an example looked at, as if it had been sent."""
        path = _example(shop, name)
        _check_room(shop, request.state.visitor)
        job_id = new_job_id()
        copy = shop.folders.incoming / job_id
        shutil.copyfile(path, copy)
        shop.folders.accept(job_id, copy)
        return _queued(shop, job_id, request.state.visitor, name)

    @app.get("/api/examples/{name}", responses=refusals(404, 422), tags=["videos"], response_class=FileResponse)
    def example_video(name: str) -> Response:
        """Return an example's video."""
        return FileResponse(_example(shop, name), media_type="video/mp4")


def _check_room(shop: Shop, visitor: str) -> None:
    limits = shop.limits
    try:
        shop.store.check_room(visitor, max_waiting=limits.max_waiting, max_waiting_each=limits.max_waiting_each)
    except QueueFullError as error:
        raise RefusedError(429, str(error)) from None


def _queued(shop: Shop, job_id: str, visitor: str, name: str) -> JobAnswer:
    """Queue a video that lies in its job's folder; where others filled the queue meanwhile, remove it again."""
    limits = shop.limits
    try:
        job = shop.store.add(
            job_id,
            visitor=visitor,
            name=safe_name(name),
            max_waiting=limits.max_waiting,
            max_waiting_each=limits.max_waiting_each,
        )
    except QueueFullError as error:
        shop.folders.remove(job_id)
        raise RefusedError(429, str(error)) from None
    shop.wake()
    return _answer(shop, job, visitor)


def _add_jobs(app: FastAPI, shop: Shop) -> None:
    @app.get("/api/info", tags=["server"])
    def info() -> ServerInfo:
        """Say what the server does and takes."""
        return ServerInfo(
            model=shop.model,
            max_bytes=shop.limits.max_bytes,
            max_seconds=shop.limits.max_seconds,
            keep_seconds=shop.limits.keep_seconds,
            examples=example_answers(shop.examples),
        )

    @app.get("/api/jobs", tags=["videos"])
    def my_jobs(request: Request) -> list[JobAnswer]:
        """List what this visitor sent, newest first."""
        visitor: str = request.state.visitor
        return [_answer(shop, job, visitor) for job in shop.store.of_visitor(visitor)]

    @app.get("/api/jobs/{job_id}", responses=refusals(404, 422), tags=["videos"])
    def job(request: Request, job_id: str) -> JobAnswer:
        """Say how far a video is."""
        return _answer(shop, _found(shop, job_id), request.state.visitor)

    @app.get(
        "/api/jobs/{job_id}/events", responses=refusals(404, 422), tags=["videos"], response_class=StreamingResponse
    )
    def events(request: Request, job_id: str) -> Response:
        """Follow a video as server-sent events, each as ``/api/jobs/{job_id}``, until it has ended."""
        _found(shop, job_id)
        told = _events(shop, job_id, request.state.visitor)
        return StreamingResponse(told, media_type="text/event-stream")

    @app.delete("/api/jobs/{job_id}", status_code=204, responses=refusals(403, 404, 422), tags=["videos"])
    def cancel_or_remove(request: Request, job_id: str) -> None:
        """Cancel a video that waits or is at work; remove one that has ended, with all of its files."""
        found = _found(shop, job_id)
        if found.visitor != request.state.visitor:
            raise HTTPException(403, "another visitor sent this video")
        if shop.store.cancel(job_id):
            if found.state == "queued":  # a running one's files go when its process has ended
                shop.folders.remove(job_id)
            return
        shop.folders.remove(job_id)
        shop.store.remove(job_id)


def _add_results(app: FastAPI, shop: Shop) -> None:
    missing = refusals(404, 409, 422)

    @app.get("/api/jobs/{job_id}/video", responses=missing, tags=["results"], response_class=FileResponse)
    def video(job_id: str) -> Response:
        """Return a finished video as browsers play it; ranges of bytes can be asked for."""
        outcome = _done(shop, job_id).outcome
        path = os.path.realpath(shop.folders.of(job_id).seen / outcome["video"])
        return FileResponse(path, media_type=outcome["media_type"])

    @app.get("/api/jobs/{job_id}/files/{format_name}", responses=missing, tags=["results"], response_class=FileResponse)
    def result_file(job_id: str, format_name: str) -> Response:
        """Return a result file: mp4, csv, json and the others that ``downloads`` lists."""
        for file in _done(shop, job_id).outcome["files"]:
            if file["format"] == format_name:
                path = shop.folders.of(job_id).seen / file["path"]
                return FileResponse(path, filename=path.name, media_type="application/octet-stream")
        raise HTTPException(404, f"no format {format_name!r}")


def _example(shop: Shop, name: str) -> Path:
    for path in shop.examples:
        if path.name == name:
            return path
    raise HTTPException(404, "no such example")


def _found(shop: Shop, job_id: str) -> Job:
    job = shop.store.get(job_id)
    if job is None:
        raise HTTPException(404, "no such video; it may have been removed after its time")
    return job


def _done(shop: Shop, job_id: str) -> Job:
    job = _found(shop, job_id)
    if job.state != "done":
        raise HTTPException(409, f"the video is {job.state}, there are no results")
    return job


def _answer(shop: Shop, job: Job, visitor: str) -> JobAnswer:
    before = shop.store.place(job.id) if job.state == "queued" else None
    return job_answer(job, visitor=visitor, before=before, now=time.time())


async def _events(shop: Shop, job_id: str, visitor: str) -> AsyncIterator[str]:
    """Yield what changes, until the job has ended or is gone."""
    told = ""
    while True:
        job = await asyncio.to_thread(shop.store.get, job_id)
        if job is None:
            return
        answer = await asyncio.to_thread(_answer, shop, job, visitor)
        text = json.dumps(to_json(answer))
        if text != told:
            yield f"data: {text}\n\n"
            told = text
        if job.state in ENDED:
            return
        await asyncio.sleep(EVENT_SECONDS)


def list_examples(folder: Path | None) -> tuple[Path, ...]:
    """Return the videos of a folder, or those that ship."""
    if folder is None:
        shipped = Path(str(files("tubelet.web").joinpath("assets")))
        return tuple(sorted(shipped.glob("*.mp4")))
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in (".mp4", ".webm") and p.is_file()))
