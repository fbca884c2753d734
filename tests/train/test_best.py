"""The checkpoint that scored highest during the training stays."""

from dataclasses import replace
from pathlib import Path

from tubelet.recipes.playground import cofinetune
from tubelet.records import read_json
from tubelet.train.fit import fit
from tubelet.train.log import read_rows


def test_the_best_by_a_named_metric_stays_beside_the_newest(squares: Path, tmp_path: Path) -> None:
    metric = "localise/val/mAP"
    run = replace(
        cofinetune(squares, size="tiny"),
        num_epochs=None,
        num_steps=9,
        num_workers=0,
        eval_every_steps=2,
        checkpoint_every_steps=1000,
        num_checkpoints=1,
        best_metric=metric,
    )
    fit(run, tmp_path, progress=False)
    scores = {r["step"]: r["metrics"][metric] for r in read_rows(tmp_path / "metrics.jsonl") if "metrics" in r}
    assert sorted(scores) == [2, 4, 6, 8, 9]
    del scores[9]  # scored when it was written already; it stays because it is the newest
    best = max(scores, key=lambda step: (scores[step], step))
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == [f"step-{best:08d}", "step-00000009"]
    assert read_json(tmp_path / f"state/step-{best:08d}/state.json")["metrics"][metric] == scores[best]
