"""Two runs, one of verbs and one of nouns of the same clips, scored as actions (paper B, 4.4: EPIC-Kitchens)."""

from tubelet.evals.classify import classes_of
from tubelet.evals.epic import action_ranks, share_within
from tubelet.evals.predictions import Predictions, read_predictions, write_predictions
from tubelet.studies.runs import PlannedRun, test_split
from tubelet.train.evaluate import evaluate_run, origin_of

QUANTITY = "kitchen_action"
PREDICTIONS_FOLDER = "predictions"
"""In the folder of a run: its scores on the test split."""


def score_actions(verbs: PlannedRun, nouns: PlannedRun) -> dict[str, float]:
    """Return top-1 and top-5 of verb times noun in [0, 1], no prior, as ``tubelet epic-eval`` has it without one.

    Args:
        verbs: A finished run of one task.
        nouns: Another, whose test split has the same clips.
    """
    verb, noun = _predictions(verbs), _predictions(nouns)
    assert verb.sample_ids == noun.sample_ids, "both sets of the playground have the same clips"
    ranks = action_ranks(verb.scores, noun.scores, classes_of(verb.targets), classes_of(noun.targets))
    shares = {f"{QUANTITY} top{k}": share_within(ranks, k) for k in (1, 5)}
    return {name: share for name, share in shares.items() if share is not None}


def _predictions(planned: PlannedRun) -> Predictions:
    """Return a run's scores on the test split, kept beside it once they are there."""
    folder = planned.folder / PREDICTIONS_FOLDER
    if not (folder / "predictions.json").exists():
        (task,) = planned.run.tasks
        result = evaluate_run(planned.folder, split=test_split(task), tasks=(task.name,), num_workers=0)[task.name]
        write_predictions(folder, result, origin_of(planned.folder, task.name))
    return read_predictions(folder)
