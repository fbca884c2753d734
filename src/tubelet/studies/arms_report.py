"""The three arms' results and two localised videos as the plain values of a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tubelet.data.info import training_counts
from tubelet.data.manifest import Manifest
from tubelet.evals.page import Still
from tubelet.inference.detections_file import read_detections
from tubelet.inference.outputs import ResultFiles
from tubelet.inference.render import LabelStyle, stills
from tubelet.labels import LabelSpace
from tubelet.studies.arms import ArmResult
from tubelet.studies.chance import Chance
from tubelet.studies.charts import Chart, Curve
from tubelet.studies.cofinetuning import ArmsOutcome
from tubelet.studies.report import ClassFacts, ReportedArm
from tubelet.train.evaluate import run_config
from tubelet.train.folder import METRICS_FILE
from tubelet.train.log import read_rows
from tubelet.types import ActionDetections

ARM_TEXT: Mapping[str, tuple[str, str]] = {
    "cofinetune": ("co-finetuned", "all three sets at once, weighted by size (paper A)"),
    "transfer": ("transferred", "classification sets one after the other, then the localisation set"),
    "localise_only": ("localisation only", "the localisation set alone, for as many samples"),
}
POINTS_IN_A_CURVE = 60


def reported_arms(outcome: ArmsOutcome) -> tuple[ReportedArm, ...]:
    """Return the arms in the order they are compared, the method under test first."""
    return tuple(_reported(outcome.arms[name]) for name in ARM_TEXT)


def _reported(result: ArmResult) -> ReportedArm:
    name, description = ARM_TEXT[result.arm]
    own = _top1(result.classify)
    at_end = _top1(result.classify_at_end)
    return ReportedArm(
        name=name,
        description=f"{description}; {result.samples_seen:,} clips seen",
        mean_ap=result.mean_ap,
        by_bucket=result.buckets,
        by_group=result.groups,
        per_class={c.name: c.ap for c in result.per_class},
        top1=at_end or own,
        top1_before=own if at_end else {},
    )


def _top1(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return task to accuracy from metrics named ``<task>/<split>/top1``."""
    return {key.split("/")[0]: value for key, value in metrics.items() if key.endswith("/top1")}


def chance_arm(chance: Chance) -> ReportedArm:
    """Return what guessing reaches, as a row of the same tables."""
    return ReportedArm(
        name="chance",
        description="uniform random scores on the same boxes; a uniform guess of the class",
        mean_ap=chance.mean_ap,
        by_bucket=chance.parts,
        by_group=chance.parts,
        per_class=chance.per_class,
        top1=_top1(chance.accuracy),
    )


def class_facts(manifest: Manifest, result: ArmResult) -> tuple[ClassFacts, ...]:
    """Return the classes with how many training and test boxes each has."""
    training = training_counts(manifest)
    return tuple(
        ClassFacts(
            name=c.name,
            bucket=c.bucket or "",
            group=c.group or "",
            num_training=int(training[k]),
            num_ground_truth=c.num_ground_truth,
        )
        for k, c in enumerate(result.per_class)
    )


def loss_chart(title: str, folders: Mapping[str, Sequence[Path]], task: str) -> Chart:
    """Return a task's training loss against the clips that a run has seen, for several runs.

    Args:
        title: Of the chart.
        folders: Name of the line to the run folders that follow one another in it.
        task: Whose loss.
    """
    curves = []
    for name, stages in folders.items():
        points: list[tuple[float, float]] = []
        seen = 0.0
        for folder in stages:
            steps = [row for row in read_rows(folder / METRICS_FILE) if "loss" in row]
            batch = run_config(folder).batch_size
            points += [(seen + row["step"] * batch, row["loss"]) for row in steps if row["task"] == task]
            seen += (steps[-1]["step"] if steps else 0) * batch
        if points:
            curves.append(Curve(name=name, points=_thinned(points)))
    return Chart(title=title, x_label="clips seen", y_label="loss", curves=tuple(curves))


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return means of neighbouring points, so that noise does not hide the course."""
    chunks = np.array_split(np.array(points), min(POINTS_IN_A_CURVE, len(points)))
    return tuple((float(chunk[:, 0].mean()), float(chunk[:, 1].mean())) for chunk in chunks)


def video_stills(found: ResultFiles, label_space: LabelSpace, *, threshold: float, count: int = 3) -> tuple[Still, ...]:
    """Return pictures of the moments with most people, spread over the video."""
    chosen = busiest(read_detections(found.json).moments, count)
    style = LabelStyle(label_space=label_space, threshold=threshold)
    images = stills(found.video, chosen, style=style, max_side=720)
    return tuple(
        Still(
            image=image,
            caption=f"{moment.pts_seconds:.1f} s",
            alt=f"{len(moment.boxes_norm)} people in boxes with their actions at {moment.pts_seconds:.1f} seconds",
        )
        for image, moment in zip(images, chosen, strict=True)
    )


def busiest(moments: Sequence[ActionDetections], count: int) -> list[ActionDetections]:
    """Return the moment with most people, surely detected, of each of ``count`` equal parts of the video, in order."""
    parts = [part for part in np.array_split(np.arange(len(moments)), count) if len(part)]
    chosen = [moments[max(part, key=lambda i: float(np.square(moments[i].box_scores).sum()))] for part in parts]
    return [moment for moment in chosen if len(moment.boxes_norm)]
