"""Commands that open a page in the browser."""

from dataclasses import replace
from pathlib import Path

from tyro.conf import Positional

from tubelet.cli.places import check_folder
from tubelet.defaults import EVERY_SECONDS, PERSON_THRESHOLD
from tubelet.types import InputError
from tubelet.web.limits import GIB, MIB, USUAL, Limits

NEEDS = 'tubelet {command} needs the extra "web": pip install "tubelet[web]"'


def serve(
    *,
    model: Path | None = None,
    out: Path = Path("out/serve"),
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    examples: Path | None = None,
    task: str | None = None,
    people: str = "nanodet",
    person_threshold: float = PERSON_THRESHOLD,
    every_seconds: float = EVERY_SECONDS,
    detect_every: int | None = None,
    threshold: float | None = None,
    device: str | None = None,
    max_mib: int = USUAL.max_bytes // MIB,
    max_minutes: float = USUAL.max_seconds / 60,
    max_megapixels: float = USUAL.max_pixels / 1e6,
    num_parallel: int = USUAL.num_parallel,
    keep_hours: float = USUAL.keep_seconds / 3600,
    job_minutes: float = USUAL.job_seconds / 60,
    job_gib: float = USUAL.job_bytes / GIB,
) -> None:
    """Serve a page: drop a video, watch it being looked at, see who does what, where and when.

    Args:
        model: Run folder of a model with a localisation head; default: the one that ships with Tubelet.
        out: Private folder of uploads, results and the queue; a later server with the same folder goes on with it.
        host: Address to listen on; one that others can reach wants a token.
        port: 0 = any that is free.
        token: At least 16 characters; default: none on this machine, otherwise a random one, which is printed.
        examples: Folder of videos (mp4, webm) to try; default: three that ship.
        task: Which localisation head; default: the first.
        people: Person detector, as of tubelet localise.
        person_threshold: A person box at least this confident starts a tube.
        every_seconds: Time between the instants at which actions are scored.
        detect_every: As of tubelet localise; default: people are looked for five times a second.
        threshold: Where the page's filter begins; default: what was chosen for each action on validation.
        device: cpu, cuda; default: a GPU if there is one.
        max_mib: Of an upload.
        max_minutes: Of a video.
        max_megapixels: Of a frame.
        num_parallel: Videos at work at the same time.
        keep_hours: A video and its results are removed after so long.
        job_minutes: Work on a video is ended after so long.
        job_gib: Memory that work on a video may take.
    """
    try:
        from tubelet.web.order import Choices
        from tubelet.web.serve import Address, serve_page
        from tubelet.web.work import open_localiser
    except ModuleNotFoundError as error:
        raise InputError(NEEDS.format(command="serve")) from error
    from tubelet.models.precision import pick_device

    if examples is not None and not examples.is_dir():
        raise InputError(f"{examples}: expected a folder of example videos")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold is {threshold}, expected 0 to 1")
    check_folder("--out", out)
    address = Address.choose(host, port, token)
    choices = Choices(
        model=None if model is None else str(model.resolve()),
        task=task,
        people=people,
        person_threshold=person_threshold,
        every_seconds=every_seconds,
        detect_every=detect_every,
        threshold=threshold,
        device=device,
    )
    # A mistake is told now, not to every visitor; without taking a GPU that the work on videos needs.
    pick_device(device)
    open_localiser(replace(choices, device="cpu"))
    serve_page(
        address=address,
        folder=out,
        choices=choices,
        model="that ships" if model is None else model.name,
        limits=Limits(
            max_bytes=max_mib * MIB,
            max_seconds=60 * max_minutes,
            max_pixels=round(1e6 * max_megapixels),
            num_parallel=num_parallel,
            keep_seconds=3600 * keep_hours,
            job_seconds=60 * job_minutes,
            job_bytes=round(job_gib * GIB),
        ),
        examples=examples,
    )


def label(
    videos: Positional[tuple[Path, ...]],
    *,
    out: Path,
    actions: tuple[str, ...] = (),
    every_seconds: float = 1.0,
    val_share: float = 0.25,
    people: str = "nanodet",
    person_threshold: float = 0.3,
    host: str = "127.0.0.1",
    port: int = 8081,
    token: str | None = None,
) -> None:
    """Open a page to tick what the people of your videos do; train.csv, val.csv and actions.pbtxt are AVA's layout.

    Args:
        videos: Video files.
        out: Folder of the labels; called again, labelling goes on there.
        actions: What can be ticked; default: as in the folder. New ones are put at the end.
        every_seconds: Time between the instants that are labelled.
        val_share: Of the videos, kept for validation.
        people: Person detector, as of tubelet localise.
        person_threshold: A person box at least this confident starts somebody who can be ticked; weaker ones may
            continue one.
        host: Address to listen on; one that others can reach wants a token.
        port: 0 = any that is free.
        token: At least 16 characters; default: none on this machine, otherwise a random one, which is printed.
    """
    try:
        from tubelet.web.label_app import serve_labelling
        from tubelet.web.labelling import Labelling
        from tubelet.web.serve import Address
    except ModuleNotFoundError as error:
        raise InputError(NEEDS.format(command="label")) from error
    from tubelet.inference.detectors import open_people
    from tubelet.inference.listed_people import ListedPeople
    from tubelet.inference.tubes import link_from

    link = link_from(person_threshold)
    labelling = Labelling(videos, out, actions=actions, every_seconds=every_seconds, val_share=val_share)
    detector = open_people(people, threshold=link.keep_score)
    if isinstance(detector, ListedPeople):
        raise InputError(f"--people {people} finds nobody; expected a detector")
    serve_labelling(labelling, detector, link=link, address=Address.choose(host, port, token))
