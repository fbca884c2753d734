"""Score generated tubes with the public evaluations: ``python make.py --moc FOLDER --multisports FOLDER``.

The folders are checkouts of github.com/MCG-NJU/MOC-Detector (whose ACT.py is that of the ACT detector, in Python 3;
45c3fd0) and github.com/MCG-NJU/MultiSports (a29e291); nothing of them is here. Writes ``seed<N>.json`` beside this
file: the tubes, and the numbers that the evaluations gave.
"""

import argparse
import contextlib
import copy
import functools
import importlib.util
import io
import json
import pickle
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
LABELS, VIDEOS = ["run", "jump", "throw"], ["a", "b", "c", "d"]
EACH_LESS = -1e-6
HEIGHT, WIDTH, NUM_FRAMES = 240, 320, 40
IOUS = [0.2, 0.5, *(round(0.55 + 0.05 * i, 2) for i in range(9))]


def drawn(seed: int) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return annotated and detected tubes: video, class, first frame, boxes in pixels, and a score.

    Detections are shifted, cut and duplicated; some scores are equal, some boxes are of the wrong class.
    """
    generator = np.random.default_rng(seed)
    truth, found = [], []
    for video in VIDEOS:
        for label in range(len(LABELS)):
            for _ in range(generator.integers(1 if video == "a" else 0, 4)):
                length = int(generator.integers(6, 20))
                start = int(generator.integers(1, NUM_FRAMES - length))
                corner = generator.uniform(0, [WIDTH * 0.6, HEIGHT * 0.6])
                size = generator.uniform(30, 90, 2)
                path = corner + np.cumsum(generator.normal(0, 2, (length, 2)), axis=0)
                boxes = np.concatenate([path, path + size], axis=1)
                truth.append([video, label, start, boxes])
                for _ in range(generator.integers(0, 4)):
                    first, last = generator.integers(0, length // 2), generator.integers(length // 2 + 1, length + 1)
                    moved = (
                        boxes[first:last] + generator.normal(0, 4, (1, 4)) + generator.normal(0, 1, (last - first, 4))
                    )
                    score = round(float(generator.random()), int(generator.integers(1, 4)))
                    named = label if generator.random() < 0.8 else int(generator.integers(len(LABELS)))
                    found.append([video, named, start + int(first), moved, score])
    for row in (*truth, *found):
        row[3] = np.round(np.clip(row[3], 0, [WIDTH - 1, HEIGHT - 1] * 2), 3).tolist()
    return truth, found


def as_arrays(rows: list[list[Any]]) -> dict[str, dict[int, list[np.ndarray]]]:
    """Return annotated tubes as the evaluations keep them: frame, x1, y1, x2, y2."""
    tubes: dict[str, dict[int, list[np.ndarray]]] = {video: {} for video in VIDEOS}
    for video, label, start, boxes, *_ in rows:
        tubes[video].setdefault(label, []).append(numbered(start, boxes))
    return tubes


def numbered(start: int, boxes: list[list[float]]) -> np.ndarray:
    """Return boxes with the number of their frame before them."""
    return np.column_stack([start + np.arange(len(boxes)), np.array(boxes)]).astype(np.float64)


def frame_rows(found: list[list[Any]]) -> np.ndarray:
    """Return every box of the detected tubes: video, frame, class, score (no two are equal), x1, y1, x2, y2."""
    rows = [
        [VIDEOS.index(video), start + t, label, score, *box]
        for video, label, start, boxes, score in found
        for t, box in enumerate(boxes)
    ]
    for number, row in enumerate(rows):
        row[3] += EACH_LESS * number
    return np.array(rows)


def load(path: Path, name: str) -> Any:
    """Import a file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    as_now(module)
    return module


def as_now(module: Any) -> None:
    """Let a module's ``int`` take an array of one number, which numpy no longer does."""
    module.int = lambda value: int(np.asarray(value).reshape(-1)[0])


def by_multisports(checkout: Path, truth: list[list[Any]], found: list[list[Any]]) -> dict[str, float]:
    """Return what MultiSports' evaluation gives."""
    module = load(checkout / "evaluate_multisports.py", "evaluate_multisports")
    with tempfile.TemporaryDirectory() as folder:
        gt, frames, videos = (Path(folder) / name for name in ("gt.pkl", "frames.pkl", "videos.pkl"))
        gt.write_bytes(pickle.dumps({"labels": LABELS, "test_videos": [VIDEOS], "gttubes": as_arrays(truth)}))
        frames.write_bytes(pickle.dumps(frame_rows(found)))
        tubes = {k: [(v, s, numbered(at, b)) for v, label, at, b, s in found if label == k] for k in range(len(LABELS))}
        videos.write_bytes(pickle.dumps(tubes))
        with contextlib.redirect_stdout(io.StringIO()):
            numbers = {"frame 0.5": module.frameAP(gt, frames, 0.5, print_info=False)}
            numbers |= {f"video {iou}": module.videoAP(gt, videos, iou, print_info=False) for iou in IOUS}
    return {name: float(value) for name, value in numbers.items()}


def by_act(checkout: Path, truth: list[list[Any]], found: list[list[Any]]) -> dict[str, float]:
    """Return what the ACT detector's evaluation gives."""
    source = checkout / "src"
    sys.path.insert(0, str(source))
    made = types.SimpleNamespace(labels=LABELS, _test_videos=[VIDEOS], _gttubes=as_arrays(truth))
    stubs: dict[str, dict[str, Any]] = {
        "datasets": {},
        # It deletes what is claimed from the data set itself.
        "datasets.init_dataset": {"get_dataset": lambda name: lambda opt, split: copy.deepcopy(made)},
        "opts": {"opts": None},
        "ACT_utils.ACT_build": {"load_frame_detections": None, "BuildTubes": None},
    }
    for name, values in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        for key, value in values.items():
            setattr(sys.modules[name], key, value)
    module = load(source / "ACT.py", "ACT")
    as_now(sys.modules["ACT_utils.ACT_utils"])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "frame_detections.pkl").write_bytes(pickle.dumps(frame_rows(found)))
        for video in VIDEOS:
            tubes = {
                k: [(numbered(at, b), s) for v, label, at, b, s in found if (v, label) == (video, k)]
                for k in range(len(LABELS))
            }
            (Path(folder) / f"{video}_tubes.pkl").write_bytes(pickle.dumps(tubes))
        opt = types.SimpleNamespace(
            redo=False,
            th=0.5,
            model_name="",
            dataset="",
            inference_dir=folder,
            split=1,
            K=1,
            root_dir=folder,
            exp_id="",
        )
        with contextlib.redirect_stdout(io.StringIO()):
            numbers = {"frame 0.5": module.frameAP(opt, print_info=False)}
            for iou in IOUS:
                opt.th = iou
                numbers[f"video {iou}"] = module.videoAP(opt, print_info=False)
    return {name: float(value) for name, value in numbers.items()}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moc", type=Path, required=True)
    parser.add_argument("--multisports", type=Path, required=True)
    given = parser.parse_args()
    # Where scores tie, numpy's default sort orders them by the processor's vector unit.
    np.argsort = functools.partial(np.argsort, kind="stable")
    for seed in range(4):
        truth, found = drawn(seed)
        data = {
            "labels": LABELS,
            "frame_hw": [HEIGHT, WIDTH],
            "truth": truth,
            "found": found,
            "act": by_act(given.moc, truth, found),
            "multisports": by_multisports(given.multisports, truth, found),
            "numpy": np.__version__,
        }
        (HERE / f"seed{seed}.json").write_text(json.dumps(data) + "\n")
        print(seed, len(truth), len(found), {name: data[name]["video 0.5"] for name in ("act", "multisports")})


if __name__ == "__main__":
    main()
