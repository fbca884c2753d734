"""Paper A's Table 2 from the longer study (``tubelet study cofinetuning``): its arms under the table's names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tubelet.data.info import training_counts
from tubelet.data.manifest import read_manifest
from tubelet.recipes.playground import LOCALISE_SET, manifest_of, scale_of
from tubelet.records import from_json, read_json, write_json
from tubelet.studies.arms import ArmResult
from tubelet.studies.cofinetuning import PLAN_FILE, CofinetuningPlan
from tubelet.studies.runs import commit, hardware
from tubelet.studies.study import StudyResult, result_file

TABLE = "A-table-2"
ARMS_OF_TABLE = {"cofinetune": "MiT + K400 + AVA", "transfer": "K400→MiT→AVA"}
UPSTREAM = "K400→MiT"
"""The transfer's second stage: moments is scored where it was trained, not after the last set."""


def write_table_2(results: Mapping[str, Sequence[ArmResult]], out: Path) -> Path:
    """Write what the study's arms have reached as a result of the table, for ``tubelet study report``.

    Args:
        results: Arm of the study to its seeds.
        out: The study's folder; the result lies in ``results`` below.
    """
    plan = from_json(CofinetuningPlan, read_json(out / PLAN_FILE), where=str(out / PLAN_FILE))
    manifest = read_manifest(manifest_of(Path(plan.playground), LOCALISE_SET))
    scale, rates = scale_of(plan.size), len(plan.learning_rates)
    arms = {name: results.get(arm, ()) for arm, name in ARMS_OF_TABLE.items()}
    seeds = sorted({r.seed for each in arms.values() for r in each})
    table = StudyResult(
        study=TABLE,
        scale=f"{plan.size}: `tubelet study cofinetuning`, {scale.num_epochs:g} passes, "
        f"each arm's rate the best of {rates} on the validation split",
        commit=commit(),
        hardware=hardware(),
        start=f"one for all, {scale.pretrain_epochs:g} passes over the posts",
        seeds=tuple(seeds),
        scores={str(seed): {} for seed in seeds},
        per_class={str(seed): {} for seed in seeds},
        classes=dict(zip(manifest.label_space.names, training_counts(manifest).tolist(), strict=True)),
        clips_seen={name: each[-1].samples_seen for name, each in arms.items() if each},
        seconds={name: each[-1].seconds for name, each in arms.items() if each},
    )
    for name, each in arms.items():
        for result in each:
            scores, moments = _scores(result)
            table.scores[str(result.seed)] |= {name: scores} | ({UPSTREAM: moments} if result.arm == "transfer" else {})
            table.per_class[str(result.seed)][name] = {c.name: c.ap for c in result.per_class if c.ap is not None}
    path = result_file(TABLE, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, table)
    return path


def _scores(result: ArmResult) -> tuple[dict[str, float], dict[str, float]]:
    """Return the scores of an arm by quantity, and those of the set that a transfer saw before the last."""
    named = {"mAP": result.mean_ap, **result.buckets, **result.groups}
    localised = {f"localise {name}": value for name, value in named.items() if value is not None}
    classified = {}
    for metric, value in result.classify.items():  # kinetics/test/top1
        name, _, kind = metric.split("/")
        classified[f"{name} {kind}"] = value
    if result.arm != "transfer":
        return localised | classified, {}
    return localised, {name: value for name, value in classified.items() if name.startswith("moments")}
