"""A server that is killed while it works: nothing finished is lost, what was at work is begun again, none stays."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ci_support import TUBELET
from page_videos import boxes_csv, write_square
from untrained_run import write_untrained_run

pytestmark = pytest.mark.ci


class Served:
    """A server as a process of its own, and a visitor with her cookie."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [str(TUBELET), "serve", "--out", str(folder / "private"), "--port", "0", "--device", "cpu", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.process.stdout.readline())
        assert found is not None
        self.port = int(found[1])

    def ask(self, method: str, path: str, cookie: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {"cookie": f"tubelet_visitor={cookie}"})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def wait(self, job_id: str, cookie: str, *states: str) -> dict[str, object]:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            job = json.loads(self.ask("GET", f"/api/jobs/{job_id}", cookie)[1])
            if job["state"] in states:
                return job
            time.sleep(0.05)
        raise AssertionError(job)

    def close(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_killed_server(tmp_path):
    video = write_square(tmp_path / "square.mp4", "libx264").read_bytes()
    listed = boxes_csv(tmp_path / "boxes.csv", ["square"])
    options = ["--model", str(write_untrained_run(tmp_path / "model")), "--people", f"csv:{listed}"]
    cookie = "a" * 43
    served = Served(tmp_path, *options)
    sent = [json.loads(served.ask("POST", "/api/jobs?name=square.mp4", cookie, video)[1])["id"] for _ in range(3)]
    served.wait(sent[0], cookie, "done")
    before = served.ask("GET", f"/api/jobs/{sent[0]}/files/csv", cookie)
    served.wait(sent[1], cookie, "running")
    workers = [pid for thread in Path(f"/proc/{served.process.pid}/task").iterdir()
               for pid in map(int, (thread / "children").read_text().split())]  # fmt: skip
    assert workers
    served.close(signal.SIGKILL)
    end = time.monotonic() + 30
    while any(is_there(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.1)
    again = Served(tmp_path, *options)
    assert again.ask("GET", f"/api/jobs/{sent[0]}/files/csv", cookie) == before
    job = again.wait(sent[1], cookie, "done")
    assert "begun again" in str(job["note"])
    again.wait(sent[2], cookie, "done")
    assert len(json.loads(again.ask("GET", "/api/jobs", cookie)[1])) == 3
    assert not list((tmp_path / "private").rglob("attempt-*"))
    again.close(signal.SIGTERM)
