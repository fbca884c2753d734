"""A trained model on disk: ``model.safetensors`` and ``meta.json`` rebuild it with nothing else.

``meta.json`` carries what a user of the weights could get wrong: the architecture, the preprocessing, and for every
head its label space and whether its scores are a softmax or independent sigmoids.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tubelet.labels import LabelSpace
from tubelet.models.heads import ROI_SIZE
from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel, read_backbone_config
from tubelet.records import from_json, read_json, to_json
from tubelet.types import InputError, Preprocess

FORMAT = "tubelet-run"
FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
META_FILE = "meta.json"
HEADS = "heads."
"""Begins the names of the heads' weights."""

ScoreKind = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadMeta:
    """What a head's scores mean."""

    kind: Literal["classify", "localise"]
    label_space: LabelSpace
    score: ScoreKind
    """``softmax``: one class per clip; ``sigmoid``: every class on its own (several actions at once)."""
    thresholds: tuple[float, ...] = ()
    """For each class the score from which on it is said to happen, chosen on validation (``evals.thresholds``); empty =
    nobody has chosen."""
    roi_size: int = ROI_SIZE
    """As in ``HeadConfig``."""

    def __post_init__(self) -> None:
        if self.thresholds and len(self.thresholds) != len(self.label_space):
            raise InputError(f"{len(self.thresholds)} thresholds for {len(self.label_space)} classes")

    @property
    def config(self) -> HeadConfig:
        """The head's shape."""
        return HeadConfig(kind=self.kind, num_classes=len(self.label_space), roi_size=self.roi_size)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready to use, with everything needed to use it right."""

    model: VideoModel
    """In evaluation mode."""
    preprocess: Preprocess
    heads: Mapping[str, HeadConfig]
    """Task name to head shape; the first of a kind is what a command uses when none is named."""
    label_spaces: Mapping[str, LabelSpace]
    score_kinds: Mapping[str, ScoreKind]
    meta: dict[str, Any]
    """All of ``meta.json``: recipe, full config, versions, metrics."""
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """As in ``HeadMeta``, of the tasks that have them."""

    def task_of_kind(self, kind: Literal["classify", "localise"], task: str | None = None) -> str:
        """Return ``task`` if it is a head of this kind, or the first head of this kind when none is named."""
        names = [name for name, head in self.heads.items() if head.kind == kind]
        if task is not None and task not in names:
            raise InputError(f"this model has no {kind} head {task!r}; it has: {', '.join(names) or 'none'}")
        if not names:
            raise InputError(f"this model has no {kind} head; its heads are: {', '.join(self.heads)}")
        return task or names[0]


def probabilities(logits: Tensor, kind: ScoreKind) -> Tensor:
    """Turn logits (N, K) into float32 scores in [0, 1]: softmax over K, or each class on its own."""
    logits = logits.float()
    return logits.softmax(dim=1) if kind == "softmax" else logits.sigmoid()


def model_meta(
    *,
    recipe: str,
    backbone: BackboneConfig,
    preprocess: Preprocess,
    heads: Mapping[str, HeadMeta],
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Return the content of ``meta.json``.

    Args:
        recipe: Name of the run.
        backbone: Architecture.
        preprocess: How a video becomes input.
        heads: Task name to what its head means.
        extra: Further entries (config, versions, metrics, step); they may not replace the ones above.
    """
    meta: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "recipe": recipe,
        "backbone": to_json(backbone),
        "preprocess": to_json(preprocess),
        "tasks": {
            name: {
                "kind": head.kind,
                "score": head.score,
                "label_space": head.label_space.to_json(),
                **({"thresholds": list(head.thresholds)} if head.thresholds else {}),
                **({"roi_size": head.roi_size} if head.roi_size != ROI_SIZE else {}),
            }
            for name, head in heads.items()
        },
    }
    assert not set(meta) & set(extra), "extra entries may not replace what rebuilds the model"
    return meta | to_json(extra)  # type: ignore[no-any-return]  # a dict in, a dict out


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Copies that are contiguous and share no memory: the format refuses anything else.
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(plain, temporary, metadata=metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; a missing, cut or foreign file is one clear line."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from error


def read_meta(folder: Path) -> dict[str, Any]:
    """Read and check ``meta.json`` of a run folder."""
    path = folder / META_FILE
    if not path.exists():
        raise InputError(f"{folder}: not a run folder (no {META_FILE}); expected what `tubelet train` writes")
    meta = read_json(path)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{path}: not a {FORMAT} file")
    if meta.get("format_version") != FORMAT_VERSION:
        found = meta.get("format_version")
        raise InputError(f"{path}: format version {found}, this Tubelet reads {FORMAT_VERSION}")
    return meta


def read_heads(meta: Mapping[str, Any], *, where: str) -> dict[str, HeadMeta]:
    """Return task name to head from ``meta.json``'s content."""
    heads = {}
    for name, entry in meta["tasks"].items():
        try:
            space = LabelSpace.from_json(entry["label_space"])
            heads[name] = HeadMeta(
                kind=entry["kind"],
                label_space=space,
                score=entry["score"],
                thresholds=tuple(map(float, entry.get("thresholds", ()))),
                roi_size=entry.get("roi_size", ROI_SIZE),
            )
        except KeyError as error:
            raise InputError(f"{where}: task {name!r} lacks the entry {error}") from error
    return heads


def load_model(folder: Path | str, *, device: torch.device | str = "cpu") -> LoadedModel:
    """Rebuild a trained model from its run folder.

    Args:
        folder: Run folder with ``model.safetensors`` and ``meta.json``.
        device: Where the weights go.

    Raises:
        InputError: A file is missing or damaged, or weights and ``meta.json`` do not fit each other.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    where = str(folder / META_FILE)
    heads = read_heads(meta, where=where)
    backbone = read_backbone_config(meta["backbone"], where=where)
    configs = {name: head.config for name, head in heads.items()}
    model = VideoModel(backbone, configs)
    if not (folder / MODEL_FILE).exists():
        raise InputError(f"{folder}: the run has no {MODEL_FILE} yet (step {meta.get('step', 0)}); continue it first")
    tensors = read_tensors(folder / MODEL_FILE)
    load_all(model, tensors, where=str(folder / MODEL_FILE))
    return LoadedModel(
        model=model.to(device).eval(),
        preprocess=from_json(Preprocess, meta["preprocess"], where=where),
        heads=configs,
        label_spaces={name: head.label_space for name, head in heads.items()},
        score_kinds={name: head.score for name, head in heads.items()},
        thresholds={name: head.thresholds for name, head in heads.items() if head.thresholds},
        meta=meta,
    )


def load_all(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load every weight; any missing, extra or misshapen one is an error that names some, and nothing is loaded."""
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and wanted[name].shape != tensors[name].shape
    ]
    if missing or extra or shapes:
        raise InputError(
            f"{where}: weights do not fit: missing: {shortened(missing)}; unexpected: {shortened(extra)}; "
            f"other shape: {shortened(shapes)}"
        )
    model.load_state_dict(dict(tensors))


def shortened(names: Sequence[str], most: int = 3) -> str:
    """Return names for a message of one line: the first few, and how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return ", ".join(names) or "none"
