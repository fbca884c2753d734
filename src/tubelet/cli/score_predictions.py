"""Commands that score what ``tubelet evaluate --predictions`` stored; no model is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from tubelet.cli.places import check_file
from tubelet.types import FrameProtocol, InputError

if TYPE_CHECKING:
    import numpy as np

    from tubelet.evals.predictions import Predictions
    from tubelet.labels import LabelSpace


def score(
    predictions: Positional[Path],
    *,
    protocol: FrameProtocol = "official",
    iou: float = 0.5,
    tubes: bool = False,
    confusions: int = 10,
    json: Path | None = None,
) -> None:
    """Score what ``tubelet evaluate --predictions`` stored: boxes by any protocol, clips per class with confusions.

    Args:
        predictions: Folder of one task.
        protocol: For boxes: whose rules.
        iou: For boxes: smallest overlap of a true positive.
        tubes: For boxes on every frame: also video mAP of the detections linked to tubes, by MultiSports' rules.
        confusions: For clips of one class each: so many pairs that are taken for each other most often.
        json: Write every number here, at full precision.
    """
    from tubelet.evals.predictions import read_predictions
    from tubelet.evals.views import Views
    from tubelet.records import write_json

    check_file("--json", json)
    stored = read_predictions(predictions)
    views = stored.origin["record"]["views"]
    shown = str(Views(**views | {"scales": tuple(views["scales"])}))
    if stored.kind == "localise":
        data = _boxes(stored, protocol, iou, tubes=tubes)
    else:
        data = _clips(stored, confusions)
    data |= {"task": stored.task, "split": stored.split, "origin": dict(stored.origin)}
    print(f"  views {shown}, weights {stored.origin['weights_sha256'][:12]}", end="")
    print(f", data {stored.origin['data']['sha256'][:12]} ({stored.origin['data']['name']} {stored.split})")
    if json is not None:
        write_json(json, data)


def _boxes(stored: "Predictions", protocol: str, iou: float, *, tubes: bool) -> dict[str, Any]:
    from tubelet.evals.ava import frame_map
    from tubelet.evals.breakdown import by_bucket, by_group
    from tubelet.evals.parts import kinetics_and_ava, part_maps
    from tubelet.evals.tubes import annotated_tubes, frame_numbers, link_tubes, video_map

    truth, found = stored.ground_truth, stored.detections
    assert truth is not None
    assert found is not None
    result = frame_map(truth, found, stored.label_space, iou=iou, protocol=protocol)
    boxes = stored.origin["record"]["boxes"]
    data = result.to_json() | {"boxes": boxes}
    print(f"{stored.task}: frame mAP@{iou:g} {100 * result.mean_ap:.2f} (protocol {protocol}, {boxes} person boxes)")
    data["groups"] = by_bucket(result, stored.label_space) | by_group(result, stored.label_space)
    if data["groups"]:
        shown = (f"{name} {'-' if mean is None else f'{100 * mean:.2f}'}" for name, mean in data["groups"].items())
        print("  " + ", ".join(shown))
    if parts := kinetics_and_ava(truth):
        scored = part_maps(parts, found, stored.label_space, iou=iou, protocol=protocol)
        data["parts"] = {name: part.to_json() for name, part in scored.items()}
        print("\n".join(f"  {name}: {100 * part.mean_ap:.2f}" for name, part in scored.items()))
    if tubes:
        frames = frame_numbers((truth, found))
        videos = video_map(annotated_tubes(truth, frames[0]), link_tubes(found, frames[1]), stored.label_space)
        data["video"] = videos.to_json()
        shown_maps = [f"  video mAP@{at} {100 * mean:.2f}" for at, mean in videos.mean_ap.items()]
        print("\n".join(f"{line} ({videos.num_tubes} tubes)" for line in shown_maps))
    return data


def _clips(stored: "Predictions", num_confusions: int) -> dict[str, Any]:
    from tubelet.evals.classify import accuracy_per_class, confusion_pairs, mean_average_precision
    from tubelet.evals.run import classification_metrics

    scores, targets, space = stored.scores, stored.targets, stored.label_space
    metrics = classification_metrics(scores, targets, multi_label=stored.multi_label, prefix=stored.task)
    print("\n".join(f"{name} {100 * value:.2f}" for name, value in metrics.items()))
    if stored.multi_label:
        values: Sequence[float | None] = mean_average_precision(scores, targets).per_class
        data: dict[str, Any] = {"metrics": metrics, "per_class_ap": dict(zip(space.names, values, strict=True))}
        return data
    mean = mean_average_precision(scores, targets)
    metrics[f"{stored.task}/mAP"] = mean.mean_ap  # paper B's ablations on EPIC-Kitchens
    print(f"{stored.task}/mAP {100 * mean.mean_ap:.2f}")
    pairs = confusion_pairs(scores, targets, space, num_pairs=num_confusions)
    for pair in pairs:
        print(f"  {pair.true} taken for {pair.predicted}: {pair.count} ({100 * pair.share:.1f} % of its samples)")
    return {
        "metrics": metrics,
        "per_class_accuracy": dict(zip(space.names, accuracy_per_class(scores, targets), strict=True)),
        "per_class_ap": dict(zip(space.names, mean.per_class, strict=True)),
        "confusions": [{"true": p.true, "predicted": p.predicted, "count": p.count, "share": p.share} for p in pairs],
    }


def epic_eval(
    *,
    verbs: Path,
    nouns: Path,
    train_verbs: Path | None = None,
    train_nouns: Path | None = None,
    many_shot_verbs: Path | None = None,
    many_shot_nouns: Path | None = None,
    tail_verbs: Path | None = None,
    tail_nouns: Path | None = None,
    json: Path | None = None,
) -> None:
    """Score EPIC-Kitchens from stored predictions of verbs and of nouns; an action is a verb times a noun.

    Args:
        verbs: Folder of the verb task, of tubelet evaluate --predictions.
        nouns: Folder of the noun task, of the same samples.
        train_verbs: Manifest whose training split tells how often verb and noun come together: a prior on actions.
        train_nouns: The same for nouns.
        many_shot_verbs: EPIC_many_shot_verbs.csv: mean precision and recall over these classes.
        many_shot_nouns: EPIC_many_shot_nouns.csv.
        tail_verbs: EPIC_100_tail_verbs.csv: accuracy on samples of these classes; an action's if either is one.
        tail_nouns: EPIC_100_tail_nouns.csv.
        json: Write every number here, at full precision.
    """
    from tubelet.evals.classify import class_ranks, classes_of, mean_average_precision
    from tubelet.evals.epic import action_map, action_ranks, pair_prior, share_within
    from tubelet.evals.predictions import read_predictions
    from tubelet.records import write_json

    lists = [many_shot_verbs, many_shot_nouns, tail_verbs, tail_nouns]
    check_file("--json", json, lists)
    verb, noun = read_predictions(verbs), read_predictions(nouns)
    if verb.sample_ids != noun.sample_ids:
        raise InputError(f"{verbs} and {nouns} are not of the same samples in the same order")
    true = {"verb": classes_of(verb.targets), "noun": classes_of(noun.targets)}
    prior = None
    if train_verbs is not None and train_nouns is not None:
        pairs = _training_pairs(train_verbs, train_nouns)
        prior = pair_prior(*pairs, len(verb.label_space), len(noun.label_space))
    elif train_verbs is not None or train_nouns is not None:
        raise InputError("--train-verbs and --train-nouns are given together: the prior is of pairs")
    ranks = {
        "verb": class_ranks(verb.scores, true["verb"]),
        "noun": class_ranks(noun.scores, true["noun"]),
        "action": action_ranks(verb.scores, noun.scores, true["verb"], true["noun"], prior=prior),
    }
    data: dict[str, Any] = {f"{name}/top{k}": share_within(rank, k) for name, rank in ranks.items() for k in (1, 5)}
    data |= {
        f"{n}/mAP": mean_average_precision(p.scores, p.targets).mean_ap for n, p in (("verb", verb), ("noun", noun))
    }
    actions = action_map(verb.scores, noun.scores, true["verb"], true["noun"], prior=prior)
    data["action/mAP"] = actions.mean_ap
    given = {"verb": (verb, many_shot_verbs, tail_verbs), "noun": (noun, many_shot_nouns, tail_nouns)}
    data |= _of_class_lists(given, true, ranks)
    for metric, value in data.items():
        print(f"{metric:28} {'-' if value is None else f'{100 * value:.2f}'}")
    data |= {"prior": prior is not None, "num_actions": actions.num_actions}
    data["origin"] = {"verbs": dict(verb.origin), "nouns": dict(noun.origin)}
    how = "without a prior" if prior is None else "with training's prior"
    print(
        f"  {len(verb.sample_ids)} samples of {verb.split}, actions {how}, mAP over the {actions.num_actions} that come"
    )
    if json is not None:
        write_json(json, data)


def _of_class_lists(
    given: "Mapping[str, tuple[Predictions, Path | None, Path | None]]",
    true: "Mapping[str, np.ndarray]",
    ranks: "Mapping[str, np.ndarray]",
) -> dict[str, float | None]:
    """Return means over many-shot classes and accuracy on tail ones, as far as their lists are given.

    Args:
        given: ``verb`` and ``noun`` to predictions, list of many-shot classes, list of tail classes.
        true: The same to the classes (R,).
        ranks: ``verb``, ``noun`` and ``action`` to the ranks (R,) of the true ones.
    """
    import numpy as np

    from tubelet.evals.epic import class_means, share_within

    data: dict[str, float | None] = {}
    tails: dict[str, np.ndarray] = {}
    for name, (stored, many_shot, tail) in given.items():
        if many_shot is not None:
            means = class_means(stored.scores, true[name], _class_columns(many_shot, stored.label_space))
            data[f"{name}/many_shot_precision"] = None if means is None else means.precision
            data[f"{name}/many_shot_recall"] = None if means is None else means.recall
        if tail is not None:
            tails[name] = np.isin(true[name], sorted(_class_columns(tail, stored.label_space)))
    if len(tails) == 2:
        tails["action"] = tails["verb"] | tails["noun"]
    return data | {f"{name}/tail_top1": share_within(ranks[name], 1, chosen) for name, chosen in tails.items()}


def _training_pairs(verbs: Path, nouns: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Return the verb and the noun of every training sample that both manifests have."""
    import numpy as np

    verb, noun = _training_classes(verbs), _training_classes(nouns)
    both = [clip for clip in verb if clip in noun]
    if not both:
        raise InputError(f"{verbs} and {nouns} have no training sample in common")
    return np.array([verb[clip] for clip in both]), np.array([noun[clip] for clip in both])


def _training_classes(folder: Path) -> Mapping[str, int]:
    from tubelet.data.manifest import read_manifest

    rows = read_manifest(folder).clips.select(["clip_id", "split", "labels"]).to_pylist()
    return {row["clip_id"]: row["labels"][0] for row in rows if row["split"] == "train" and row["labels"]}


def _class_columns(path: Path, space: "LabelSpace") -> set[int]:
    """Return the columns of the classes that a csv with a header lists."""
    from tubelet.data.sources.annotation_files import plain_rows

    rows = list(plain_rows(path))
    names = [name.strip() for name in rows[0][1]] if rows else []
    # EPIC-55 has the class beside its word, EPIC-100 the class under the name "verb" or "noun".
    found = [names.index(name) for name in ("verb_class", "noun_class", "id", "verb", "noun") if name in names]
    columns = set()
    for place, cells in rows[1:] if found else ():
        if len(cells) <= found[0] or not cells[found[0]].strip().isdigit():
            raise InputError(f"{place}: {','.join(cells)!r} has no class id")
        label_id = int(cells[found[0]])
        if label_id not in space.published_ids:
            raise InputError(f"{place}: class id {label_id} is not in {space.name}")
        columns.add(space.published_ids.index(label_id))
    if not columns:
        raise InputError(
            f"{path}: has no classes; expected a header with verb_class, noun_class, id, verb or noun, and ids"
        )
    return columns
