"""The queue: whose turn it is, what a restart makes of what was at work, and that no answer is lost to a race."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tubelet.web.folders import Folders, safe_name
from tubelet.web.jobs import JobStore, QueueFullError, is_job_id, new_job_id

ROOM = {"max_waiting": 100, "max_waiting_each": 100}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    found = JobStore(tmp_path / "jobs.sqlite3", clock=clock)
    yield found
    found.close()


def add(store, name, visitor="me"):
    return store.add(new_job_id(), visitor=visitor, name=name, **ROOM).id


def order_taken(store, clock):
    taken = []
    while (job := store.claim()) is not None:
        clock.now += 1
        taken.append(job.name)
        store.finish(job.id, {})
    return taken


def test_everybodys_first_comes_before_anybodys_second(store, clock):
    ids = {name: add(store, name, visitor=name[0]) for name in ("a1", "a2", "a3", "b1", "b2", "c1")}
    assert store.place(ids["b1"]) == 1
    assert order_taken(store, clock) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert store.place(ids["a1"]) is None


def test_who_has_one_at_work_waits_for_those_who_have_none(store):
    for name in ("a1", "a2", "a3"):
        add(store, name, visitor="a")
    assert store.claim().name == "a1"
    add(store, "b1", visitor="b")
    assert [store.claim().name for _ in range(3)] == ["b1", "a2", "a3"]


def test_the_queue_holds_exactly_so_many_however_many_come_at_once(store):
    def one(number):
        try:
            return store.add(new_job_id(), visitor=f"v{number % 20}", name="n", max_waiting=50, max_waiting_each=3)
        except QueueFullError:
            return None

    with ThreadPoolExecutor(40) as pool:
        taken = [job for job in pool.map(one, range(200)) if job]
    assert len(taken) == 50
    assert all(len(store.of_visitor(f"v{k}")) <= 3 for k in range(20))


def test_no_job_is_claimed_twice(store):
    for _ in range(40):
        add(store, "n")
    with ThreadPoolExecutor(8) as pool:
        claimed = [job.id for job in pool.map(lambda _: store.claim(), range(60)) if job]
    assert len(claimed) == len(set(claimed)) == 40


def test_a_restart_settles_what_was_at_work(tmp_path, clock):
    path = tmp_path / "jobs.sqlite3"
    first = JobStore(path, clock=clock)
    published, once, twice, waiting = (add(first, name) for name in ("published", "once", "twice", "waiting"))
    for _ in range(3):
        first.claim()
    first.put_back(twice)
    first.close()
    other = JobStore(path, clock=clock)  # the process was killed: nothing was said
    other._changed("update jobs set attempts = 1 where id = ?", twice)
    other._changed("update jobs set state = 'running', attempts = 2 where id = ?", twice)
    other.recover(lambda job_id: {"num_people": 3} if job_id == published else None)
    assert other.get(published).state == "done"
    assert other.get(published).outcome == {"num_people": 3}
    assert other.get(once).state == "queued"
    assert "begun again" in other.get(once).note
    assert other.get(twice).state == "failed"
    assert "ended 2 times" in other.get(twice).error
    assert other.get(waiting).state == "queued"
    other.close()


def test_stopping_a_server_does_not_count_as_an_attempt(store):
    job_id = add(store, "n")
    for _ in range(5):
        assert store.claim().attempts == 1
        store.put_back(job_id)
    assert store.get(job_id).state == "queued"


def test_what_was_cancelled_cannot_become_done_or_failed(store):
    job_id = add(store, "n")
    store.claim()
    assert store.cancel(job_id)
    assert not store.finish(job_id, {})
    assert not store.fail(job_id, "too late")
    assert not store.progress(job_id, stage="looking", share=0.5)
    assert store.get(job_id).state == "cancelled"
    assert not store.cancel(job_id)


def test_what_is_at_work_does_not_expire(store, clock):
    old, running = add(store, "old"), add(store, "running", visitor="b")
    store.cancel(old)
    store.claim()
    clock.now += 100
    new = add(store, "new")
    assert store.expired(50) == [old]
    store.remove(old)
    assert store.ids() == {running, new}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("street.mp4", "street.mp4"),
        ("../../etc/passwd", "passwd.mp4"),
        ("C:\\films\\Über uns.AVI", "Uber_uns.avi"),
        ("a,b\nc\0d.mkv", "a_b_cd.mkv"),
        (".mp4", "video.mp4"),
        ("...", "video.mp4"),
        ("film.exe", "film.mp4"),
        ("x" * 300 + ".webm", "x" * 60 + ".webm"),
        ("映画.mp4", "video.mp4"),
        ("-rf.mp4", "rf.mp4"),
        ("<img src=x onerror=alert(1)>.mp4", "img_src_x_onerror_alert_1.mp4"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe


def test_ids_cannot_be_guessed_or_lead_anywhere(tmp_path):
    assert len({new_job_id() for _ in range(1000)}) == 1000
    assert is_job_id(new_job_id())
    for wrong in ("", "..", "../" * 7 + "a", "a" * 21, "a" * 22 + "\n", "a" * 21 + "/"):
        assert not is_job_id(wrong)
        with pytest.raises(ValueError, match="no job id"):
            Folders(tmp_path).of(wrong)


def test_what_a_killed_server_left_is_removed(tmp_path):
    folders = Folders(tmp_path / "p")
    known, unknown = new_job_id(), new_job_id()
    for job_id in (known, unknown):
        upload = folders.incoming / "u"
        upload.write_text("video")
        folders.accept(job_id, upload)
        folders.of(job_id).attempt(1).mkdir()
    (folders.incoming / "half").write_text("vid")
    folders.tidy({known})
    assert sorted(p.name for p in (tmp_path / "p/jobs").iterdir()) == [known]
    assert [p.name for p in folders.of(known).path.iterdir()] == ["upload"]
    assert not list(folders.incoming.iterdir())
