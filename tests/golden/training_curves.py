"""Make training_curves.json: 20 steps of the small recipes on the moving squares, as this version trains them.

    python tests/golden/training_curves.py

A refactor must leave them as they are; a change that is meant to alter training (another random stream, another
default) makes them anew and says so in docs/log.md. ``test_golden_curves.py`` has the tolerances and their reason.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
FILE = HERE / "training_curves.json"
NUM_STEPS = 20
RECIPES = ("pretrain_posts", "cofinetune", "transfer_localise")


def curve(squares: Path, out: Path, recipe: str, *, wide: bool) -> dict[str, Any]:
    """Train ``NUM_STEPS`` steps of a recipe; return each step's tasks and losses, and the gradient's norms.

    Args:
        squares: Folder of ``build_moving_squares``.
        out: Run folder.
        recipe: Key of ``RECIPES``.
        wide: In float64, with SGD (Muon computes in bfloat16 whatever the model does); else as the recipe says, but
            with products in float32.
    """
    from rank_runs import train

    from tubelet.recipes import RECIPES as KNOWN

    run = KNOWN[recipe](squares, size="tiny")
    run = replace(run, num_epochs=None, num_steps=NUM_STEPS, num_workers=0, cache_dir=None, precision="float32")
    if wide:
        run = replace(run, optim=replace(run.optim, optimizer="sgd", learning_rate=0.05))
    found = train(run, out, wide=wide)
    tasks = ["+".join(losses) for losses in found["losses"]]
    return {"tasks": tasks, "losses": [sum(losses.values()) for losses in found["losses"]], "norms": found["norms"]}


def main() -> None:
    """Write the file."""
    sys.path += [str(HERE.parent), str(HERE.parent / "train")]
    from moving_squares import build_moving_squares

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        squares = build_moving_squares(Path(folder) / "squares")
        curves = {name: curve(squares, Path(folder) / name, name, wide=False) for name in RECIPES}
        curves["cofinetune in float64"] = curve(squares, Path(folder) / "wide", "cofinetune", wide=True)
    FILE.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    main()
