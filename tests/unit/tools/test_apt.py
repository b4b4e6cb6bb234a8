"""apt beside another package program, and after one that was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import CommandFailed
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.tools.apt import Apt

LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)\n"
ARCHIVES = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 812 (unattended-upgr)\n"
INTERRUPTED = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.\n"


class Node(ScriptedHost):
    """apt-get says these things, one after the other, and then ends well."""

    def __init__(self, *said: str) -> None:
        super().__init__("cp1")
        self.said = list(said)
        self.ran: list[tuple[str, ...]] = []

    def run(self, command: Command) -> Result:
        self.ran.append(tuple(word for word in command.argv if word in ("update", "install", "dpkg", "--configure")))
        if "apt-get" in command.argv and self.said:
            return Result(100, "", self.said.pop(0))
        return Result(0, "", "")


class Recorded(LocalHost):
    """This machine, where apt is not run."""

    def __init__(self) -> None:
        super().__init__("cp1")
        self.asked: list[tuple[str, ...]] = []

    def run(self, command: Command) -> Result:
        self.asked.append(command.argv)
        return Result(0, "", "") if {"apt-get", "apt-cache"} & set(command.argv) else super().run(command)


@pytest.mark.parametrize("lock", [LISTS, ARCHIVES])
def test_a_lock_that_apt_does_not_wait_for_is_waited_for(lock: str) -> None:
    node, paused = Node(lock, lock, lock), []
    Apt(node, NodeSettings(), pause=paused.append).update()
    assert node.ran == [("update",)] * 4
    assert len(paused) == 3


def test_the_wait_for_a_lock_ends() -> None:
    node, paused = Node(*[LISTS] * 1000), []
    with pytest.raises(CommandFailed, match="lists/lock") as failed:
        Apt(node, NodeSettings(), pause=paused.append).update()
    assert "resume" in failed.value.hint
    assert sum(paused) == 600


def test_an_interrupted_dpkg_is_repaired_once() -> None:
    node = Node(INTERRUPTED)
    Apt(node, NodeSettings()).install({"kubelet": "1.28.0-1.1"})
    assert node.ran == [("install",), ("dpkg", "--configure"), ("install",)]
    with pytest.raises(CommandFailed, match="dpkg was interrupted"):
        Apt(Node(INTERRUPTED, INTERRUPTED), NodeSettings()).install({"kubelet": "1.28.0-1.1"})


def test_another_failure_is_told_at_once() -> None:
    node = Node("E: Unable to locate package kubelet\n")
    with pytest.raises(CommandFailed, match="Unable to locate"):
        Apt(node, NodeSettings()).update()
    assert node.ran == [("update",)]


def test_apt_beside_has_sources_lists_and_archives_of_its_own(tmp_path: Path) -> None:
    """Whatever apt-get and apt-cache are asked there, nothing of the node's own apt is named."""
    directory = tmp_path / "staged" / "r1"
    node = Recorded()
    apt = Apt(node, NodeSettings()).beside(str(directory))
    apt.prepare("kubernetes.list", "deb file:/repository/v1.28 ./\n")
    assert (directory / "sources" / "kubernetes.list").read_text() == "deb copy:/repository/v1.28 ./\n"
    for place in (directory.parent, directory, directory / "lists", directory / "cache" / "archives"):
        assert place.stat().st_mode & 0o777 == 0o755, "apt downloads as a user of its own"
    node.asked.clear()
    apt.update()
    apt.available("kubelet")
    apt.install({"kubelet": "1.28.0-1.1"}, download_only=True)
    own = {
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={directory}/sources",
        f"Dir::State::lists={directory}/lists",
        f"Dir::Cache={directory}/cache",
    }
    assert [own <= set(words) for words in node.asked] == [True] * 3
    assert "--download-only" in node.asked[-1]
