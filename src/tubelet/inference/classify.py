"""Scores of a whole video, as evaluation scores a clip that is all of it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tubelet.inference.action_model import placed_model
from tubelet.models.precision import default_autocast
from tubelet.models.saved import LoadedModel, probabilities
from tubelet.types import Crops
from tubelet.video.container import probe
from tubelet.video.decode import read_clips
from tubelet.video.normalise import normalise
from tubelet.video.sampling import view_times
from tubelet.video.transforms import check_crops, crop_offsets, read_size, to_canvas


@torch.inference_mode()
def classify(
    video: Path | str,
    loaded: LoadedModel,
    *,
    task: str | None = None,
    num_views: int = 1,
    crops: Crops = "centre",
    device: torch.device | str | None = None,
) -> np.ndarray:
    """Score a whole video with a classification head, as evaluation scores a clip that is all of it.

    Args:
        video: A video file.
        loaded: A trained model with a classification head.
        task: Name of the head; None = the model's first classification head.
        num_views: Clips spread evenly over the video whose scores are averaged; 1 = the middle.
        crops: What is shown of frames larger than the canvas; the scores of three are averaged.
        device: Where the model is moved to; None = it stays where it is.

    Returns:
        float32 (K,) in [0, 1], one score for each class of the head's label space.
    """
    name = loaded.task_of_kind("classify", task)
    p = loaded.preprocess
    check_crops(p.fit, crops)
    meta = probe(video)
    views = view_times(0.0, meta.duration_seconds, num_views=num_views, **p.sampling(meta.fps))
    model, torch_device = placed_model(loaded, device)
    shown: list[Tensor] = []
    for clip in read_clips(video, views, size=read_size(p.fit)):
        height, width = clip.frames.shape[-2:]
        for offset in crop_offsets(height, width, crops):
            canvas, _ = to_canvas(clip.frames, None, fit=p.fit, offset=offset, whole=crops == "whole")
            shown.append(canvas.transpose(0, 1)[None])  # (1, 3, T, S, S)
    total = torch.zeros(len(loaded.label_spaces[name]))
    for batch in shown:
        with default_autocast(torch_device):
            logits = model(normalise(batch.to(torch_device), p), name)
        total += probabilities(logits, loaded.score_kinds[name])[0].cpu()
    return np.asarray(total / len(shown))
