"""A headless Chromium led over its DevTools pipe: no driver, no port, no package."""

import base64
import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)
PATIENCE_SECONDS = 60.0
VIDEOS = """
[...document.querySelectorAll('video')].map((v) => [v.currentTime, v.seeking, v.readyState, v.networkState,
  v.error?.message ?? ''].join(' ')).join('; ')
"""


def chromium() -> str:
    """The browser; without one the test is skipped where the system has none, else it fails."""
    found = shutil.which("chromium")
    if os.environ.get("TUBELET_WITHOUT_BROWSER"):
        pytest.skip("this system has no chromium, as .ci/run has said")
    if found is None:
        pytest.fail("chromium is missing; on Debian: apt-get install chromium")
    return found


class Browser:
    """One browser with one page; what the page logs and asks for is kept."""

    def __init__(self, folder: Path, *, size: tuple[int, int] = (1280, 900)) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The browser reads descriptor 3 and writes 4.
        moved = f'exec {chromium()} "$@" 3<&{to_browser} 4>&{from_browser}'
        command = ["bash", "-c", moved, "chromium", *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._in, selectors.EVENT_READ)
        self._data, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        self.session = ""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True)
        self.resize(*size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._selector.close()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser; events that come before the answer are kept."""
        self._number += 1
        session = {"sessionId": self.session} if self.session else {}
        message = {"id": self._number, "method": method, "params": parameters, **session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            found = self._next(end)
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found}"
                return found["result"]
            self.events.append(found)
        raise TimeoutError(method)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._data:
            if not self._selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError("the browser says nothing")
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._data += data
        message, _, self._data = self._data.partition(b"\0")
        return json.loads(message)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait until an expression is true; return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()")
            if value:
                return value
            time.sleep(0.05)
        said = self.js("document.body.innerText")[:600]
        raise AssertionError(f"never true: {expression}; videos: {self.js(VIDEOS)}; the page says: {said}")

    def choose_file(self, selector: str, path: Path) -> None:
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drag(self, x: float, y: float, *paths: Path) -> None:
        """Drag files from outside over a place of the page."""
        self._dragged(("dragEnter", "dragOver"), x, y, paths)

    def drop(self, x: float, y: float, *paths: Path) -> None:
        """Drag files from outside over a place of the page, and let them go there."""
        self._dragged(("dragEnter", "dragOver", "drop"), x, y, paths)

    def _dragged(self, kinds: tuple[str, ...], x: float, y: float, paths: tuple[Path, ...]) -> None:
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in kinds:
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def move(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip

    def colours(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """Errors of scripts, of the page's policy and of the network, and warnings."""
        self.js("1")
        found = []
        for event in self.events:
            if "Multiple readback operations" in json.dumps(event):
                continue  # of what tests look at on the canvas
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]["exceptionDetails"])[:600])
            if event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(json.dumps(event["params"]["args"])[:600])
            if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(json.dumps(event["params"]["entry"])[:600])
        return found

    def asked(self) -> list[str]:
        """Every address the page has asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
