"""The server over real connections: what is sent is worked on, and nobody can harm it or see what is another's."""

import json
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from page_server import Running, page_server

from tubelet.types import InputError
from tubelet.web import runner, serve, uploads
from tubelet.web.folders import Folders
from tubelet.web.limits import Limits


@pytest.fixture
def running(tmp_path):
    with page_server(tmp_path / "private", Limits(num_parallel=2, job_seconds=20)) as found:
        yield found


def files_of(running: Running) -> list[str]:
    root = running.folders.root
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "sqlite" not in p.name)


def wait_until_empty(running: Running) -> None:
    end = time.monotonic() + 20
    while files_of(running) and time.monotonic() < end:
        time.sleep(0.05)
    assert files_of(running) == []


def test_a_video_goes_in_and_results_come_out(running):
    me = running.visitor()
    sent = me.send(b"good", "My%20film%2C%20%C3%BC.MOV")
    assert sent.status == 202
    assert sent.json["name"] == "My_film_u.mov"
    job = me.wait(sent.json["id"])
    assert job["state"] == "done"
    assert job["video"]["width"] == 4
    (download,) = job["downloads"]
    got = me.ask("GET", download["url"])
    assert got.json == {"of": "good"}
    assert 'attachment; filename="seen.json"' in got.headers["content-disposition"]
    part = me.ask("GET", job["video"]["url"], range="bytes=2-4")
    assert (part.status, part.body) == (206, b"234")
    assert me.ask("GET", f"/api/jobs/{job['id']}/files/mp4").status == 404


def test_events_tell_every_change_until_the_end(running):
    me = running.visitor()
    job_id = me.send(b"good").json["id"]
    lines = me.ask("GET", f"/api/jobs/{job_id}/events").body.decode().split("\n\n")
    states = [json.loads(line.removeprefix("data: "))["state"] for line in lines if line]
    assert states[-1] == "done"
    assert states == sorted(states, key=["queued", "running", "done"].index)


def test_what_is_no_video_fails_with_its_reason(running):
    me = running.visitor()
    job = me.wait(me.send(b"bad").json["id"])
    assert (job["state"], job["error"]) == ("failed", "it is no video")
    assert me.ask("GET", f"/api/jobs/{job['id']}/video").status == 409
    wait_until_empty(running)  # what failed is of no use to anybody


def test_a_process_that_dies_is_told_and_the_next_video_is_worked_on(running):
    me = running.visitor()
    crashed, good = (me.send(text).json["id"] for text in (b"crash", b"good"))
    assert "signal 6, SIGABRT" in me.wait(crashed)["error"]
    assert me.wait(good)["state"] == "done"


@pytest.mark.parametrize("how", [b"slow", b"chatty"])
def test_work_that_takes_too_long_is_ended(tmp_path, how):
    with page_server(tmp_path / "p", Limits(job_seconds=0.5)) as running:
        me = running.visitor()
        assert "longer than" in me.wait(me.send(how).json["id"])["error"]


def test_a_process_that_answers_oddly_or_no_more_fails_its_video_only(running, monkeypatch):
    monkeypatch.setattr(runner, "ENDING_SECONDS", 0.2)
    me = running.visitor()
    mute, odd, good = (me.send(text).json["id"] for text in (b"mute", b"odd", b"good"))
    assert "silent" in me.wait(mute)["error"]
    assert "could not work on it" in me.wait(odd)["error"]
    assert me.wait(good)["state"] == "done"


def test_others_see_nothing_and_remove_nothing(running):
    me, other = running.visitor(), running.visitor()
    mine = me.send(b"good").json["id"]
    theirs = other.send(b"good").json["id"]
    me.wait(mine)
    assert [job["id"] for job in me.ask("GET", "/api/jobs").json] == [mine]
    assert [job["id"] for job in other.ask("GET", "/api/jobs").json] == [theirs]
    assert other.ask("GET", f"/api/jobs/{mine}").json["is_mine"] is False  # by its link
    assert other.ask("DELETE", f"/api/jobs/{mine}").status == 403
    assert me.ask("DELETE", f"/api/jobs/{mine}").status == 204
    assert me.ask("GET", f"/api/jobs/{mine}").status == 404
    other.wait(theirs)
    assert all(theirs in name for name in files_of(running))


@pytest.mark.parametrize(
    "path",
    [
        "/api/jobs/../../jobs.sqlite3",
        "/api/jobs/..%2f..%2fjobs.sqlite3/video",
        "/api/jobs/....................../video",
        "/api/jobs/aaaaaaaaaaaaaaaaaaaaaa/files/json",
        "/assets/..%2fapp.py",
        "/assets/../app.py",
        "/assets/%2fetc%2fpasswd",
        "/api/examples/..%2f..%2fserver.lock",
    ],
)
def test_no_address_leads_out_of_the_folder(running, path):
    assert running.visitor().ask("GET", path).status == 404


def test_a_name_cannot_lead_out_of_the_folder(running):
    me = running.visitor()
    job = me.wait(me.send(b"good", "..%2F..%2F..%2Fetc%2Fpasswd%00.mp4").json["id"])
    assert job["name"] == "passwd.mp4"
    assert all(job["id"] in name for name in files_of(running))
    assert stat.S_IMODE(running.folders.root.stat().st_mode) == 0o700


def test_a_cancelled_video_ends_at_once_and_leaves_nothing(running):
    me = running.visitor()
    job_id = me.send(b"slow").json["id"]
    me.wait(job_id, "running")
    assert me.ask("DELETE", f"/api/jobs/{job_id}").status == 204
    assert me.wait(job_id)["state"] == "cancelled"
    wait_until_empty(running)
    assert me.wait(me.send(b"good").json["id"])["state"] == "done"


def test_uploads_that_are_too_large_are_refused_whatever_they_claim(tmp_path):
    with page_server(tmp_path / "p", Limits(max_bytes=1000)) as running:
        me = running.visitor()
        assert me.send(b"x" * 1001).status == 413
        pieces = (b"x" * 100 for _ in range(20))
        assert me.ask("POST", "/api/jobs?name=a.mp4", pieces, transfer_encoding="chunked").status in (413, 400)
        assert me.send(b"").status == 400
        assert files_of(running) == []
        assert me.ask("GET", "/api/jobs").json == []


def test_slow_and_broken_uploads_lose_their_place_and_leave_nothing(tmp_path):
    with page_server(tmp_path / "p", Limits(max_uploads=1, idle_seconds=0.4)) as running:
        me = running.visitor()
        head = b"POST /api/jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nslow"
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as idle:
            idle.sendall(head)
            time.sleep(0.1)
            assert me.send(b"good").status == 503  # the only place is taken
            assert b" 408 " in idle.recv(4000)
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as broken:
            broken.sendall(head)
            time.sleep(0.1)
        end = time.monotonic() + 5
        while me.send(b"good").status != 202:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [job["name"] for job in me.ask("GET", "/api/jobs").json] == ["film.mp4"]
        assert not list(running.folders.incoming.iterdir())


def test_a_trickle_is_given_up(tmp_path):
    limits = Limits(idle_seconds=0.3, least_bytes_per_second=1000)
    with page_server(tmp_path / "p", limits) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as trickle:
            trickle.sendall(b"POST /api/jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(8):
                trickle.sendall(b"x")
                time.sleep(0.1)
            assert b" 408 " in trickle.recv(4000)
        assert not list(running.folders.incoming.iterdir())


def test_a_connection_that_asks_nothing_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "HEADER_SECONDS", 0.2)
    with (
        page_server(tmp_path / "p", Limits()) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent,
    ):
        silent.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert silent.recv(100) == b""


def test_a_flood_of_200_loses_nothing_and_mixes_nothing(tmp_path):
    """Everything that was accepted is done, everything else was refused; everybody has exactly her own."""
    limits = Limits(num_parallel=2, max_uploads=60, max_waiting=25, max_waiting_each=10, job_seconds=60)
    with page_server(tmp_path / "p", limits) as running:
        visitors = [running.visitor() for _ in range(20)]
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda i: (i, visitors[i % 20].send(f"good {i}".encode())), range(200)))
        assert {answer.status for _, answer in answers} <= {202, 429, 503}
        accepted = {answer.json["id"]: i for i, answer in answers if answer.status == 202}
        assert len(accepted) >= 20
        for job_id, i in accepted.items():
            assert visitors[i % 20].wait(job_id, seconds=60)["state"] == "done"
            assert visitors[i % 20].ask("GET", f"/api/jobs/{job_id}/files/json").json == {"of": f"good {i}"}
        for number, visitor in enumerate(visitors):
            mine = {job["id"] for job in visitor.ask("GET", "/api/jobs").json}
            assert mine == {job_id for job_id, i in accepted.items() if i % 20 == number}
        assert not list(running.folders.incoming.iterdir())


def test_a_server_that_is_stopped_goes_on_where_it_was(tmp_path):
    limits = Limits()
    with page_server(tmp_path / "p", limits) as first:
        me = first.visitor()
        done = me.send(b"good").json["id"]
        me.wait(done)
        stopped = me.send(b"slow").json["id"]
        me.wait(stopped, "running")
        waiting = me.send(b"good").json["id"]
    (first.folders.of(stopped).upload).write_bytes(b"good after all")
    with page_server(tmp_path / "p", limits) as second:
        me.port = second.port
        assert me.ask("GET", f"/api/jobs/{done}/files/json").json == {"of": "good"}
        again = me.wait(stopped)
        assert again["state"] == "done"
        assert "begun again" in again["note"]
        assert me.wait(waiting)["state"] == "done"
        assert len(me.ask("GET", "/api/jobs").json) == 3


def test_videos_are_removed_after_their_time(tmp_path):
    with page_server(tmp_path / "p", Limits(keep_seconds=0.3)) as running:
        me = running.visitor()
        job_id = me.send(b"good").json["id"]
        me.wait(job_id)
        time.sleep(0.4)
        running.runner.sweep()
        assert me.ask("GET", f"/api/jobs/{job_id}").status == 404
        assert files_of(running) == []


def test_a_full_disk_refuses_before_anything_is_written(running, monkeypatch):
    monkeypatch.setattr(uploads, "LEAST_FREE_BYTES", 1 << 60)
    assert running.visitor().send(b"good").status == 507


def test_examples_are_worked_on_like_uploads(tmp_path):
    example = tmp_path / "a_street.mp4"
    example.write_bytes(b"good example")
    with page_server(tmp_path / "p", Limits(), examples=(example,)) as running:
        me = running.visitor()
        (told,) = me.ask("GET", "/api/info").json["examples"]
        assert (told["title"], me.ask("GET", told["url"]).body) == ("a street", b"good example")
        job = me.wait(me.ask("POST", f"{told['url']}/jobs").json["id"])
        assert (job["state"], job["name"]) == ("done", "a_street.mp4")
        assert example.exists()


def test_the_interface_is_described(running):
    described = running.visitor().ask("GET", "/openapi.json").json
    assert {"/api/info", "/api/jobs", "/api/jobs/{job_id}", "/api/jobs/{job_id}/events"} <= set(described["paths"])
    body = described["paths"]["/api/jobs"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/octet-stream"]
    for path, methods in described["paths"].items():
        for method, what in methods.items():
            assert what.get("description"), (method, path)


def test_only_one_server_uses_a_folder(tmp_path):
    folders = Folders(tmp_path / "p")
    refused = pytest.raises(InputError, match="another server uses this folder")
    with serve.only_server_of(folders), refused, serve.only_server_of(folders):
        pass
    with serve.only_server_of(folders):  # free again
        pass
