"""Work for other processes: a job is a file to write, and one whose file it waits for first."""

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Write:
    """Writes a job's file."""

    folder: Path
    seconds: float = 60.0

    def __call__(self, job: tuple[str, str]) -> str:
        """Wait until there is a file of the second name, if it has one; write one of the first."""
        name, awaited = job
        until = time.monotonic() + self.seconds
        while awaited and not (self.folder / awaited).exists():
            if time.monotonic() > until:
                raise TimeoutError(f"{name} waited for {awaited}")
            time.sleep(0.01)
        (self.folder / name).touch()
        return name
