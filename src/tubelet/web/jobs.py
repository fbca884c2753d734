"""The queue of videos, in SQLite: what was sent, by which visitor, how far it is, and what came of it.

One row a video; its files lie in a folder of the row's id (``JobFolder``). A row says *done* only when the results have
their final place, so a server that is killed at any moment loses nothing that was finished and shows nothing half made.
"""

import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tubelet.types import InputError

State = Literal["queued", "running", "done", "failed", "cancelled"]
MAX_ATTEMPTS = 2
"""A video that was at work when the server ended is begun once more, not for ever: it may be what ended the server."""
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_SCHEMA = """
create table if not exists jobs (
    number integer primary key autoincrement, id text unique not null, visitor text not null, name text not null,
    state text not null, stage text not null default '', share real not null default 0,
    created real not null, started real, ended real, attempts integer not null default 0,
    note text not null default '', error text not null default '', outcome text not null default '{}'
);
create index if not exists jobs_of_visitor on jobs (visitor);
create index if not exists jobs_in_state on jobs (state);
"""
# Everybody's first video comes before anybody's second, and who has waited longest since her last begins: a flood from
# one visitor keeps nobody else waiting long.
_TURNS = """
select id from (
    select id, number, state, row_number() over (partition by visitor order by state = 'queued', number) as turn,
        (select max(started) from jobs as other where other.visitor = jobs.visitor) as last_begun
    from jobs where state in ('queued', 'running')
) where state = 'queued' order by turn, last_begun nulls first, number
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A video that was sent, and what came of it."""

    id: str
    """128 random bits: who knows it may see the results."""
    visitor: str
    """Who sent it: a digest of a random cookie."""
    name: str
    """The file's name, made safe: letters, digits, ``._-`` only."""
    state: State
    stage: str
    """What is done at present: ``preparing``, ``looking``."""
    share: float
    """Of the work done, 0..1."""
    created: float
    """Seconds since 1970, as ``started`` and ``ended``."""
    started: float | None
    ended: float | None
    attempts: int
    note: str
    """What the visitor should know, such as that work was begun again."""
    error: str
    """Why it failed, in one line."""
    outcome: dict[str, Any]
    """What the process that worked on it said at the end (``work.Outcome``)."""


class QueueFullError(InputError):
    """No more videos are taken at present."""


def is_job_id(text: str) -> bool:
    """Return whether a text can be an id; only such a text may become part of a path."""
    return _ID.fullmatch(text) is not None


class JobStore:
    """The queue; safe to use from several threads.

    Args:
        path: The SQLite file, made when missing.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._lock = clock, threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")  # a result that was shown as done is there after a power cut
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _all(self, sql: str, *values: object) -> list[Job]:
        with self._lock:
            return [_job(row) for row in self._db.execute(sql, values).fetchall()]

    def _changed(self, sql: str, *values: object) -> bool:
        with self._lock:
            return self._db.execute(sql, values).rowcount > 0

    def add(self, job_id: str, *, visitor: str, name: str, max_waiting: int, max_waiting_each: int) -> Job:
        """Put a video at the end of the queue.

        Raises:
            QueueFullError: There are too many already; nothing is changed.
        """
        with self._lock:
            self.check_room(visitor, max_waiting=max_waiting, max_waiting_each=max_waiting_each)
            self._db.execute(
                "insert into jobs (id, visitor, name, state, created) values (?, ?, ?, 'queued', ?)",
                (job_id, visitor, name, self._clock()),
            )
            return self._all("select * from jobs where id = ?", job_id)[0]

    def check_room(self, visitor: str, *, max_waiting: int, max_waiting_each: int) -> None:
        """Raise ``QueueFullError`` if a visitor's video would not be taken now."""
        active = "select count(*) from jobs where state in ('queued', 'running')"
        with self._lock:
            (mine,) = self._db.execute(f"{active} and visitor = ?", (visitor,)).fetchone()
            (everybody,) = self._db.execute(active).fetchone()
        if mine >= max_waiting_each:
            raise QueueFullError(f"{mine} of your videos wait already; send more when they are done")
        if everybody >= max_waiting:
            raise QueueFullError(f"{everybody} videos wait already; try again in some minutes")

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        found = self._all("select * from jobs where id = ?", job_id)
        return found[0] if found else None

    def of_visitor(self, visitor: str) -> list[Job]:
        """Return what a visitor sent, newest first."""
        return self._all("select * from jobs where visitor = ? order by number desc", visitor)

    def place(self, job_id: str) -> int | None:
        """Return how many videos come before a queued one."""
        with self._lock:
            ids = [row["id"] for row in self._db.execute(_TURNS)]
        return ids.index(job_id) if job_id in ids else None

    def claim(self) -> Job | None:
        """Take the next video from the queue; it is at work from now on."""
        claimed = "update jobs set state = 'running', started = ?, attempts = attempts + 1, share = 0, stage = '' "
        claimed += f"where id = ({_TURNS} limit 1) returning *"
        found = self._all(claimed, self._clock())
        return found[0] if found else None

    def progress(self, job_id: str, *, stage: str, share: float) -> bool:
        """Note how far a job is; return whether it is still wanted."""
        at_work = "id = ? and state = 'running'"
        return self._changed(f"update jobs set stage = ?, share = ? where {at_work}", stage, share, job_id)

    def is_running(self, job_id: str) -> bool:
        """Return whether it is at work and still wanted."""
        return bool(self._all("select * from jobs where id = ? and state = 'running'", job_id))

    def finish(self, job_id: str, outcome: dict[str, Any]) -> bool:
        """Note that the results are there; False if it was cancelled meanwhile."""
        sql = "update jobs set state = 'done', stage = '', share = 1, ended = ?, outcome = ? "
        return self._changed(f"{sql} where id = ? and state = 'running'", self._clock(), json.dumps(outcome), job_id)

    def fail(self, job_id: str, error: str) -> bool:
        """Note why there are no results; False if it was cancelled meanwhile."""
        sql = "update jobs set state = 'failed', stage = '', ended = ?, error = ? where id = ? and state = 'running'"
        return self._changed(sql, self._clock(), error, job_id)

    def cancel(self, job_id: str) -> bool:
        """Cancel what waits or is at work; False if it has ended."""
        sql = "update jobs set state = 'cancelled', stage = '', ended = ? where id = ?"
        return self._changed(f"{sql} and state in ('queued', 'running')", self._clock(), job_id)

    def put_back(self, job_id: str) -> None:
        """Queue again what was at work when the server was told to stop; it keeps its place."""
        sql = "update jobs set state = 'queued', stage = '', share = 0, attempts = attempts - 1, note = ? "
        self._changed(f"{sql} where id = ? and state = 'running'", "begun again, for the server was stopped", job_id)

    def recover(self, published: Callable[[str], dict[str, Any] | None]) -> None:
        """Settle what was at work when the last server ended without a word.

        Args:
            published: Gives the outcome of a job whose results have their final place; those are done.
        """
        for job in self._all("select * from jobs where state = 'running'"):
            outcome = published(job.id)
            if outcome is not None:
                self.finish(job.id, outcome)
            elif job.attempts < MAX_ATTEMPTS:
                sql = "update jobs set state = 'queued', stage = '', share = 0, note = ? where id = ?"
                self._changed(sql, "begun again, for the server had ended", job.id)
            else:
                self.fail(job.id, f"the server ended {job.attempts} times while this video was at work")

    def expired(self, keep_seconds: float) -> list[str]:
        """Return the ids of those sent longer ago than ``keep_seconds`` that are not at work."""
        old = self._all("select * from jobs where created < ? and state != 'running'", self._clock() - keep_seconds)
        return [job.id for job in old]

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._changed("delete from jobs where id = ?", job_id)

    def ids(self) -> set[str]:
        """Return the ids of all jobs."""
        return {job.id for job in self._all("select * from jobs")}


def new_job_id() -> str:
    """Return an id that nobody can guess."""
    return secrets.token_urlsafe(16)


def _job(row: sqlite3.Row) -> Job:
    values = dict(zip(row.keys(), tuple(row), strict=True))
    del values["number"]
    return Job(**{**values, "outcome": json.loads(row["outcome"])})
