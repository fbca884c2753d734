"""The page that labels: pictures around a keyframe, the people found on it, and what is ticked for each."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TypeVar

from fastapi import FastAPI, HTTPException
from fastapi.responses import Response
from PIL import Image

from tubelet import __version__
from tubelet.inference.people import PersonDetector
from tubelet.inference.tubes import LinkConfig
from tubelet.types import InputError
from tubelet.video.convert import FrameSize
from tubelet.video.decode import read_frames
from tubelet.web.answers import answer_mistakes, refusals
from tubelet.web.app import add_pages
from tubelet.web.labelling import LabelKeyframe, Labelling, LabelVideo, find_all
from tubelet.web.serve import Address, listening, make_server

T = TypeVar("T")
PICTURES = 9
"""Shown around a keyframe, which is the middle one: a still seldom says what somebody does."""
PICTURE_SECONDS = 0.2
LONG_SIDE = 960
KEPT_KEYFRAMES = 6
"""Whose pictures stay in memory."""
PAGE_FILES = ("page.css", "label.css", "label.js", "server.js", "moments.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSummary:
    """A video in the list."""

    name: str
    num_keyframes: int | None
    """None = people have not been found yet."""
    num_labelled: int
    split: str
    error: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelInfo:
    """What there is to label."""

    actions: tuple[str, ...]
    videos: tuple[VideoSummary, ...]
    num_pictures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticks:
    """What is ticked on a keyframe."""

    actions: list[list[str]]
    """Of each person, in order."""
    done: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """What a video is used for."""

    split: str


def create_label_app(labelling: Labelling, failed: dict[str, str]) -> FastAPI:
    """Return the application; ``failed`` says why a video cannot be read and may grow meanwhile."""
    app = FastAPI(title="Tubelet, labelling", version=__version__, docs_url=None, redoc_url=None)
    answer_mistakes(app)
    add_pages(app, "label.html", PAGE_FILES, places=("/",))
    _add_labels(app, labelling, failed)
    _add_pictures(app, labelling)
    return app


def _add_labels(app: FastAPI, labelling: Labelling, failed: dict[str, str]) -> None:
    @app.get("/api/labels")
    def info() -> LabelInfo:
        """List actions and videos, with how far each is."""
        summaries = tuple(_summary(name, labelling.video(name), failed) for name in labelling.videos)
        return LabelInfo(actions=labelling.space.names, videos=summaries, num_pictures=PICTURES)

    @app.get("/api/labels/{name}", responses=refusals(404, 422))
    def video(name: str) -> LabelVideo:
        """Return the keyframes of a video with people and ticks."""
        return _known(labelling, name)

    @app.put("/api/labels/{name}", responses=refusals(400, 422))
    def move(name: str, wanted: Move) -> VideoSummary:
        """Use a video for training or validation."""
        _refusing(lambda: labelling.move(name, wanted.split))
        return _summary(name, labelling.video(name), failed)

    @app.put("/api/labels/{name}/{keyframe}", responses=refusals(400, 422))
    def tick(name: str, keyframe: int, ticks: Ticks) -> LabelKeyframe:
        """Replace what is ticked on a keyframe; the csv files are written."""
        return _refusing(lambda: labelling.tick(name, keyframe, ticks.actions, done=ticks.done))


def _add_pictures(app: FastAPI, labelling: Labelling) -> None:
    @lru_cache(maxsize=KEPT_KEYFRAMES)
    def pictures(name: str, keyframe: int) -> tuple[bytes, ...]:
        middle = _known(labelling, name).keyframes[keyframe].pts_seconds
        times = [max(0.0, middle + (i - PICTURES // 2) * PICTURE_SECONDS) for i in range(PICTURES)]
        clip = read_frames(labelling.videos[name], times, size=FrameSize(long_side=LONG_SIDE, shrink_only=True))
        return tuple(_jpeg(Image.fromarray(frame.permute(1, 2, 0).numpy())) for frame in clip.frames)

    @app.get("/api/labels/{name}/{keyframe}/{picture}.jpg", responses=refusals(400, 404, 422), response_class=Response)
    def picture(name: str, keyframe: int, picture: int) -> Response:
        """Return one of the pictures around a keyframe."""
        known = _known(labelling, name)
        if not (0 <= keyframe < len(known.keyframes) and 0 <= picture < PICTURES):
            raise HTTPException(404, "no such picture")
        data = _refusing(lambda: pictures(name, keyframe))[picture]
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _known(labelling: Labelling, name: str) -> LabelVideo:
    video = labelling.video(name)
    if video is None:
        raise HTTPException(404, f"no video {name!r}, or its people have not been found yet")
    return video


def _summary(name: str, video: LabelVideo | None, failed: dict[str, str]) -> VideoSummary:
    if video is None:
        return VideoSummary(name=name, num_keyframes=None, num_labelled=0, split="", error=failed.get(name, ""))
    labelled = sum(keyframe.counts for keyframe in video.keyframes)
    return VideoSummary(name=name, num_keyframes=len(video.keyframes), num_labelled=labelled, split=video.split)


def _refusing(call: Callable[[], T]) -> T:
    try:
        return call()
    except InputError as error:
        raise HTTPException(400, str(error)) from None


def _jpeg(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="jpeg", quality=85)
    return buffer.getvalue()


def serve_labelling(
    labelling: Labelling,
    detector: PersonDetector,
    *,
    link: LinkConfig,
    address: Address,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until it is stopped; people are found meanwhile, and followed as ``link`` says.

    Raises:
        InputError: The address cannot be used.
    """
    failed: dict[str, str] = {}
    stopping = threading.Event()

    def note(name: str, reason: str) -> None:
        failed[name] = reason
        say(f"left out: {reason}")

    finder = threading.Thread(
        target=find_all,
        args=(labelling, detector),
        kwargs={"link": link, "stop": stopping.is_set, "on_failed": note},
        name="tubelet-people",
    )
    with listening(address) as listener:
        finder.start()
        try:
            say(f"open {address.url(listener.getsockname()[1])}   (Ctrl-C stops)")
            make_server(create_label_app(labelling, failed), address).run(sockets=[listener])
        except KeyboardInterrupt:  # how a server is stopped
            pass
        finally:
            stopping.set()
            finder.join()
    say(f"labels: {labelling.out}")
