"""From uint8 frames on the canvas to the numbers a model computes with, on its device."""

import torch
from torch import Tensor

from tubelet.types import Preprocess


def normalise(video: Tensor, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return model input for uint8 clips (B, 3, T, S, S), on the video's device.

    ``(video / 255 - mean) / std``, and where the weights differ from 1, the clip's mean frame times ``still_weight``
    plus the difference from it times ``motion_weight``.
    """
    shift = torch.tensor(preprocess.mean, dtype=torch.float32, device=video.device).view(1, 3, 1, 1, 1)
    spread = torch.tensor(preprocess.std, dtype=torch.float32, device=video.device).view(1, 3, 1, 1, 1)
    scaled = (video.to(torch.float32) / 255 - shift) / spread
    if (preprocess.still_weight, preprocess.motion_weight) != (1.0, 1.0):
        still = scaled.mean(dim=2, keepdim=True)
        scaled = preprocess.still_weight * still + preprocess.motion_weight * (scaled - still)
    return scaled.to(dtype)
