"""What every row of the papers' tables is and takes: its command, hardware, estimated time and the paper's number.

No row has been trained at full scale by us. Times are multiply-adds alone, at ``USED_SHARE`` of an H100: reading videos
and scoring come on top. ``--dry-run`` estimates a row for the machine and the manifests at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig
from tubelet.recipes.ava import paper_vivit
from tubelet.recipes.clips import NUM_GPUS, NUM_PRETRAIN_GPUS, clip_backbone
from tubelet.recipes.paper_a import stage_epochs
from tubelet.recipes.paper_b import VIDEOS_SEEN
from tubelet.recipes.rows_a import AVA, AVA_KINETICS, K400, K700, MIT, ROWS_A, SSV2, RowA
from tubelet.recipes.rows_b import EPIC, ROWS_B, SOMETHING, RowB

ROW_RECIPES = ("paper_a", "paper_b")

H100_FLOPS = 989e12
"""Per second, bfloat16, dense (NVIDIA's data sheet of the H100 SXM)."""
USED_SHARE = 0.4
"""Of it, which large networks reach in training; an assumption, not a measurement."""
TRAIN_CLIPS: Mapping[str, int] = {
    K400: 240_436,
    K700: 542_357,
    MIT: 802_264,
    SSV2: 168_913,
    AVA: 235 * 897,
    AVA_KINETICS: 235 * 897 + 141_000,
    SOMETHING: 86_017,
    **dict.fromkeys(EPIC.values(), 23_191),
}
"""Training clips of a set of which nothing is missing, as ``docs/datasets.md`` has them; of AVA keyframes, one for each
second from 902 to 1798 of every film, though not all have a box."""
FIGURES = {"f2": "Fig. 2", "8": "Fig. 1", "10": "Fig. 4a", "11": "Fig. 4b", "14": "Fig. 1"}
QUOTED = {
    **{f"15-{depth}": ("Table 2", number) for depth, number in ((18, 20.8), (34, 22.4), (101, 24.9), (152, 23.7))},
    "14-65m": ("4.1.1", 16.1),
    "14-kinetics": ("4.1.1", 12.3),
}
"""Numbers of a model of verbs and one of nouns together: EPIC-Kitchens mAP, of actions as we infer."""
"""A table of paper B to where the results of its rows stand that have no number of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCost:
    """One line of the table of rows."""

    name: str
    what: str
    """The sets of each stage, and the network."""
    paper: str
    """Set and number in per cent, or where the paper draws it."""
    hardware: str
    """The paper's, of each stage; how many TPUs paper A does not say."""
    clips: float
    """Trained on, over all stages."""
    gpu_hours: float
    """Of an H100, estimated."""
    command: str


def row_costs(recipe: str) -> tuple[RowCost, ...]:
    """Return every row of one of ``ROW_RECIPES`` in the order of its paper's tables."""
    if recipe == "paper_a":
        return tuple(_row_a(row) for row in ROWS_A.values())
    return tuple(_row_b(row) for row in ROWS_B.values())


def clips_text(clips: float) -> str:
    """Return a number of clips in millions."""
    return f"{clips / 1e6:.3g} M"


def hours_text(hours: float) -> str:
    """Return hours with two digits, for no estimate here is better than that."""
    return f"{hours:.2g}" if hours < 100 else f"{round(hours, -1):.0f}"


def _row_a(row: RowA) -> RowCost:
    clips = sum(stage_epochs(sets) * sum(TRAIN_CLIPS[name] for name in sets) for sets in row.stages)
    stages = ", then ".join(" + ".join(sets) for sets in row.stages)
    mixture = "" if row.mixture == "weighted" else f", {row.mixture}"
    start = " --init-from WEIGHTS" if row.start == "wts" else ""
    return RowCost(
        name=row.name,
        what=f"{stages}; ViViT-{row.vivit.title()} {row.size}p from {row.start}{mixture}",
        paper=", ".join(f"{name} {number}" for name, number in row.paper.items()) or "not in it",
        hardware="TPUs",
        clips=clips,
        gpu_hours=_gpu_hours(paper_vivit(row.vivit, row.size), clips, frozen=False),
        command=_command("paper_a", row.name) + start,
    )


def _row_b(row: RowB) -> RowCost:
    finetuned = row.schedule.num_epochs * TRAIN_CLIPS[row.target]
    hours = _gpu_hours(clip_backbone(row.model, row.num_frames), finetuned, frozen=row.fc_only)
    stages, hardware, clips = [row.target], f"{NUM_GPUS} GPUs", finetuned
    if row.source is not None:
        frames = row.num_frames if row.source_model is None else 1
        hours += _gpu_hours(clip_backbone(row.source_model or row.model, frames), VIDEOS_SEEN, frozen=False)
        stages, hardware = [row.source, *stages], f"{NUM_PRETRAIN_GPUS}, then {hardware}"
        clips += VIDEOS_SEEN
    layers = ", last layer alone" if row.fc_only else ""
    paper = FIGURES.get(row.name.partition("-")[0], "") if row.paper is None else f"{row.target} {row.paper}"
    if quoted := QUOTED.get(row.name.rpartition("-")[0]):
        paper = f"{quoted[0]}: {quoted[1]} mAP (actions, inferred)"
    return RowCost(
        name=row.name,
        what=f"{', then '.join(stages)}; {row.model}, {row.num_frames} frames{layers}",
        paper=paper,
        hardware=hardware,
        clips=clips,
        gpu_hours=hours,
        command=_command("paper_b", row.name),
    )


def _command(recipe: str, row: str) -> str:
    return f"tubelet train {recipe} --row {row} --data manifests --out out/{row}"


def _gpu_hours(backbone: BackboneConfig, clips: float, *, frozen: bool) -> float:
    """Return the hours of forward, and twice as much backward where the backbone learns."""
    flops = 2 * _macs(backbone) * (1 if frozen else 3)
    return clips * flops / (USED_SHARE * H100_FLOPS) / 3600


@cache
def _macs(backbone: BackboneConfig) -> float:
    return 1e9 * measure_cost(backbone).forward_gmacs
