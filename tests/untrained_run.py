"""A run folder of an untrained model, for what needs a model and not its skill."""

from pathlib import Path

import torch

from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.saved import META_FILE, MODEL_FILE, HeadMeta, model_meta, save_tensors
from tubelet.models.vivit import ViViTConfig
from tubelet.records import write_json
from tubelet.types import Preprocess

ACTIONS = ("stand", "walk", "wave", "carry")


def write_untrained_run(folder: Path) -> Path:
    """Write a run with a localisation head of four actions, whose scores depend on what is seen."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    backbone = ViViTConfig(size=32, num_frames=4, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)
    head = HeadMeta(kind="localise", label_space=LabelSpace(name="four", names=ACTIONS), score="sigmoid")
    model = VideoModel(backbone, {"people": head.config})
    torch.nn.init.normal_(model.heads["people"].linear.weight)
    preprocess = Preprocess(size=32, num_frames=4, frame_stride=1, fps=5.0)
    meta = model_meta(recipe="untrained", backbone=backbone, preprocess=preprocess, heads={"people": head}, extra={})
    write_json(folder / META_FILE, meta)
    save_tensors(folder / MODEL_FILE, model.state_dict())
    return folder
