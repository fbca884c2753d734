"""What a server asks of the process that works on a video, and what it is told at the end."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What the one who starts the server chooses: the arguments of ``tubelet.load`` and ``localise_video``."""

    model: str | None
    task: str | None
    people: str
    person_threshold: float
    every_seconds: float
    detect_every: int | None
    threshold: float | None
    device: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be done."""

    folder: str
    """Where to write; the video is ``../upload`` of it."""
    name: str
    """What the video is called: the results are called like it."""
    choices: Choices
    max_seconds: float
    max_pixels: int
    max_frames: int
    max_memory_bytes: int
    max_file_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFile:
    """A result that can be downloaded."""

    format: str
    """``mp4``, ``csv``, ``json``, or a name of ``formats.FORMATS``."""
    path: str
    """Inside the job's folder of results."""
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How it ended: what the page needs to show the results."""

    video: str
    """What to play, inside the job's folder of results."""
    media_type: str
    duration_seconds: float
    width: int
    height: int
    fps: float
    num_people: int
    num_moments: int
    num_left_out: int
    """Scores below the csv's threshold, which the other files hold."""
    files: tuple[ResultFile, ...]
