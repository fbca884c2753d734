"""Tubelet: from tagged videos to who does what, where and when."""

from pathlib import Path
from typing import TYPE_CHECKING

from tubelet.defaults import EVERY_SECONDS, PERSON_THRESHOLD

if TYPE_CHECKING:
    from tubelet.inference.listed_people import ListedPeople
    from tubelet.inference.people import PersonDetector
    from tubelet.inference.pipeline import Localiser

__version__ = "0.1.0"


def load(
    model: Path | str | None = None,
    *,
    task: str | None = None,
    people: "str | PersonDetector | ListedPeople" = "nanodet",
    person_threshold: float = PERSON_THRESHOLD,
    every_seconds: float = EVERY_SECONDS,
    detect_every: int | None = None,
    device: str | None = None,
) -> "Localiser":
    """Return what finds every person in a video, follows them and says what each does.

    Call it with a video: ``for moment in tubelet.load("run")("street.mp4"): ...``; a moment has the time, boxes,
    identities and scores (``types.ActionDetections``) and comes as soon as the frames it needs have been read.

    Args:
        model: Run folder of a model with a localisation head, or a graph of one (``tubelet export``); None = the model
            that ships (``docs/model-card.md``).
        task: Which localisation head; default: the first.
        people: Name of a person detector (``inference.detectors.open_people``), or one of your own.
        person_threshold: A person box at least this confident starts a tube; weaker ones may continue one.
        every_seconds: Time between the instants at which actions are scored.
        detect_every: People are looked for at least at every n-th frame of the video, and at every scored instant;
            between, their boxes move evenly. None = five times a second, which follows best.
        device: cpu, cuda; default: a GPU if there is one.

    Raises:
        InputError: The folder holds no such model, or the name no detector.
    """
    # Here, so that importing Tubelet stays quick.
    from tubelet.inference.detectors import open_people
    from tubelet.inference.graphs import GRAPH_SUFFIXES, GraphActionModel
    from tubelet.inference.pipeline import Localiser
    from tubelet.inference.shipped import SHIPPED_MODEL
    from tubelet.inference.tubes import link_from
    from tubelet.models.precision import pick_device
    from tubelet.models.saved import load_model
    from tubelet.types import InputError

    link, torch_device = link_from(person_threshold), pick_device(device)
    if isinstance(people, str):
        people = open_people(people, threshold=link.keep_score, device=torch_device)
    folder = SHIPPED_MODEL if model is None else Path(model)
    is_graph = folder.suffix in GRAPH_SUFFIXES
    if not is_graph and not folder.is_dir():
        raise InputError(f"{folder}: not a run folder, nor a graph that ends in {' or '.join(GRAPH_SUFFIXES)}")
    return Localiser(
        GraphActionModel(folder, device=torch_device) if is_graph else load_model(folder),
        task=task,
        people=people,
        link=link,
        every_seconds=every_seconds,
        detect_every=detect_every,
        device=torch_device,
    )
