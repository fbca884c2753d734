"""The two heads of paper A (3.1): linear layers on pooled tokens, one pair of weights per task.

Weights start at zero as in ViViT's public code, so every class begins at the same probability. Pooling and the linear
layer run in float32 also under autocast: they cost nothing, and logits in bfloat16 would quantise scores and losses.

Shape letters: B clips, N boxes over all clips, t x h x w token grid, D width, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.models.roi_align import roi_align

ROI_SIZE = 7
"""Cells that a box is pooled into on each side before they are averaged. Paper A does not say; 7 as in PySlowFast
(``DETECTION.ROI_XFORM_RESOLUTION``)."""


def _check_tokens(tokens: Tensor, dim: int) -> None:
    if tokens.ndim != 5 or tokens.shape[-1] != dim:
        raise ValueError(f"tokens has shape {tuple(tokens.shape)}, expected (B, t, h, w, {dim})")


def _zero_linear(dim: int, num_classes: int) -> nn.Linear:
    linear = nn.Linear(dim, num_classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class ClassificationHead(nn.Module):
    """Logits of a clip from the average of all its tokens.

    The linear layer is also the 1x1x1 convolution of paper B's fully-convolutional evaluation (4.4): ``dense``.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.linear = _zero_linear(dim, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, t, h, w, D) to logits (B, K)."""
        _check_tokens(tokens, self.linear.in_features)
        with torch.autocast(tokens.device.type, enabled=False):
            logits: Tensor = self.linear(tokens.to(self.linear.weight.dtype).mean(dim=(1, 2, 3)))
        return logits

    def dense(self, tokens: Tensor, window: tuple[int, int, int]) -> Tensor:
        """Classify every place of a larger grid with the same weights (paper B, 4.4).

        The average is taken over windows one step apart, as large as the grid the head was trained on, and each is
        classified by the linear layer as a 1x1x1 convolution. VMZ (``loss_creator.py``) then averages the
        probabilities of all windows.

        Args:
            tokens: (B, t, h, w, D).
            window: Steps, rows and columns of a window; where the grid is smaller, all of it.

        Returns:
            Logits (B, t', h', w', K), each t' = max(t - window + 1, 1).
        """
        _check_tokens(tokens, self.linear.in_features)
        with torch.autocast(tokens.device.type, enabled=False):
            grid = tokens.to(self.linear.weight.dtype).permute(0, 4, 1, 2, 3)
            size = [min(side, whole) for side, whole in zip(window, grid.shape[2:], strict=True)]
            logits: Tensor = self.linear(F.avg_pool3d(grid, size, stride=1).permute(0, 2, 3, 4, 1))
        return logits


class ActionHead(nn.Module):
    """Logits of each person box: ROI-Align on the tokens, averaged, projected.

    The keyframe's box is extended through time into a tube. Because the box is the same at every time step, and
    ROI-Align and averaging are linear, averaging the tokens over time first gives the same numbers for 1/t of the work.
    """

    def __init__(self, dim: int, num_classes: int, output_size: int = ROI_SIZE) -> None:
        super().__init__()
        self.output_size = output_size
        self.linear = _zero_linear(dim, num_classes)

    def forward(self, tokens: Tensor, boxes: Tensor, box_clip: Tensor, stride: int) -> Tensor:
        """Score the boxes.

        Args:
            tokens: (B, t, h, w, D).
            boxes: (N, 4) xyxy at the keyframe, in pixels of the canvas the tokens were computed from.
            box_clip: int64 (N,), the clip of each box; clips may have any number of boxes, also none.
            stride: Side of a cell of the grid, in pixels.

        Returns:
            Logits (N, K).
        """
        _check_tokens(tokens, self.linear.in_features)
        with torch.autocast(tokens.device.type, enabled=False):
            features = tokens.to(self.linear.weight.dtype).mean(dim=1).permute(0, 3, 1, 2)  # (B, D, h, w)
            pooled = roi_align(features, boxes, box_clip, output_size=self.output_size, spatial_scale=1 / stride)
            logits: Tensor = self.linear(pooled.mean(dim=(2, 3)))
        return logits
