"""Random AVA-like rows with everything that decides between evaluators: ties, duplicates, empty keyframes, odd rows."""

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.labels import LabelSpace

IDS = (1, 3, 4, 7, 11, 12)
SPACE = LabelSpace(name="cases", names=tuple(f"class {i}" for i in IDS), ids=IDS)
OTHER_IDS = (2, 9)  # written in the files, not evaluated
VIDEOS = ("vid_b", "vid_a", "vid_c")


def make_case(seed: int, *, num_keyframes: int = 40, decimals: int = 2) -> dict[str, list[list[object]]]:
    """Return ``ground_truth``, ``detections`` and ``excluded`` as csv-like rows; coarse decimals make many ties."""
    generator = np.random.default_rng(seed)
    truth: list[list[object]] = []
    found: list[list[object]] = []
    keys = [(VIDEOS[i % 3], 902 + i) for i in range(num_keyframes)]
    for number, key in enumerate(keys):
        if number % 9 == 4:
            truth.append([*key])  # a keyframe without a box
        people = _boxes(generator, 0 if number % 9 in (4, 5) else int(generator.integers(1, 5)), decimals)
        for box in people:
            for label in generator.choice(IDS + OTHER_IDS, size=int(generator.integers(1, 4)), replace=False):
                truth.append([*key, *box, int(label)])
        if len(people) and generator.random() < 0.3:
            truth.append([*truth[-1]])  # the same box and class twice
        if number % 7 == 3:
            continue  # nobody detected
        found += _detections(generator, key, people, decimals)
    found += [["vid_z", 902, 0.1, 0.1, 0.5, 0.5, IDS[0], 0.9], [VIDEOS[0], 1700, 0.1, 0.1, 0.5, 0.5, IDS[1], 0.8]]
    found = [found[i] for i in generator.permutation(len(found))]
    truth = [truth[i] for i in generator.permutation(len(truth))]
    excluded: list[list[object]] = [[*keys[6]], [*keys[11]], ["vid_q", 5]]
    return {"ground_truth": truth, "detections": found, "excluded": excluded}


def _boxes(generator: np.random.Generator, count: int, decimals: int) -> list[list[float]]:
    corner = generator.uniform(0.0, 0.5, (count, 2))
    size = generator.uniform(0.2, 0.5, (count, 2))
    return np.round(np.concatenate([corner, corner + size], axis=1), decimals).tolist()


def _detections(
    generator: np.random.Generator, key: tuple[str, int], people: list[list[float]], decimals: int
) -> list[list[object]]:
    """Every box scored for every class (as a model does), some boxes shifted, doubled, degenerate or invented."""
    boxes = _boxes(generator, int(generator.integers(1, 4)), decimals)
    for person in people:
        for _ in range(int(generator.integers(1, 4))):
            boxes.append(np.round(np.array(person) + generator.normal(0, 0.03, 4), decimals).tolist())
        boxes.append(person)
    boxes.append([0.4, 0.2, 0.4, 0.9])  # no width
    rows: list[list[object]] = []
    for box in boxes:
        for label in IDS + OTHER_IDS:
            if box[2] >= box[0] and box[3] >= box[1]:
                rows.append([*key, *box, label, round(float(generator.beta(1, 3)), decimals)])
    return rows


def as_table(rows: list[list[object]], *, scored: bool) -> AvaTable:
    """Return csv-like rows as the table the package reads from a file."""
    full = [row for row in rows if len(row) > 2]
    return AvaTable(
        video=[str(row[0]) for row in full],
        pts_seconds=np.array([row[1] for row in full], dtype=np.float64),
        boxes_norm=np.array([row[2:6] for row in full], dtype=np.float64).reshape(-1, 4),
        label_ids=np.array([row[6] for row in full], dtype=np.int32),
        scores=np.array([row[7] for row in full], dtype=np.float64) if scored else None,
        person_ids=None,
        keyframes={(str(row[0]), int(row[1]) * 1_000_000) for row in rows if len(row) == 2},  # type: ignore[call-overload]
    )
