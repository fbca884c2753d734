"""What sequential fine-tuning has forgotten (paper A, 3.3): earlier heads back on the final backbone."""

from collections.abc import Sequence
from pathlib import Path

from tubelet.evals.run import TaskResult
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.precision import pick_device
from tubelet.models.saved import HEADS, MODEL_FILE, load_all, read_heads, read_meta, read_tensors
from tubelet.tasks import build_task
from tubelet.train.data import frame_cache
from tubelet.train.distributed import World
from tubelet.train.evaluate import evaluate_tasks, run_config


def with_earlier_heads(final: Path, earlier: Sequence[Path]) -> VideoModel:
    """Return the final run's backbone carrying the heads of earlier stages, each as its own stage left it.

    Args:
        final: Run folder that gives the backbone.
        earlier: Run folders that give heads; their tasks must differ from each other.
    """
    tensors = {k: v for k, v in read_tensors(final / MODEL_FILE).items() if not k.startswith(HEADS)}
    heads: dict[str, HeadConfig] = {}
    for folder in earlier:
        found = read_heads(read_meta(folder), where=str(folder))
        assert not set(found) & set(heads), "each stage has its own task"
        heads |= {name: head.config for name, head in found.items()}
        tensors |= {k: v for k, v in read_tensors(folder / MODEL_FILE).items() if k.startswith(HEADS)}
    model = VideoModel(run_config(final).backbone, heads)
    load_all(model, tensors, where=str(final / MODEL_FILE))
    return model.eval()


def evaluate_earlier_heads(
    final: Path, earlier: Sequence[Path], *, split: str, num_workers: int
) -> dict[str, TaskResult]:
    """Score the tasks of earlier stages with their own heads on the final backbone."""
    if not earlier:
        return {}
    world = World(device=pick_device(None))
    runs = [run_config(folder) for folder in earlier]
    tasks = {c.name: build_task(c, preprocess=run.preprocess) for run in runs for c in run.tasks}
    return evaluate_tasks(
        with_earlier_heads(final, earlier).to(world.device),
        tasks,
        dict.fromkeys(tasks, split),
        cache=frame_cache(runs[0]),
        batch_size=runs[0].eval_batch_size,
        num_workers=num_workers,
        world=world,
    )
