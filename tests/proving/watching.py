"""Watches a cluster from this machine, without a part in what happens there."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proving.cluster import ProvingNode

PACE = 0.2
"""Seconds between two questions to the API."""


@dataclass(frozen=True)
class Answer:
    """From `began` to `ended` (monotonic seconds) the API gave this answer; "" while it was away."""

    began: float
    ended: float
    version: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class ApiWatch:
    """Asks the API at an address five times a second whether it is ready, and which version it is.

    It is that of a control plane or of the balancer, which answers with any API server.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._changes: list[tuple[float, str]] = []
        self._until = 0.0

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    @property
    def answers(self) -> list[Answer]:
        """What it answered, one after the other."""
        ends = [at for at, _ in self._changes[1:]] + [self._until]
        return [Answer(at, end, version) for (at, version), end in zip(self._changes, ends, strict=True)]

    @property
    def away(self) -> list[float]:
        """How long it was away, each time, in seconds."""
        return [one.seconds for one in self.answers if not one.version]

    def back(self, version: str, since: float) -> float:
        """Seconds from `since` to the first answer of that version which came back after being away."""
        answers = self.answers
        for before, one in itertools.pairwise(answers):
            if one.version == f"v{version}" and not before.version and one.began > since:
                return one.began - since
        raise AssertionError(f"the API never came back as {version}")

    def _look(self) -> None:
        last = False
        while not last:
            last = self._ended.is_set()  # what is true when the watch ends is seen too
            version = ready_version(self._address)
            now = time.monotonic()
            if not self._changes or self._changes[-1][1] != version:
                self._changes.append((now, version))
            self._until = now
            self._ended.wait(PACE)


def ready_version(address: str) -> str:
    """The version of an API server that says that it is ready, as anyone may ask; "" otherwise."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, 6443, timeout=1.0, context=unverified)
    try:
        connection.request("GET", "/readyz")
        if connection.getresponse().read() != b"ok":
            return ""
        connection.request("GET", "/version")
        return str(json.loads(connection.getresponse().read())["gitVersion"])
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    finally:
        connection.close()


class CrashWatch:
    """Notes when the first container of `component` wrote the words with which a broken one ends.

    What an earlier one had written before this watch began does not count.
    """

    def __init__(self, node: ProvingNode, component: str, words: str) -> None:
        self.seen_at = 0.0
        self._node = node
        self._component = component
        self._words = words
        self._before: dict[int, int] = {}
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        for log in self._logs():
            found = log.stat()
            self._before[found.st_ino] = found.st_size
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    def _logs(self) -> list[Path]:
        name = self._component
        return list((self._node.root / "var/log/pods").glob(f"kube-system_{name}-*/{name}/*.log"))

    def _look(self) -> None:
        while not self.seen_at and not self._ended.wait(PACE):
            for log in self._logs():
                try:
                    written = log.read_bytes()[self._before.get(log.stat().st_ino, 0) :]
                except OSError:
                    continue  # kubelet has just removed it
                if self._words in written.decode(errors="replace"):
                    self.seen_at = time.monotonic()
