from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tubelet.data.ava_csv import read_ava_csv, write_ava_csv
from tubelet.data.ava_table import AvaTable
from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.detected_boxes import add_detected_boxes
from tubelet.evals.ava import frame_map
from tubelet.evals.run import chance_map, detections_table, evaluate_task, ground_truth_table
from tubelet.evals.views import Views
from tubelet.labels import LabelSpace
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.vivit import ViViTConfig
from tubelet.tasks import Task, TaskConfig
from tubelet.train.data import task_dataset
from tubelet.types import ClipBatch, InputError, Preprocess

PREPROCESS = Preprocess(size=32, num_frames=4, frame_stride=2, fps=12.5)
CPU = torch.device("cpu")


@dataclass
class Told:
    """A task whose scores are a function of the targets; it notes what it was shown."""

    manifest: Manifest
    name: str = "told"
    sharpness: float = 0.8
    shown: list[str] = field(default_factory=list)
    was_training: list[bool] = field(default_factory=list)

    @property
    def label_space(self) -> LabelSpace:
        return self.manifest.label_space

    def scores(self, model: nn.Module, batch: ClipBatch) -> Tensor:
        self.shown += batch.sample_ids
        self.was_training.append(model.training)
        return 0.1 + self.sharpness * batch.targets


@pytest.fixture
def dummy() -> nn.Module:
    return nn.Linear(1, 1)


def dataset(folder: Path, split: str = "val", **options: object) -> tuple[Manifest, ClipDataset]:
    manifest = read_manifest(folder)
    return manifest, ClipDataset(manifest, split, preprocess=PREPROCESS, augment=None, **options)


def test_classification_scores_each_clip_once(squares: Path, dummy: nn.Module) -> None:
    manifest, clips = dataset(squares / "manifests/kinetics")
    task = Told(manifest)
    result = evaluate_task(dummy, task, clips, batch_size=4, device=CPU)
    assert result.metrics == {"told/val/top1": 1.0}  # three classes: top5 would say nothing
    assert sorted(task.shown) == sorted(clips.sample_id(i) for i in range(len(clips)))
    assert task.was_training == [False, False]  # batches of 4 and 2
    assert dummy.training
    inverted = evaluate_task(dummy, Told(manifest, sharpness=-0.05), clips, batch_size=4, device=CPU)
    assert inverted.metrics == {"told/val/top1": 0.0}


def test_views_are_averaged(squares: Path, dummy: nn.Module) -> None:
    manifest, clips = dataset(squares / "manifests/kinetics")

    class Drifting(Told):
        def scores(self, model: nn.Module, batch: ClipBatch) -> Tensor:
            scores = super().scores(model, batch)
            return scores if len(self.shown) <= len(clips) else torch.full_like(scores, 0.3)

    result = evaluate_task(dummy, Drifting(manifest), clips, batch_size=6, device=CPU, views=Views(num_views=2))
    np.testing.assert_allclose(result.scores, (0.1 + 0.8 * result.targets + 0.3) / 2, rtol=1e-6)
    assert str(result.views) == "2 x centre"


def test_squares_of_a_frame_are_averaged_and_said(squares: Path, dummy: nn.Module) -> None:
    manifest = read_manifest(squares / "manifests/kinetics")
    cut = replace(PREPROCESS, exact_hw=(36, 48))
    data = ClipDataset(manifest, "val", preprocess=cut, augment=None)
    task = Told(manifest)
    result = evaluate_task(dummy, task, data, batch_size=6, device=CPU, views=Views(num_views=2, crops="three"))
    assert len(task.shown) == 6 * len(data)  # two clips, three squares of each
    assert (result.record()["views"]["num_views"], result.record()["views"]["crops"]) == (2, "three")
    whole = Told(manifest)
    evaluate_task(dummy, whole, data, batch_size=6, num_workers=1, device=CPU, views=Views(crops="whole"))
    assert len(whole.shown) == len(data)
    for workers in (0, 1):  # the frames of a view have its size, whoever reads them
        (batch, *_) = evaluation_batches(data, "t", 2, workers, crops="whole")
        assert batch.video.shape == (2, 3, 4, 36, 48)
    letterboxed = ClipDataset(manifest, "val", preprocess=PREPROCESS, augment=None)
    with pytest.raises(InputError, match="crops 'three': letterboxed frames are shown whole"):
        evaluate_task(dummy, task, letterboxed, batch_size=6, device=CPU, views=Views(crops="three"))


def test_boxes_outside_the_square_are_scored_and_counted(squares: Path, dummy: nn.Module, tmp_path: Path) -> None:
    given = read_manifest(squares / "manifests/localise")
    boxes = [row | ({"x1": 0.0, "x2": 0.1} if i % 2 else {}) for i, row in enumerate(given.boxes.to_pylist())]
    manifest = write_manifest(
        tmp_path,
        name="edge",
        kind="localise",
        multi_label=True,
        label_space=given.label_space,
        media_root=given.media_root,
        licence="",
        source="",
        clips=given.clips,
        boxes=boxes,
    )
    data = ClipDataset(manifest, "val", preprocess=replace(PREPROCESS, exact_hw=(32, 48)), augment=None)
    result = evaluate_task(dummy, Told(manifest), data, batch_size=6, device=CPU)
    assert len(result.scores) == 12
    assert result.record()["num_boxes_outside"] == result.num_boxes_outside == 6  # the square begins at 1/6
    assert (
        evaluate_task(
            dummy, Told(manifest), data, batch_size=6, device=CPU, views=Views(crops="whole")
        ).num_boxes_outside
        == 0
    )
    with pytest.raises(InputError, match="crops 'three': most boxes lie outside some of them"):
        evaluate_task(dummy, Told(manifest), data, batch_size=6, device=CPU, views=Views(crops="three"))


def test_localisation_is_scored_by_the_official_protocol(squares: Path, dummy: nn.Module, tmp_path: Path) -> None:
    manifest, keyframes = dataset(squares / "manifests/localise")
    result = evaluate_task(dummy, Told(manifest), keyframes, batch_size=4, device=CPU)
    assert result.metrics["told/val/mAP"] == 1.0
    assert set(result.metrics) >= {"told/val/mAP", "told/val/mAP_head", "told/val/mAP_mid", "told/val/mAP_tail"}
    assert result.boxes == "annotated"
    assert result.detections is not None
    assert result.ground_truth is not None
    assert len(result.detections) == len(result.scores) * len(manifest.label_space)
    record = result.record()
    assert (record["boxes"], record["ava"]["protocol"], record["num_samples"]) == (
        "annotated",
        "official",
        len(keyframes),
    )

    write_ava_csv(tmp_path / "found.csv", result.detections, box_decimals=6, score_decimals=6)
    write_ava_csv(tmp_path / "truth.csv", result.ground_truth, box_decimals=6)
    again = frame_map(
        read_ava_csv(tmp_path / "truth.csv"),
        read_ava_csv(tmp_path / "found.csv", detections=True),
        manifest.label_space,
    )
    assert again.mean_ap == 1.0
    assert [c.num_ground_truth for c in again.per_class] == [c.num_ground_truth for c in result.ava.per_class]


def test_a_model_is_scored_through_a_task(squares: Path) -> None:
    folder = squares / "manifests/localise"
    task = Task(
        TaskConfig(name="boxes", manifest=str(folder), kind="localise", loss="sigmoid"),
        read_manifest(folder),
        preprocess=PREPROCESS,
    )
    backbone = ViViTConfig(size=32, num_frames=4, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)
    torch.manual_seed(0)
    model = VideoModel(backbone, {"boxes": HeadConfig(kind="localise", num_classes=len(task.label_space))})
    result = evaluate_task(model, task, task_dataset(task, "test", training=False), batch_size=3)
    assert 0 < result.metrics["boxes/test/mAP"] <= 1
    assert ((result.scores > 0) & (result.scores < 1)).all()
    broken = model.state_dict()
    broken["heads.boxes.linear.bias"] = torch.full_like(broken["heads.boxes.linear.bias"], float("nan"))
    model.load_state_dict(broken)
    with pytest.raises(InputError, match=r"task boxes: the model's scores of sample .* are not finite"):
        evaluate_task(model, task, task_dataset(task, "test", training=False), batch_size=3)


def test_a_set_is_scored_on_a_detectors_boxes(squares: Path, dummy: nn.Module, tmp_path: Path) -> None:
    truth = ground_truth_table(read_manifest(squares / "manifests/localise"), "test")
    rows = dict.fromkeys(zip(truth.video.tolist(), truth.pts_seconds.tolist(), map(tuple, truth.boxes_norm.tolist())))
    lines = [f"{video},{pts},{','.join(f'{x:.6f}' for x in box)},,0.9\n" for video, pts, box in rows]
    (tmp_path / "found.csv").write_text("".join(lines))
    folder = add_detected_boxes(
        squares / "manifests/localise", [tmp_path / "found.csv"], out=tmp_path / "with_boxes"
    ).root
    manifest, boxed = dataset(folder, "test", boxes="detected", box_score_threshold=0.8)
    result = evaluate_task(dummy, Told(manifest), boxed, batch_size=3, device=CPU)
    # Every detected box lies on an annotated one, takes its labels, and is scored by them.
    assert (result.metrics["told/test/mAP"], result.num_skipped_keyframes, boxed.num_unlabelled_boxes) == (1.0, 0, 0)
    keyframe = next(iter(rows))[:2]
    fewer = [line for line in lines if not line.startswith(f"{keyframe[0]},{keyframe[1]},")]
    (tmp_path / "found.csv").write_text("".join(fewer))
    add_detected_boxes(folder, [tmp_path / "found.csv"])
    manifest, boxed = dataset(folder, "test", boxes="detected", box_score_threshold=0.8)
    missed = evaluate_task(dummy, Told(manifest), boxed, batch_size=3, device=CPU)
    assert missed.num_skipped_keyframes == 1
    assert missed.metrics["told/test/mAP"] < 1  # its people count as missed


SPACE = LabelSpace(name="two", names=("stand", "wave"), ids=(12, 69))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two clips in val; in a.mp4 one annotated person waves, one has no label, and one box is a detector's."""

    def box(clip: str, pts: float, x1: float, labels: list[int], origin: str = "annotated") -> dict[str, object]:
        place = {"x1": x1, "y1": 0.1, "x2": x1 + 0.2, "y2": 0.9}
        return {"clip_id": clip, "pts_seconds": pts, **place, "labels": labels, "origin": origin, "score": 0.9}

    return write_manifest(
        tmp_path / "set",
        name="set",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=tmp_path,
        licence="none",
        source="test",
        clips=[
            {"clip_id": c, "video": f"{c}.mp4", "start_seconds": 0.0, "end_seconds": 9.0, "split": s, "labels": []}
            for c, s in (("one/a", "val"), ("one/b", "val"), ("two/b", "val"), ("one/t", "train"))
        ],
        boxes=[
            box("one/a", 1.0, 0.1, [0, 1]),
            box("one/a", 1.0, 0.5, []),
            box("one/a", 1.0, 0.7, [], "detected"),
            box("one/b", 1 / 3, 0.1, []),
            box("two/b", 2.0, 0.1, [1]),
            box("one/t", 2.0, 0.1, [0]),
        ],
    )


def test_ground_truth_is_every_annotated_box_of_the_split(manifest: Manifest) -> None:
    table = ground_truth_table(manifest, "val")
    rows = list(zip(table.video.tolist(), table.pts_seconds.tolist(), table.label_ids.tolist(), strict=True))
    # A file's name names the video, unless two folders have it; a person without a label keeps the keyframe (-1).
    assert rows == [
        ("a", 1.0, 12),
        ("a", 1.0, 69),
        ("a", 1.0, -1),
        ("one/b.mp4", 0.333333, -1),
        ("two/b.mp4", 2.0, 69),
    ]
    assert table.boxes_norm[0].tolist() == pytest.approx([0.1, 0.1, 0.3, 0.9])


def test_false_positives_count_where_somebody_has_no_label(manifest: Manifest) -> None:
    ids = ["one/b.mp4,0.333333", "two/b.mp4,2.000000", "one/a.mp4,1.000000"]
    boxes = np.array([[0.1, 0.1, 0.3, 0.9]] * 3)
    scores = np.array([[0.1, 0.9], [0.1, 0.8], [0.9, 0.7]])
    found = detections_table(ids, boxes, scores, manifest, "val")
    result = frame_map(ground_truth_table(manifest, "val"), found, SPACE)
    # wave: a miss at one/b first, then two hits: precision 2/3 at both recalls (the envelope).
    assert [c.ap for c in result.per_class] == pytest.approx([1.0, 2 / 3])


def test_false_positives_count_where_nobody_is_annotated(manifest: Manifest, tmp_path: Path) -> None:
    ids = ["one/b.mp4,0.333333", "two/b.mp4,2.000000", "two/b.mp4,1.200000"]
    found = detections_table(
        ids, np.array([[0.1, 0.1, 0.3, 0.9]] * 3), np.array([[0.1, 0.2], [0.1, 0.8], [0.1, 0.9]]), manifest, "val"
    )
    assert frame_map(ground_truth_table(manifest, "val"), found, SPACE).per_class[1].ap == pytest.approx(1 / 2)
    rows = manifest.clips.to_pylist()
    clip = next(row["clip_id"] for row in rows if row["video"] == "two/b.mp4" and row["split"] == "val")
    listed = write_manifest(
        tmp_path / "listed",
        name="listed",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=tmp_path,
        licence="",
        source="",
        clips=manifest.clips,
        boxes=manifest.boxes,
        keyframes=[{"clip_id": clip, "pts_seconds": 1.2}],
    )
    truth = ground_truth_table(listed, "val")
    assert truth.keyframes == {("two/b", 1_200_000)} or truth.keyframes == {("two/b.mp4", 1_200_000)}
    # The best detection of "wave" now is a false positive: precision 1/2 at the only recall that is reached, of 1/2.
    assert frame_map(truth, found, SPACE).per_class[1].ap == pytest.approx(1 / 4)


def test_a_set_without_boxes_cannot_be_localised_on(squares: Path) -> None:
    with pytest.raises(InputError, match="has no boxes"):
        ground_truth_table(read_manifest(squares / "manifests/kinetics"), "val")


def test_chance_is_the_share_of_positives() -> None:
    # 400 people at as many instants, a tenth of them of class 12, all of class 69.
    num = 400
    video, pts = np.array(["v"] * num, dtype=object), np.arange(num, dtype=np.float64)
    boxes = np.tile([0.1, 0.1, 0.5, 0.5], (num, 1))
    rare = np.arange(0, num, 10)
    truth = AvaTable(
        video=np.concatenate([video, video[rare]]),
        pts_seconds=np.concatenate([pts, pts[rare]]),
        boxes_norm=np.concatenate([boxes, boxes[rare]]),
        label_ids=np.concatenate([np.full(num, 69), np.full(len(rare), 12)]).astype(np.int32),
    )
    twice = AvaTable(
        video=np.repeat(video, 2),
        pts_seconds=np.repeat(pts, 2),
        boxes_norm=np.repeat(boxes, 2, axis=0),
        label_ids=np.tile([12, 69], num).astype(np.int32),
        scores=np.full(2 * num, 0.5),
    )
    chance = chance_map(truth, twice, SPACE, seeds=range(8))
    assert chance.mean_ap == pytest.approx((1.0 + 0.1) / 2, abs=0.03)
    assert len(set(chance.values)) == 8
    assert chance.low <= chance.mean_ap <= chance.high
    assert chance_map(truth, twice, SPACE, seeds=[3]).values == chance.values[3:4]
    with pytest.raises(InputError, match="at least one seed"):
        chance_map(truth, twice, SPACE, seeds=[])
