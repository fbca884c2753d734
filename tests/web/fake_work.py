"""Stands for the process that works on a video: does what the upload says, at once and without imports."""

import json
import os
import sys
import time
from pathlib import Path


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


line = sys.stdin.readline()
if not line:
    sys.exit()
order = json.loads(line)
folder = Path(order["folder"])
text = (folder.parent / "upload").read_bytes()[:20].decode(errors="replace")
say(stage="looking", share=0.1)
if text.startswith("slow"):
    time.sleep(60)
while text.startswith("chatty"):
    say(stage="looking", share=0.2)
if text.startswith("mute"):
    os.close(1)
    time.sleep(60)
if text.startswith("odd"):
    say(outcome={"video": 3})
    sys.exit()
if text.startswith("crash"):
    os.abort()
if text.startswith("bad"):
    say(error="it is no video")
    sys.exit()
(folder / "results").mkdir()
(folder / "results/seen.json").write_text(json.dumps({"of": text}))
(folder / "film.mp4").write_bytes(b"0123456789")
facts = {"duration_seconds": 1.0, "width": 4, "height": 3, "fps": 10.0}
counts = {"num_people": 0, "num_moments": 0, "num_left_out": 0}
result = {"format": "json", "path": "results/seen.json", "num_bytes": (folder / "results/seen.json").stat().st_size}
outcome = {"video": "film.mp4", "media_type": "video/mp4", **facts, **counts, "files": [result]}
(folder / "outcome.json").write_text(json.dumps(outcome))
say(outcome=outcome)
