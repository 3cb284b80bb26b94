"""Drive headless Chromium over its DevTools pipe, enough to load a page and use it.

The pipe needs neither a driver nor a port: commands are written to file descriptor 3, answers and
events are read from 4, each a JSON text followed by a NUL byte.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_S = 120


def find() -> str | None:
    """Return the path of Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A browser tab."""

    def __init__(self, writer: int, reader: int) -> None:
        self.events: list[dict] = []
        self._writer, self._reader = writer, reader
        self._n_sent, self._held, self._session = 0, b"", None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict:
        """Send a command and wait for its answer."""
        self._n_sent += 1
        message = {"id": self._n_sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._n_sent:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait until it is complete."""
        self.send("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, after all queued work of the page."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def events_of(self, *methods: str) -> list[dict]:
        """Return the parameters of all events with one of these methods."""
        return [event["params"] for event in self.events if event["method"] in methods]

    def _next(self) -> dict:
        """Read one message; record events."""
        end_s = time.monotonic() + _TIMEOUT_S
        while b"\0" not in self._held:
            if not select.select([self._reader], [], [], max(0, end_s - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {_TIMEOUT_S} s")
            piece = os.read(self._reader, 1 << 20)
            if not piece:
                raise RuntimeError("Chromium has ended")
            self._held += piece
        text, _, self._held = self._held.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def open_browser(browser: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with a new profile, and stop it at the end."""
    (child_in, ours_out), (ours_in, child_out) = os.pipe(), os.pipe()
    options = [
        *["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        # No sandbox: in a container the user is root, and the page is ours.
        *["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"],
        *["--disable-background-networking", "--disable-component-update"],
    ]
    with (
        subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{child_in} 4>&{child_out}', browser, *options],
            pass_fds=(child_in, child_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        os.close(child_in)
        os.close(child_out)
        try:
            yield Page(ours_out, ours_in)
        finally:
            os.close(ours_out)
            os.close(ours_in)
            process.terminate()
