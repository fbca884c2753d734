"""Where a run's first weights come from."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tubelet.models.convert import convert_file
from tubelet.models.convert_start import BACKBONE, inflate_image
from tubelet.models.download import FETCHED
from tubelet.models.model import BackboneConfig, VideoModel, read_backbone_config
from tubelet.models.saved import MODEL_FILE, load_all, read_meta, read_tensors, shortened
from tubelet.models.vivit import ViViTConfig, fit_positions
from tubelet.models.weights import WEIGHTS, find_weights
from tubelet.types import InputError, did_you_mean

UNSEEN = ("num_heads", "pool1")
"""Options of a backbone that decide what its weights mean and not what shape they have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Weights that can start a run."""

    tensors: dict[str, Tensor]
    """By :class:`VideoModel`'s names."""
    backbone: BackboneConfig | None
    """What they are the weights of; None = a file that does not say."""


def initialise(model: VideoModel, *, resuming: bool, init_from: str | None, init_skip: tuple[str, ...]) -> str:
    """Give a model, as it was built, the weights that training starts from; return in a line what was done.

    Args:
        model: Changed only when everything fits.
        resuming: Whether the run has a checkpoint.
        init_from: As in ``RunConfig``.
        init_skip: As in ``RunConfig``.

    Raises:
        InputError: The weights cannot be found or read, or do not fit; the message names what does not.
    """
    # The first that applies wins.
    if resuming:
        # The run's own checkpoint has every weight: it is read where the optimizer is there to take its part.
        return "goes on from its checkpoint"
    if init_from is None:
        # Scratch: the random weights that the model was built with, which follow from the run's seed.
        return "starts from random weights"
    start = read_start(init_from)
    wanted = model.backbone.config
    _check_unseen(start.backbone, wanted, init_from)
    if start.backbone is not None and start.backbone.num_frames == 1 < wanted.num_frames:
        # Inflation: an image network's kernels get a time axis; what it has nothing for stays random (paper B, 4.3.2).
        given = inflate_image(start.tensors, wanted)[0].tensors
        given = {BACKBONE + name: tensor for name, tensor in given.items()}
        unknown = {name for name in model.state_dict() if name.startswith(BACKBONE)} - set(given)
    else:
        # Weights of the same network. Heads are new unless asked for (paper A, 3.2: "finetuning initialises theta_b
        # from pre-training, and trains new head parameters"); frames and clips may have another size.
        given, unknown = start.tensors, set()
        if _is_same_grid(start.backbone, wanted):
            given = fit_positions(start.tensors, model.state_dict())
    taken = {name: tensor for name, tensor in given.items() if not name.startswith(init_skip)}
    fresh = {n: t for n, t in model.state_dict().items() if n in unknown or n.startswith(init_skip)}
    load_all(model, taken | fresh, where=init_from)
    left_out = sorted(set(start.tensors) - set(taken))
    # An image's positions become those of every time step in a joint encoder.
    before = {BACKBONE + "positions": start.tensors.get(BACKBONE + "space_positions"), **start.tensors}
    grids = {name: tensor for name, tensor in taken.items() if name.endswith("positions")}
    resized = [name for name, tensor in grids.items() if _is_resized(tensor, before.get(name))]
    return (
        f"starts from {len(taken)} weights of {init_from}; left out: {len(left_out)} ({shortened(left_out)}); "
        f"begin fresh: {len(fresh)} ({shortened(sorted(fresh))})"
        + (f"; resized to this run's frames: {', '.join(resized)}" if resized else "")
    )


def _check_unseen(given: BackboneConfig | None, wanted: BackboneConfig, name: str) -> None:
    """Raise where weights would be taken for others, and no shape would tell."""
    for option in UNSEEN:
        theirs, ours = getattr(given, option, None), getattr(wanted, option, None)
        if None not in (theirs, ours) and theirs != ours:
            raise InputError(f"{name}: weights of a network whose {option} is {theirs}, this run's is {ours}")


def _is_same_grid(given: BackboneConfig | None, wanted: BackboneConfig) -> bool:
    """Whether both are ViViTs whose tubelets have one size: then positions of one are those of the other, resized."""
    if not isinstance(given, ViViTConfig) or not isinstance(wanted, ViViTConfig):
        return False
    return (given.patch, given.tubelet) == (wanted.patch, wanted.tubelet)


def _is_resized(taken: Tensor, given: Tensor | None) -> bool:
    return given is not None and taken.shape[-given.ndim :] != given.shape


def read_start(name: str) -> Start:
    """Read weights: a run folder of ours, a ``.safetensors`` of ours, or published weights by their name.

    Published weights are where ``tubelet weights fetch NAME`` puts them, or, with ``NAME=FILE``, in that file.

    Raises:
        InputError: There is nothing of that name, it cannot be read, or the run is not finished.
    """
    path = Path(name)
    if path.is_dir():
        meta = read_meta(path)
        if not meta.get("finished", True):  # a model that was only packed was never a run
            raise InputError(f"{name}: that run is not finished (step {meta['step']} of {meta['num_steps']})")
        backbone = read_backbone_config(meta["backbone"], where=str(path))
        return Start(tensors=read_tensors(path / MODEL_FILE), backbone=backbone)
    if path.suffix == ".safetensors" and "=" not in name:
        return Start(tensors=read_tensors(path), backbone=None)
    published, _, file = name.partition("=")
    if published not in WEIGHTS:
        raise InputError(
            f"{name}: neither a run folder, nor a .safetensors file, nor published weights"
            f"{did_you_mean(published, WEIGHTS)}"
        )
    entry = find_weights(published)
    found = Path(file) if file else FETCHED / published / entry.file_name
    if not found.exists():
        raise InputError(f"{name}: no file {found}; tubelet weights fetch {published} gets it")
    heads = {head.task: head.num_classes for head in entry.heads}
    return Start(
        tensors=convert_file(found, entry.layout, entry.backbone, heads).tensors,
        backbone=entry.backbone,
    )


def absolute_start(name: str | None) -> str | None:
    """Return ``init_from`` so that it means the same in any folder: paths become absolute, names stay."""
    if name is None:
        return None
    published, equals, file = name.partition("=")
    if equals and published in WEIGHTS:
        return f"{published}={Path(file).resolve()}"
    return str(Path(name).resolve()) if Path(name).exists() else name
