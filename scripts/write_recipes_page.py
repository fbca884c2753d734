"""Write docs/recipes.md: every row of the papers' tables with its command, hardware, estimated time and number.

python scripts/write_recipes_page.py > docs/recipes.md
"""

import sys
from collections.abc import Iterable

from tubelet.recipes.row_costs import H100_FLOPS, USED_SHARE, RowCost, clips_text, hours_text, row_costs

PAGE = """\
# Every row of the papers as a run

Written by `scripts/write_recipes_page.py` from the recipes themselves; `tubelet recipes paper_a` prints the same here.

```sh
tubelet recipes
tubelet recipes paper_a
tubelet recipes own_posts
```

`tubelet recipes NAME` says of any recipe how it is called, on which hardware, how long it takes and what to expect. The
papers' rows are below. No row was trained at full scale by us; *paper* is the paper's own number: mAP at IoU 0.5 for
`ava` and `ava_kinetics`, else top-1. *H100 hours* are multiply-adds alone at {share:.0%} of {tflops:.0f} TFLOP/s in
bfloat16, a whole pre-training included; reading videos and scoring come on top. Clips are those of sets of which
nothing is missing (`docs/datasets.md`).

- `--data manifests` holds the sets, in folders of the names below. `--dry-run` names those that are missing, and
  estimates memory and time for the machine and the manifests at hand.
- `--scale mini`, with `--data out/playground/manifests`, is the row in miniature: minutes on 2 CPU cores;
  `--scale small` is for a GPU.
  `docs/studies/README.md` compares the rows of a table so.
- `--init-from ig65m_r2plus1d_34_8` or other published weights (`docs/weights.md`) replace a pre-training of paper B:
  then a row is its fine-tuning alone. `WEIGHTS` stands for weights that are not public and have to be your own.

## Paper A
On TPUs, how many is not said, in batches of 128 clips of 32 frames; 15 passes over the sum of the sets, 20 over a
target alone. *imagenet21k* is `hf_in21k_vit_b` or `_l`. `ava` is trained on a detector's boxes from 0.8 on and scored
on them, `ava_kinetics` trained on annotated boxes and scored on detected ones from 0.2 on: both want them in their
manifest. So Table 2's co-finetuning is, from the published files (`docs/datasets.md`) on:

```text
tubelet data import kinetics --annotations train.csv validate.csv test.csv --classes 400 \\
    --media-root k400 --out manifests/kinetics400
tubelet data import moments --train trainingSet.csv --val validationSet.csv \\
    --media-root mit --out manifests/moments_in_time
tubelet data import ava --train ava_train_v2.2.csv --val ava_val_v2.2.csv \\
    --train-excluded ava_train_excluded_timestamps_v2.2.csv \\
    --val-excluded ava_val_excluded_timestamps_v2.2.csv \\
    --media-root ava --out manifests/ava
tubelet data add-boxes manifests/ava ava_train_predicted_boxes.csv ava_val_predicted_boxes.csv
tubelet weights fetch hf_in21k_vit_b
tubelet train paper_a --row 2-cofinetune --data manifests --out out/2-cofinetune
```

{rows_a}
## Paper B
490 million clips of pre-training on 128 GPUs, 16 clips of 8 frames or 6 of 32 on each; a fine-tuning on 64.
The paper scores the rows of Tables 5 to 7 (13-, 16-, 17-) fully convolutionally on crops of 128 pixels, these alone
(4.4): a run of them is compared by `tubelet evaluate OUT --dense --square 128`, not by the 10 centre clips that its
training ends with.

{rows_b}"""


def rows_markdown(rows: Iterable[RowCost]) -> str:
    """Return rows as a table of a document."""
    lines = ["| row | what is trained | paper, % | its hardware | clips | H100 hours | command |", "|" + "---|" * 7]
    for row in rows:
        cells = (row.what, row.paper, row.hardware, clips_text(row.clips), hours_text(row.gpu_hours))
        lines.append(f"| {row.name} | {' | '.join(cells)} | `{row.command}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    rows_a, rows_b = (rows_markdown(row_costs(recipe)) for recipe in ("paper_a", "paper_b"))
    sys.stdout.write(PAGE.format(share=USED_SHARE, tflops=H100_FLOPS / 1e12, rows_a=rows_a, rows_b=rows_b))
