from collections import Counter
from pathlib import Path

import pytest

from tubelet.data.held_out import HELD_OUT_SPLIT, held_out_videos, hold_out
from tubelet.data.manifest import read_manifest
from tubelet.types import InputError


def test_a_tenth_of_the_videos_whatever_the_order() -> None:
    videos = [f"v{i}.mp4" for i in range(40)]
    chosen = held_out_videos(videos, seed=0)
    assert len(chosen) == 4
    assert held_out_videos([*reversed(videos), *videos], seed=0) == chosen
    assert held_out_videos(videos, seed=1) != chosen
    # Each video is in some tenth: the draw looks at all of the name.
    drawn = Counter(video for seed in range(60) for video in held_out_videos(videos, seed=seed))
    assert len(drawn) == 40
    assert max(drawn.values()) <= 16
    assert [len(held_out_videos(videos[:n], seed=0)) for n in (2, 5, 14, 16)] == [1, 1, 1, 2]
    assert len(held_out_videos(videos[:2], seed=0, share=0.9)) == 1
    with pytest.raises(InputError, match="1 training video cannot be parted"):
        held_out_videos(["a", "a"], seed=0)


def test_a_manifest_of_training_clips_alone(squares: Path, tmp_path: Path) -> None:
    source = read_manifest(squares / "manifests/localise")
    made = hold_out(source, tmp_path / "m", train_split="train", seed=0)
    there, here = source.clips.to_pylist(), made.clips.to_pylist()
    assert {row["split"] for row in here} == {"train", HELD_OUT_SPLIT}
    assert {row["clip_id"] for row in here} == {row["clip_id"] for row in there if row["split"] == "train"}
    held = {row["video"] for row in here if row["split"] == HELD_OUT_SPLIT}
    assert held == held_out_videos([row["video"] for row in here], seed=0)
    assert made.boxes is not None
    assert {row["clip_id"] for row in made.boxes.to_pylist()} == {row["clip_id"] for row in here}
    assert made.counts["clips_of_other_splits_left_out"] == len(there) - len(here)
    assert made.media_root == source.media_root
    with pytest.raises(InputError, match="localise: split 'train_x': 0 training video"):
        hold_out(source, tmp_path / "n", train_split="train_x", seed=0)
