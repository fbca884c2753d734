"""A server on a port of this machine, in threads of the test, with a stand-in for the work."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from tubelet.web.app import Shop, create_app
from tubelet.web.folders import Folders
from tubelet.web.jobs import JobStore
from tubelet.web.limits import Limits
from tubelet.web.order import Choices
from tubelet.web.runner import Runner
from tubelet.web.serve import Address, listening, make_server

FAKE_WORK = (sys.executable, "-S", str(Path(__file__).with_name("fake_work.py")))
CHOICES = Choices(
    model=None,
    task=None,
    people="nanodet",
    person_threshold=0.5,
    every_seconds=0.5,
    detect_every=None,
    threshold=None,
    device="cpu",
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Visitor:
    """A browser: keeps its cookie."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {**self.headers, **{k.replace("_", "-").lower(): v for k, v in headers.items()}}
        connection.request(method, path, body, sent, encode_chunked="transfer_encoding" in headers)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        if "set-cookie" in found.headers and "visitor" in found.headers["set-cookie"]:
            self.headers["cookie"] = found.headers["set-cookie"].partition(";")[0]
        return found

    def send(self, content: bytes, name: str = "film.mp4") -> Answer:
        return self.ask("POST", f"/api/jobs?name={name}", content)

    def wait(self, job_id: str, *states: str, seconds: float = 30) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job: dict[str, Any] = self.ask("GET", f"/api/jobs/{job_id}").json
            if job["state"] in (states or ("done", "failed", "cancelled")):
                return job
            time.sleep(0.02)
        raise AssertionError(job)


@dataclass
class Running:
    port: int
    folders: Folders
    store: JobStore
    runner: Runner

    def visitor(self) -> Visitor:
        visitor = Visitor(self.port)
        visitor.ask("GET", "/api/info")
        return visitor


@contextmanager
def page_server(
    root: Path, limits: Limits, *, examples: tuple[Path, ...] = (), token: str | None = None
) -> Iterator[Running]:
    folders = Folders(root)
    store = JobStore(folders.database)
    runner = Runner(store, folders, choices=CHOICES, limits=limits, command=FAKE_WORK)
    shop = Shop(
        store=store,
        folders=folders,
        limits=limits,
        model="m",
        examples=examples,
        wake=runner.wake,
    )
    runner.start()
    try:
        with serving_app(create_app(shop), token=token) as port:
            yield Running(port, folders, store, runner)
    finally:
        runner.close()
        store.close()


@contextmanager
def serving_app(app: ASGIApp, *, token: str | None = None) -> Iterator[int]:
    """Answer on a free port, which is given."""
    address = Address(host="127.0.0.1", port=0, token=token)
    with listening(address) as listener:
        server = make_server(app, address)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
