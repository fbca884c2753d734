"""Commands that serve a page until they are stopped."""

import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(command: Sequence[str], cwd: Path) -> Iterator[str]:
    """Run a command on any free port; give its address. It is stopped as Ctrl-C does, and must say that all is well."""
    words = [word for word in command if not word.isdigit() and word != "--port"]
    words[0] = str(Path(sys.executable).with_name(words[0])) if words[0] == "tubelet" else words[0]
    process = subprocess.Popen([*words, "--port", "0"], cwd=cwd, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None, f"{shlex.join(command)} did not start"
        yield address[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(address: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
