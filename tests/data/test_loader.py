import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from deadly import DeadlyCache
from loader_sets import CLIPS, COMMON, batches, deadly_sets, make_sets, mixture, same

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import collate, evaluation_batches
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.mixture import Mixture, sample_seed
from tubelet.types import ClipBatch, InputError, VideoError
from tubelet.video.augmentations import BatchAugment, augment_batch
from tubelet.video.transforms import read_size
from tubelet.worker_pool import WorkerError


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipDataset]:
    return make_sets(tmp_path_factory.mktemp("loader"))


def test_batches_are_the_same_for_any_number_of_workers(sets: dict[str, ClipDataset]) -> None:
    plan = mixture(sets)
    here = list(batches(sets, plan, start_step=0, num_workers=0, seed=9))
    assert [step for step, _ in here] == list(range(12))
    assert {batch.task for _, batch in here} == {"classify", "localise"}
    for num_workers in (1, 3):
        there = list(batches(sets, plan, start_step=0, num_workers=num_workers, seed=9))
        assert len(there) == 12
        assert all(step == other and same(a, b) for (step, a), (other, b) in zip(here, there, strict=True))


def test_a_resumed_run_goes_on_with_the_same_batches(sets: dict[str, ClipDataset]) -> None:
    plan = mixture(sets)
    whole = dict(batches(sets, plan, seed=9))
    rest = dict(batches(sets, plan, start_step=8, seed=9))
    assert list(rest) == [8, 9, 10, 11]
    assert all(same(whole[step], batch) for step, batch in rest.items())
    other = dict(batches(sets, plan, start_step=8, seed=10))
    assert not any(same(whole[step], batch) for step, batch in other.items())


def test_what_changes_whole_batches_follows_from_the_step_alone(sets: dict[str, ClipDataset]) -> None:
    plan = mixture(sets)
    mixing = BatchAugment(colour_probability=0.8, rand_augment=(1, 10), mixup=0.4, cutmix=1.0)
    still = BatchAugment(colour_probability=0.8, rand_augment=(1, 10))

    def changed(batch: ClipBatch) -> tuple[torch.Tensor, torch.Tensor]:
        settings = mixing if batch.boxes is None else still
        return augment_batch(
            batch.video, batch.targets, settings, batch.seeds, batch.slots, has_boxes=batch.boxes is not None
        )

    whole = {step: changed(batch) for step, batch in batches(sets, plan, seed=9)}
    plain = dict(batches(sets, plan, seed=9))
    assert all(not torch.equal(whole[step][0], batch.video) for step, batch in plain.items())
    mixed = [targets for step, (_, targets) in whole.items() if plain[step].boxes is None]
    assert any(((targets > 0) & (targets < 1)).any() for targets in mixed)
    for num_workers, start in ((1, 0), (3, 0), (0, 7), (2, 7)):
        there = batches(sets, plan, start_step=start, num_workers=num_workers, seed=9)
        steps = 0
        for step, batch in there:
            video, targets = changed(batch)
            assert torch.equal(video, whole[step][0])
            assert torch.equal(targets, whole[step][1])
            steps += 1
        assert steps == 12 - start
    other = {step: changed(batch)[0] for step, batch in batches(sets, plan, seed=10)}
    assert not any(torch.equal(other[step], whole[step][0]) for step in other)


def test_a_batch_is_what_the_mixture_says(sets: dict[str, ClipDataset]) -> None:
    plan = mixture(sets)
    for step, batch in batches(sets, plan, seed=9):
        data = sets[batch.task]
        (part,) = plan.parts(step)
        assert (batch.task, batch.slots) == (part.task, part.slots) == (part.task, (0, 1, 2))
        expected = [data.sample(i, sample_seed(9, step, slot)) for slot, i in zip(part.slots, part.indices)]
        assert batch.sample_ids == tuple(sample.sample_id for sample in expected)
        assert batch.video.shape == (3, 3, 4, 48, 48)
        for video, sample in zip(batch.video, expected, strict=True):
            assert torch.equal(video.transpose(0, 1), sample.frames)


def test_collate_keeps_boxes_with_their_clips(sets: dict[str, ClipDataset]) -> None:
    data = sets["localise"]
    samples = [data.view(i) for i in (2, 0, 1)]  # 3, 1 and 2 boxes
    batch = collate("localise", samples)
    assert batch.box_clip is not None
    assert batch.box_clip.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert batch.boxes is not None
    assert samples[2].boxes is not None
    assert torch.equal(batch.boxes[4:], samples[2].boxes)
    assert batch.num_clamped == sum(sample.num_clamped for sample in samples) > 0
    classified = collate("classify", [sets["classify"].view(0)])
    assert (classified.boxes, classified.box_clip, classified.box_scores) == (None, None, None)


def test_evaluation_sees_every_example_once_in_order(sets: dict[str, ClipDataset]) -> None:
    for num_workers in (0, 2):
        for name, data in sets.items():
            read = list(evaluation_batches(data, name, 3, num_workers))
            assert [i for batch in read for i in batch.sample_ids] == [data.sample_id(i) for i in range(len(data))]
            assert [len(batch.sample_ids) for batch in read][:2] == [3, 3]
    with pytest.raises(InputError, match="batch_size is 0"):
        next(evaluation_batches(sets["classify"], "classify", 0, 0))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_video_is_told_with_the_sample(tmp_path: Path, num_workers: int) -> None:
    data = make_sets(tmp_path)
    (tmp_path / "b.mp4").write_text("not a video")
    loader = batches(data, mixture(data, 50), num_workers=num_workers, seed=0)
    with pytest.raises(VideoError, match=r"b\.mp4: sample (\d|b\.mp4,\d\.\d+): not a video file") as error:
        list(loader)
    assert error.value.path == str(tmp_path / "b.mp4")
    assert "\n" not in str(error.value)


def test_sizes_must_be_the_mixtures(sets: dict[str, ClipDataset]) -> None:
    other = Mixture({"classify": 5, "localise": 8}, batch_size=3, num_steps=2, seed=0)
    with pytest.raises(InputError, match="mixture was made for sets of"):
        next(batches(sets, other, seed=0))


def test_the_global_generator_is_left_alone(sets: dict[str, ClipDataset]) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    list(batches(sets, mixture(sets, 2), num_workers=0, seed=1))
    list(batches(sets, mixture(sets, 2), num_workers=1, seed=1))
    assert torch.equal(torch.rand(3), expected)


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits that it is ignored
sys.path[:0] = [{tests!r}, {here!r}]
from loader_sets import batches, make_sets, mixture
if __name__ == "__main__":
    sets = make_sets(Path({root!r}))
    try:
        for step, _ in batches(sets, mixture(sets, 100_000), num_workers=2, seed=0):
            if step == 3:
                print("running", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
"""


def test_interrupt_ends_the_workers_without_noise(tmp_path: Path) -> None:
    make_sets(tmp_path)
    script = tmp_path / "run.py"
    here = Path(__file__).parent
    script.write_text(SCRIPT.format(tests=str(here.parent), here=str(here), root=str(tmp_path)))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out, errors) == (130, "stopped\n", "")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(process.pid):
        time.sleep(0.05)
    assert not _alive(process.pid)
    shutil.rmtree(tmp_path / "classify")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# Below: processes and videos that die.
def reads(root: Path) -> list[list[str]]:
    return [line.split() for line in (root / "reads.txt").read_text().splitlines()]


def test_a_worker_killed_in_the_middle_changes_no_batch(tmp_path: Path) -> None:
    sets = deadly_sets(tmp_path, seconds=0.01)
    plan = mixture(sets, 16)
    expected = list(batches(sets, plan, seed=9))
    (tmp_path / "reads.txt").unlink()
    seen, victims = [], set()
    for step, batch in batches(sets, plan, num_workers=2, seed=9, prefetch_bytes=1):
        seen.append((step, batch))
        if step in (2, 6):
            victims.add(int(reads(tmp_path)[-1][0]))
            os.kill(int(reads(tmp_path)[-1][0]), signal.SIGKILL)
    assert len(seen) == 16
    assert all(s == t and same(a, b) for (s, a), (t, b) in zip(expected, seen, strict=True))
    assert len(victims) == 2
    assert {int(pid) for pid, _ in reads(tmp_path)} > victims


def test_a_video_that_kills_its_worker_is_blamed(tmp_path: Path) -> None:
    sets = deadly_sets(tmp_path, deadly="b.mp4")
    plan = mixture(sets, 12)
    videos = [{sets[part.task].video(i) for part in plan.parts(step) for i in part.indices} for step in range(12)]
    first = next(step for step, names in enumerate(videos) if "b.mp4" in names)
    seen = []
    with pytest.raises(WorkerError, match=r"sample \S+: its worker process ended 3 times \(signal 11, SIGSEGV\)"):
        seen.extend(step for step, _ in batches(sets, plan, num_workers=2, seed=9))
    assert seen == list(range(first))


def test_skipped_samples_leave_the_others_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The rule: a batch is short of what cannot be made, and nothing else changes, however many workers there are."""
    sets = deadly_sets(tmp_path)
    plan = mixture(sets, 6)
    whole = dict(batches(sets, plan, seed=9))
    for num_workers, options in ((0, {"broken": ("b.mp4",)}), (3, {"broken": ("b.mp4",)}), (2, {"deadly": "b.mp4"})):
        sets = deadly_sets(tmp_path, **options)
        caplog.clear()
        found = dict(batches(sets, plan, num_workers=num_workers, seed=9, on_error="skip"))
        assert list(found) == list(range(6))
        for step, batch in found.items():
            names = [sets[part.task].video(i) for part in plan.parts(step) for i in part.indices]
            kept = [slot for slot, name in enumerate(names) if name != "b.mp4"]
            full = whole[step]
            assert batch.sample_ids == tuple(full.sample_ids[slot] for slot in kept)
            assert batch.slots == tuple(kept)
            assert batch.skipped_ids == tuple(i for i in full.sample_ids if i not in batch.sample_ids)
            assert torch.equal(batch.video, full.video[kept])
            if full.box_clip is None or batch.box_clip is None:
                assert torch.equal(batch.targets, full.targets[kept])
                continue
            assert full.boxes is not None
            rows = [row for slot in kept for row in torch.nonzero(full.box_clip == slot).flatten().tolist()]
            assert torch.equal(batch.targets, full.targets[rows])
            assert torch.equal(torch.as_tensor(batch.boxes), full.boxes[rows])
            assert batch.box_clip.unique().tolist() == list(range(len(kept)))
        said = [record for record in caplog.records if record.name == "tubelet.data.loader"]  # not that a worker died
        assert sum(len(batch.skipped_ids) for batch in found.values()) == len(said) > 3
        assert "b.mp4" in caplog.text or "worker process ended" in caplog.text


def test_a_share_with_nothing_left_is_an_empty_batch(tmp_path: Path) -> None:
    for num_workers in (0, 2):
        sets = deadly_sets(tmp_path, broken=("a.mp4", "b.mp4"))
        seen = set()
        for _, batch in batches(sets, mixture(sets), num_workers=num_workers, seed=9, on_error="skip"):
            assert (batch.sample_ids, batch.slots, len(batch.skipped_ids)) == ((), (), 3)
            assert (tuple(batch.video.shape), tuple(batch.targets.shape)) == ((0, 3, 4, 48, 48), (0, 3))
            assert (batch.boxes is None) == (batch.task == "classify")
            seen.add(batch.task)
        assert seen == {"classify", "localise"}


def test_prefetch_is_bounded_in_bytes(tmp_path: Path) -> None:
    """A sample is 4 x 3 x 48 x 48 bytes, a batch 3 of them."""
    batch_bytes = 3 * 4 * 3 * 48 * 48
    for room, ahead in ((1, 1), (3 * batch_bytes, 3), (4 * batch_bytes - 1, 3)):
        sets = deadly_sets(tmp_path)
        (tmp_path / "reads.txt").unlink(missing_ok=True)
        loader = batches(sets, mixture(sets, 50), num_workers=2, seed=9, prefetch_bytes=room)
        next(loader)
        time.sleep(0.5)
        assert len(reads(tmp_path)) == 3 * ahead  # the room of the batch that was given out is not used again yet
        loader.close()


def test_an_order_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    make_sets(tmp_path)
    row = {"video": "a.mp4", "start_seconds": 0.0, "end_seconds": 2.0, "split": "train", "labels": [1]}
    manifest = write_manifest(
        tmp_path / "many",
        name="m",
        kind="classify",
        multi_label=False,
        media_root=tmp_path,
        clips=[{**row, "clip_id": f"clip-{i}"} for i in range(5000)],
        **COMMON,
    )
    data = ClipDataset(manifest, "train", preprocess=CLIPS, augment=None)
    assert len(pickle.dumps(data.example(4321))) < 5000
    assert len(pickle.dumps(data.holding(data.example(0)))) < 10_000
    alone = data.holding(data.example(4321))
    assert (alone.sample_id(0), alone.targets(0).tolist()) == ("clip-4321", [[0, 1, 0]])
    boxes = make_sets(tmp_path)["localise"]
    for index in range(len(boxes)):
        alone, whole = boxes.holding(boxes.example(index)).view(0), boxes.view(index)
        assert alone.sample_id == whole.sample_id
        assert torch.equal(torch.as_tensor(alone.boxes), torch.as_tensor(whole.boxes))
        assert torch.equal(alone.targets, whole.targets)


def test_a_batch_lives_as_long_as_its_tensors(sets: dict[str, ClipDataset]) -> None:
    """The memory that workers wrote into is the batch's own: nothing that comes later changes it."""
    loader = batches(sets, mixture(sets, 30), num_workers=2, seed=9)
    files = len(list(Path("/proc/self/fd").iterdir()))
    kept = list(batches(sets, mixture(sets, 30), num_workers=2, seed=9))
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 3  # those of the template, at most
    assert len(kept) == 30
    del kept
    _, first = next(loader)
    before = first.video.clone()
    assert sum(1 for _ in loader) == 29
    assert torch.equal(first.video, before)
    first.video.fill_(7)  # and can be written to
    gc.collect()
    others = mapped() - 1
    del first
    gc.collect()
    assert mapped() == others == 0


def mapped() -> int:
    """Return how many batches' memory this process sees."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split()[4] for line in lines if "tubelet-batch" in line})


@pytest.mark.slow
def test_a_million_rows_cost_a_worker_nothing(tmp_path: Path) -> None:
    """Private memory of a worker, its imports included (they are shared with the template): far below 300 MB."""
    make_sets(tmp_path)
    many = 1_000_000
    table = pa.table(
        {
            "clip_id": [f"clip-{i}" for i in range(many)],
            "video": ["a.mp4"] * many,
            "start_seconds": [0.0] * many,
            "end_seconds": [2.0] * many,
            "split": ["train"] * many,
            "labels": pa.array([[0]] * many, type=pa.list_(pa.int32())),
        }
    )
    options: dict[str, Any] = {"kind": "classify", "multi_label": False, "media_root": tmp_path, **COMMON}
    manifest = write_manifest(tmp_path / "many", name="m", clips=table, **options)
    data = ClipDataset(manifest, "train", preprocess=CLIPS, augment=None)
    log = tmp_path / "reads.txt"
    data._cache = DeadlyCache(tmp_path, read_size(CLIPS.fit), 25.0, log=str(log), seconds=0.05)
    plan = Mixture({"m": many}, batch_size=2, num_steps=20, seed=0)
    loader = batches({"m": data}, plan, num_workers=2, seed=0)
    next(loader)
    for pid in {int(pid) for pid, _ in reads(tmp_path)}:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        assert private < 60_000  # kB
    loader.close()
