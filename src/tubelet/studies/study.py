"""Do a study's next unfinished runs, and collect what its arms have reached."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from tubelet.data.info import training_counts
from tubelet.data.manifest import DETECTED_TABLE, read_manifest
from tubelet.models.download import sha256_of
from tubelet.models.model import read_backbone_config
from tubelet.models.saved import MODEL_FILE, read_meta
from tubelet.recipes.miniature import TARGETS_B
from tubelet.recipes.paper_a import paper_a
from tubelet.recipes.paper_b import paper_b
from tubelet.recipes.playground import LOCALISE_SET, manifest_of
from tubelet.recipes.rows_a import find_row_a
from tubelet.recipes.rows_b import find_row_b
from tubelet.records import from_json, read_json, write_json
from tubelet.studies.actions import score_actions
from tubelet.studies.mini_data import make_corpus, measure_spread
from tubelet.studies.plan import ON_DETECTED, Arm, Study
from tubelet.studies.runs import PlannedRun, RunScores, commit, do_runs, hardware, plan_stages, test_split
from tubelet.train.config import RunConfig
from tubelet.train.folder import task_data_hash
from tubelet.types import InputError

StudyScale = Literal["mini", "small"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """What the finished runs of a study have reached: everything its page is made of."""

    study: str
    scale: str
    commit: str
    """Of the code that trained and scored the runs; several where runs are of several."""
    hardware: str
    start: str
    """Where the weights of the first stages come from."""
    seeds: tuple[int, ...]
    """Asked for; an arm may have fewer that are finished."""
    scores: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Seed to arm to quantity to score in [0, 1]."""
    per_class: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """The same of the localisation set's classes."""
    classes: dict[str, int] = field(default_factory=dict)
    """Class of the localisation set to its training boxes."""
    clips_seen: dict[str, int] = field(default_factory=dict)
    """Arm to clips trained on in all its runs."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Arm to wall-clock time of all its runs, of the last seed."""
    failed: dict[str, str] = field(default_factory=dict)
    """``<arm>, seed <n>`` to why there is no result."""
    data: dict[str, str] = field(default_factory=dict)
    """Manifest that was trained on to its hash; empty in results of before it was written down."""
    test_clips: dict[str, int] = field(default_factory=dict)
    """Manifest to the clips of the split that is scored."""
    note: str = ""
    """What a reader must know of these runs beside the page, added by hand."""


@dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where a study's data and runs are."""

    playground: Path
    out: Path
    """Of all studies, so that they share runs."""
    start: Path | None = None
    """Run folder whose weights begin every arm of paper A of the same network but those from scratch; None = each row's
    own pre-training on the posts."""
    scale: StudyScale = "mini"
    num_epochs: float | None = None
    """Passes over the sets of each of paper A's stages; None = the scale's."""
    videos_seen: int | None = None
    """By each of paper B's pre-trainings; None = the scale's."""

    def plan(self, study: Study, seed: int) -> dict[str, tuple[PlannedRun, ...]]:
        """Return the runs of each arm."""
        return {arm.name: plan_stages(self._stages(arm, seed), self.out) for arm in study.arms}

    def _stages(self, arm: Arm, seed: int) -> tuple[RunConfig, ...]:
        data = self.playground / "manifests"
        if arm.recipe == "paper_b":
            corpora = self.out / "data"
            source = find_row_b(arm.row).source
            if source is not None and source not in TARGETS_B:
                make_corpus(source, self.playground, corpora)
            seen = self.videos_seen
            return paper_b(row=arm.row, data=data, corpora=corpora, scale=self.scale, videos_seen=seen, seed=seed)
        stages = paper_a(row=arm.row, data=data, scale=self.scale, num_epochs=self.num_epochs, seed=seed)
        if self.start is None or find_row_a(arm.row).start == "random" or not self._is_start_of(stages[-1]):
            return stages
        start = str(self.start)
        return paper_a(row=arm.row, data=data, scale=self.scale, num_epochs=self.num_epochs, init_from=start, seed=seed)

    def _is_start_of(self, run: RunConfig) -> bool:
        """Whether the given start is of the run's network: Table 8 has other tubelets, large ones another width."""
        assert self.start is not None
        given = read_backbone_config(read_meta(self.start)["backbone"], where=str(self.start))
        apart = {"size", "num_frames", "stochastic_depth"}
        one, other = ({k: v for k, v in asdict(each).items() if k not in apart} for each in (given, run.backbone))
        return type(given) is type(run.backbone) and one == other

    @property
    def beginning(self) -> str:
        """What is said of the weights that paper A's first stages start from."""
        if self.start is None:
            return "as each row has it"
        return (
            f"weights {sha256_of(self.start / MODEL_FILE)[:12]} for arms of that network, the others as each row has it"
        )

    @property
    def length(self) -> str:
        """What is said of the scale where stages are not as long as it has them."""
        passes = "" if self.num_epochs is None else f", {self.num_epochs:g} passes over a stage's sets"
        return passes + ("" if self.videos_seen is None else f", {self.videos_seen:,} videos seen by a pre-training")


def run_study(
    study: Study,
    place: StudyPlace,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    budget_minutes: float | None = None,
    num_parallel: int = 1,
    progress: bool = True,
    note: Callable[[PlannedRun, RunScores], None] = lambda planned, found: None,
) -> StudyResult:
    """Do the next unfinished runs, those of a seed before the next seed's; return what is there then.

    Args:
        study: What is compared.
        place: Where.
        seeds: More may be added later.
        budget_minutes: No run is started after this time; None = until all are finished.
        num_parallel: Runs at the same time.
        progress: Whether runs show a live line.
        note: Called after each run.

    Raises:
        InputError: A score on detected boxes is asked for, and the playground has none.
    """
    _check_detected_boxes(study, place)
    deadline = float("inf") if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    arms = [list(place.plan(study, seed).values()) for seed in seeds]
    do_runs(arms, deadline=deadline, num_parallel=num_parallel, progress=progress, note=note)
    result = collect(study, place, seeds)
    write_json(result_file(study.name, place.out, place.scale), result)
    return result


def _check_detected_boxes(study: Study, place: StudyPlace) -> None:
    manifest = manifest_of(place.playground, LOCALISE_SET)
    if ON_DETECTED in study.quantities and not (manifest / DETECTED_TABLE).exists():
        raise InputError(
            f"{manifest}: has no detected boxes, which {study.name} scores on; find them with tubelet data detect "
            f"{manifest} --split test --out people.csv and tubelet data add-boxes {manifest} people.csv"
        )


def collect(study: Study, place: StudyPlace, seeds: Sequence[int]) -> StudyResult:
    """Return what the finished runs have reached."""
    result = StudyResult(
        study=study.name,
        scale=place.scale + place.length,
        commit="",
        hardware="",
        start=place.beginning,
        seeds=tuple(seeds),
    )
    commits: set[str] = set()
    machines: set[str] = set()
    for seed in seeds:
        plan = place.plan(study, seed)
        for arm, stages in plan.items():
            found = [planned.result() for planned in stages]
            done = [each for each in found if each is not None]
            reasons = [each.reason for each in done if each.reason]
            if not reasons and len(done) < len(found):
                continue
            commits |= {each.commit or "not recorded" for each in done}
            machines |= {each.hardware for each in done if each.hardware}
            if reasons:
                result.failed[f"{arm}, seed {seed}"] = reasons[0]
                continue
            _note_sets(stages, result)
            # A set that an earlier stage was trained on keeps that stage's score, as in the papers' tables.
            result.scores.setdefault(str(seed), {})[arm] = _merged([each.scores for each in done])
            result.per_class.setdefault(str(seed), {})[arm] = _merged([each.per_class for each in done])
            result.clips_seen[arm] = sum(each.clips_seen for each in done)
            result.seconds[arm] = sum(each.seconds for each in done)
        scores = result.scores.get(str(seed), {})
        for pair in study.actions:
            if pair.verbs in scores and pair.nouns in scores:
                scores[pair.name] = score_actions(plan[pair.verbs][-1], plan[pair.nouns][-1])
                result.clips_seen[pair.name] = result.clips_seen[pair.verbs] + result.clips_seen[pair.nouns]
        for name, corpus in study.corpora:
            counted = measure_spread(corpus, place.playground, place.out / "data", seed)
            result.scores.setdefault(str(seed), {})[name] = counted
            commits.add(commit())
            machines.add(hardware())
    if any(classes for arms in result.per_class.values() for classes in arms.values()):
        manifest = read_manifest(manifest_of(place.playground, LOCALISE_SET))
        numbers = training_counts(manifest).tolist()
        result.classes.update(zip(manifest.label_space.names, numbers, strict=True))
    return replace(result, commit="; ".join(sorted(commits)), hardware="; ".join(sorted(machines)))


def _note_sets(stages: Sequence[PlannedRun], result: StudyResult) -> None:
    for task in (task for planned in stages for task in planned.run.tasks):
        name = Path(task.manifest).name
        result.data[name] = task_data_hash(task)[:12]
        result.test_clips[name] = read_manifest(task.manifest).counts[f"clips_{test_split(task)}"]


def _merged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: value for part in parts for name, value in part.items()}


def result_file(study: str, out: Path, scale: StudyScale = "mini") -> Path:
    """Return where a study's result is written."""
    return out / ("results" if scale == "mini" else f"results-{scale}") / f"{study}.json"


def read_result(path: Path) -> StudyResult:
    """Read a study's result."""
    if not path.exists():
        raise InputError(f"{path}: no result; tubelet study run makes it")
    return from_json(StudyResult, read_json(path), where=str(path))


def merge(paths: Sequence[Path]) -> StudyResult:
    """Return results of one study as one: seeds, or arms of a seed, that ran in different places.

    Raises:
        InputError: They are of different studies, scales, starts or data, or two have the same arm of a seed.
    """
    parts = [read_result(path) for path in paths]
    merged = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        for name in ("study", "scale", "start"):
            if getattr(merged, name) != getattr(part, name):
                raise InputError(f"{path}: {name} is {getattr(part, name)!r}, in {paths[0]} {getattr(merged, name)!r}")
        for name in sorted(merged.data.keys() & part.data.keys()):
            if merged.data[name] != part.data[name]:
                raise InputError(f"{path}: was trained on another {name} than {paths[0]}: the manifests differ")
        if merged.classes and part.classes and merged.classes != part.classes:
            raise InputError(f"{path}: was trained on other boxes than {paths[0]}: the counts of classes differ")
        for seed, arms in part.scores.items():
            if both := sorted(arms.keys() & merged.scores.get(seed, {}).keys()):
                raise InputError(f"{path}: {both[0]}, seed {seed}, is in another of the files too")
        merged = replace(
            merged,
            commit=_joined(merged.commit, part.commit),
            hardware=_joined(merged.hardware, part.hardware),
            seeds=tuple(sorted({*merged.seeds, *part.seeds})),
            scores=_by_seed(merged.scores, part.scores),
            per_class=_by_seed(merged.per_class, part.per_class),
            classes=merged.classes or part.classes,
            clips_seen=merged.clips_seen | part.clips_seen,
            seconds=merged.seconds | part.seconds,
            failed=merged.failed | part.failed,
            data=merged.data | part.data,
            test_clips=merged.test_clips | part.test_clips,
            note=" ".join(filter(None, dict.fromkeys([merged.note, part.note]))),
        )
    return merged


def _joined(one: str, other: str) -> str:
    return "; ".join(dict.fromkeys([*one.split("; "), *other.split("; ")]))


def _by_seed(
    one: Mapping[str, Mapping[str, dict[str, float]]], other: Mapping[str, Mapping[str, dict[str, float]]]
) -> dict[str, dict[str, dict[str, float]]]:
    return {seed: {**one.get(seed, {}), **other.get(seed, {})} for seed in sorted({*one, *other}, key=int)}
