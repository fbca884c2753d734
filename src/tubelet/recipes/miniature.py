"""The rows of both papers in miniature, on the playground: what stands for a published set, and two sizes.

``mini`` takes minutes on 2 CPU cores. ``small`` is for one GPU: larger networks, frames and clips, and more of them.
Nobody has run it yet: its rates are ``mini``'s. A capacity or a resolution keeps its place among the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tubelet.recipes.playground import PlaygroundScale
from tubelet.recipes.rows_b import EPIC, KINETICS, SOMETHING

Scale = Literal["paper", "small", "mini"]

SETS_A = {
    "kinetics400": ("kinetics",),
    "kinetics600": ("kinetics",),
    "kinetics700": ("kinetics",),
    "moments_in_time": ("moments",),
    "something_v2": ("direction",),
    "ava": ("localise",),
    "ava_kinetics": ("localise", "single_keyframe"),
    "posts": ("posts",),
}
"""A set of paper A to what stands for it; AVA-Kinetics is two sets there, each with its head."""
TARGETS_B = {KINETICS: "kinetics", EPIC["verb"]: "kitchen_verb", EPIC["noun"]: "kitchen_noun", SOMETHING: "direction"}
"""A target of paper B to what stands for it, also where it is pre-trained on; other sources keep their names
(``tubelet study run`` makes them from the posts)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureA:
    """Paper A's rows at one size."""

    run: PlaygroundScale
    """Everything but the resolutions of Table 8."""
    starts: Mapping[str, tuple[float, ...]]
    """Passes over the tagged posts that stand for a start; of seed 0 for all, so that arms and seeds share them."""
    vivit: Mapping[str, str]
    """ViViT of the paper to ours."""
    sizes: Mapping[int, int]
    """Table 8: sides of the paper to ours, all in one ratio. All start from one start of the smallest side, whose
    position embeddings are interpolated, as the paper's images of 224 pixels are."""
    patch: int
    """Of a tubelet in Table 8, so that each side has half as many as the paper's."""
    resolution_epochs: float
    """Passes over the sets of each stage of Table 8, whose largest side costs six times its smallest."""


MINIATURES_A: Mapping[str, MiniatureA] = {
    "mini": MiniatureA(
        run=PlaygroundScale(size=96, patch=12, batch_size=16, pretrain_epochs=4.0, num_epochs=5.0),
        starts={"imagenet21k": (4.0,), "wts": (16.0,), "random": ()},
        vivit={"base": "nano", "large": "micro"},
        sizes={224: 42, 352: 66, 416: 78, 512: 96},
        patch=6,
        resolution_epochs=3.0,
    ),
    "small": MiniatureA(
        run=PlaygroundScale(
            size=192, patch=16, batch_size=64, pretrain_epochs=60.0, num_epochs=20.0, vivit="tiny", num_frames=16
        ),
        starts={"imagenet21k": (60.0,), "wts": (180.0,), "random": ()},
        vivit={"base": "tiny", "large": "small"},
        sizes={224: 84, 352: 132, 416: 156, 512: 192},
        patch=12,
        resolution_epochs=8.0,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureB:
    """Paper B's rows at one size."""

    planes: int
    """Of the first stage; the paper's have 64."""
    size: int
    """Side of the frame in pixels."""
    num_frames: int
    batch_size: int
    num_views: int
    """Clips of a video whose scores are averaged. The paper's 10 would take a quarter as long as fine-tuning."""
    videos_seen: int
    """In every pre-training."""
    num_halvings: int
    """Of a pre-training's rate. After the paper's 13 most of 500 steps would have no rate to speak of."""
    epochs: Mapping[str, float]
    """Total length of a fine-tuning on each set, the same for all rows; the row's periods are scaled to it."""
    rate: float
    """Of a batch, in both stages: one for all rows, and the only one of AdamW's that was tried."""
    depth_34: int
    """Depth that stands for 34, but where depths are compared (Tables 2, 9 and 15)."""
    optimizer: Literal["adamw"] = "adamw"
    """In one pass over kinetics it reached 16 % on the validation split where SGD reached 10 % (``docs/log.md``)."""


MINIATURES_B: Mapping[str, MiniatureB] = {
    "mini": MiniatureB(
        planes=16,
        size=64,
        num_frames=8,
        batch_size=16,
        num_views=3,
        videos_seen=8_000,
        num_halvings=4,
        epochs={"kinetics": 2.0, "kitchen_verb": 15.0, "kitchen_noun": 15.0, "direction": 15.0},
        rate=0.002,
        depth_34=18,
    ),
    "small": MiniatureB(
        planes=32,
        size=112,
        num_frames=16,
        batch_size=64,
        num_views=10,
        videos_seen=200_000,
        num_halvings=8,
        epochs={"kinetics": 10.0, "kitchen_verb": 40.0, "kitchen_noun": 40.0, "direction": 40.0},
        rate=0.002,
        depth_34=34,
    ),
}


def playground_sets(sets: Iterable[str]) -> tuple[str, ...]:
    """Return the playground's sets that stand for those of paper A."""
    return tuple(dict.fromkeys(ours for name in sets for ours in SETS_A[name]))
