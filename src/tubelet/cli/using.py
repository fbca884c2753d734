"""Commands that use a trained model, or say what a thing is."""

from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from tubelet.cli.places import check_file, check_folder
from tubelet.defaults import CSV_THRESHOLD, EVERY_SECONDS, PERSON_THRESHOLD
from tubelet.types import Crops, InputError


def localise(
    videos: Positional[tuple[str, ...]],
    *,
    model: Path | None = None,
    out: Path = Path("out/localise"),
    task: str | None = None,
    people: str = "nanodet",
    person_threshold: float = PERSON_THRESHOLD,
    every_seconds: float = EVERY_SECONDS,
    detect_every: int | None = None,
    threshold: float | None = None,
    csv_threshold: float = CSV_THRESHOLD,
    also: tuple[str, ...] = (),
    strip: bool = False,
    seconds: float | None = None,
    device: str | None = None,
) -> None:
    """Find every person in raw videos, follow them, and say what each does: annotated mp4, AVA csv and JSON.

    A camera or stream is worked on as it comes, until it ends, ``--seconds`` have passed or Ctrl-C; it gives no mp4.

    Args:
        videos: Video files, folders of them, cameras (0, /dev/video0) or streams (rtsp://, http://, udp://, ...).
        model: Run folder of a model with a localisation head, or what ``tubelet export`` made of one; default: the one
            that ships with Tubelet.
        out: Folder for the results, one set of files a video.
        task: Which localisation head; default: the first.
        people: Person detector: nanodet, yolox:FILE.onnx, rt-detr:FILE.onnx, ssd:FILE.onnx, ssd-tensorflow:FILE.onnx,
            transformers:FOLDER, torchvision:NAME, or boxes that are there already: csv:FILE.
        person_threshold: A person box at least this confident starts a tube; weaker ones may continue one.
        every_seconds: Time between the instants at which actions are scored.
        detect_every: People are looked for at least at every n-th frame of the video, and followed between; default:
            five times a second.
        threshold: Actions below this score are not drawn, nor in captions or COCO; default: what was chosen for each
            class on validation. The JSON holds all scores, smoothed along each person.
        csv_threshold: Scores below this are left out of the AVA csv.
        also: Other formats to write: parquet, vtt, srt, coco, cvat, fiftyone.
        strip: Draw who did what in the last ten seconds below the picture, a lane a person.
        seconds: How long to listen to a camera or stream; default: until it ends.
        device: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet import load
    from tubelet.cli.localising import Options, check_places, found_in, localise_places

    check_folder("--out", out)
    places = found_in(videos)
    check_places(places, out, seconds)
    localiser = load(
        model,
        task=task,
        people=people,
        person_threshold=person_threshold,
        every_seconds=every_seconds,
        detect_every=detect_every,
        device=device,
    )
    options = Options(
        out=out, threshold=threshold, csv_threshold=csv_threshold, also=also, strip=strip, seconds=seconds
    )
    localise_places(localiser, places, options)


def classify(
    videos: Positional[tuple[Path, ...]],
    *,
    model: Path | None = None,
    task: str | None = None,
    num_views: int = 10,
    crops: Crops = "centre",
    top: int = 5,
    device: str | None = None,
) -> None:
    """Say what happens in whole videos.

    Args:
        videos: Video files.
        model: Run folder of a model with a classification head; default: the one that ships with Tubelet.
        task: Which classification head; default: the first.
        num_views: Clips a video, spread evenly, whose scores are averaged; 1 = its middle alone.
        crops: Shown of a frame larger than the model's square: its centre, three squares (averaged) or whole.
        top: How many classes to print.
        device: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet.inference.classify import classify as classify_video
    from tubelet.inference.shipped import SHIPPED_MODEL
    from tubelet.models.precision import pick_device
    from tubelet.models.saved import load_model

    loaded = load_model(SHIPPED_MODEL if model is None else model, device=pick_device(device))
    name = loaded.task_of_kind("classify", task)
    names = loaded.label_spaces[name].names
    for video in videos:
        scores = classify_video(video, loaded, task=name, num_views=num_views, crops=crops)
        best = sorted(range(len(names)), key=lambda k: -float(scores[k]))[:top]
        print(f"{video}: " + ", ".join(f"{names[k]} {float(scores[k]):.3f}" for k in best))


def export(
    model: Positional[Path | None] = None, *, onnx: Path | None = None, pt2: Path | None = None, task: str | None = None
) -> None:
    """Write a model with its localisation head as a graph that runs without Tubelet; localise runs from it too.

    Args:
        model: Run folder; default: the model that ships with Tubelet.
        onnx: File to write as ONNX, for onnxruntime and others; ends in .onnx.
        pt2: File to write as a package of ``torch.export``; ends in .pt2.
        task: Which localisation head; default: the first.
    """
    from tubelet.inference.graphs import export_graph
    from tubelet.inference.shipped import SHIPPED_MODEL
    from tubelet.models.saved import load_model

    wanted = [(path, suffix) for path, suffix in ((onnx, ".onnx"), (pt2, ".pt2")) if path is not None]
    if not wanted:
        raise InputError("nothing to write; expected --onnx FILE.onnx or --pt2 FILE.pt2")
    for path, suffix in wanted:
        if path.suffix != suffix:
            raise InputError(f"--{suffix[1:]} {path}: expected a file that ends in {suffix}")
        check_file(f"--{suffix[1:]}", path)
    loaded = load_model(SHIPPED_MODEL if model is None else model)
    for path, _ in wanted:
        export_graph(loaded, path, task=task)
        print(path)


def search(
    folder: Positional[Path],
    action: Positional[str],
    *,
    min_score: float | None = None,
    top: int | None = None,
) -> None:
    """List the moments with an action in everything that ``tubelet localise`` wrote below a folder.

    Args:
        folder: Results of any number of videos.
        action: A class's name, or whole words of it.
        min_score: Smallest score that counts; default: the thresholds that each file has.
        top: Only so many moments, those with the best scores.
    """
    from rich.table import Table

    from tubelet.inference.search import search as search_results

    if top is not None and top < 1:
        raise InputError(f"--top is {top}, expected at least 1")

    found = search_results(folder, action, min_score=min_score)
    best = sorted(range(len(found.hits)), key=lambda i: -found.hits[i].score)[:top]
    table = Table("video", "from", "to", "person", "action", "score")
    for hit in (found.hits[i] for i in sorted(best)):
        who = "?" if hit.person_id < 0 else str(hit.person_id)
        times = (f"{hit.begin_seconds:.2f}", f"{hit.end_seconds:.2f}")
        table.add_row(hit.video, *times, who, hit.action, f"{hit.score:.2f}")
    if found.hits:
        Console(markup=False).print(table)
    files = "1 file" if found.num_files == 1 else f"{found.num_files:,} files"
    print(f"{len(best):,} of {len(found.hits):,} moments, {files}")


def info(what: Positional[tuple[str, ...]] = ()) -> None:
    """Describe run folders, manifests, videos or models (r2plus1d_34); without an argument, this installation."""
    from tubelet.describe import describe_installation, describe_thing

    console = Console(markup=False)
    if not what:
        describe_installation(console)
    for thing in what:
        describe_thing(thing, console)
