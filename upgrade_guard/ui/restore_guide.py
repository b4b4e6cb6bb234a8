"""How to go back to a run's snapshot later: exact commands, from what the run recorded."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from upgrade_guard.model.run import Outcome, SnapshotRecord
from upgrade_guard.model.step_results import SAVED
from upgrade_guard.ui.tables import Story
from upgrade_guard.ui.vocabulary import visible

_FRESH = "/var/lib/etcd-restored"
_TOKEN = "restored-by-hand"  # noqa: S105 - it tells two clusters apart and opens nothing


@dataclass(frozen=True)
class RestoreOption:
    """One thing to do, in words and as lines to paste. A name with a line's end in it does not begin another line."""

    title: str
    words: str
    lines: tuple[str, ...]


def ways(story: Story, pasteable: Callable[[str], str]) -> tuple[RestoreOption, ...]:
    """From finding the bundle to bringing etcd back; empty when the run took no snapshot."""
    if not story.snapshots:
        return ()
    snapshot = story.snapshots[-1]
    found = [_look(snapshot), _with_upgrade_guard(story, snapshot, pasteable), *_copies(story, snapshot)]
    members = _result(story, SAVED).get("members") or []
    if members:
        found.append(_by_hand(story, members))
    return tuple(replace(way, lines=tuple(_one_line(line) for line in way.lines)) for way in found)


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n")


def _look(snapshot: SnapshotRecord) -> RestoreOption:
    return RestoreOption(
        "Is the bundle what it was?",
        "In the vault of the machine that ran upgrade-guard. Both lines must end in OK.",
        (
            f"cd {shlex.quote(snapshot.path)}",
            f"echo {shlex.quote(f'{snapshot.snapshot_sha256}  snapshot.db')} | sha256sum --check",
            f"echo {shlex.quote(f'{snapshot.manifest_sha256}  manifest.json')} | sha256sum --check",
        ),
    )


def _with_upgrade_guard(story: Story, snapshot: SnapshotRecord, pasteable: Callable[[str], str]) -> RestoreOption:
    name = story.run.cluster or "NAME"
    command = f"upgrade-guard restore {shlex.quote(snapshot.bundle)} --confirm-cluster {shlex.quote(name)}"
    words = (
        "Proves the bundle again, then stops every control plane, moves etcd's data aside and puts the bundle's in its "
        "place. What was written since the snapshot is lost. On a terminal, leave --confirm-cluster out to be asked."
    )
    return RestoreOption("Bring the cluster back to it", words, (pasteable(command),))


def _copies(story: Story, snapshot: SnapshotRecord) -> list[RestoreOption]:
    there = [copy for copy in story.copies if copy.bundle == snapshot.bundle and copy.read_back]
    if not there:
        return []
    words = "If the vault is lost: these copies were read back equal, and `upgrade-guard restore` takes them too."
    return [RestoreOption("Where else is it?", words, tuple(dict.fromkeys(copy.location for copy in there)))]


def _by_hand(story: Story, members: list[Mapping[str, Any]]) -> RestoreOption:
    voting = [member for member in members if not member.get("is_learner")]
    cluster = ",".join(f"{member['name']}={url}" for member in voting for url in member["peer_urls"])
    programs: Mapping[str, str] = _result(story, "inspect/etcd-tools").get("directories") or {}
    lines = []
    for member in voting:
        program = f"{programs[member['name']]}/etcdutl" if member["name"] in programs else "etcdutl"
        argv = (
            *(program, "snapshot", "restore", "snapshot.db", f"--data-dir={_FRESH}", f"--name={member['name']}"),
            f"--initial-cluster={cluster}",
            f"--initial-advertise-peer-urls={','.join(member['peer_urls'])}",
            f"--initial-cluster-token={_TOKEN}",
        )
        lines += [f"# on {member['name']}", shlex.join(argv)]
    words = (
        "The last resort, without upgrade-guard. First bring every control plane to rest: stop kubelet, move the "
        "static pod manifests away, stop the containers, and see that no etcd runs; stopping kubelet alone stops "
        "nothing else. Then restore the same snapshot.db on every control plane, move the old data directory aside, "
        f"put {_FRESH} in its place, put manifests and packages of the old version back from the bundle, and start "
        "kubelet everywhere."
    )
    return RestoreOption("Restore by hand", words, tuple(lines))


def _result(story: Story, step: str) -> Mapping[str, Any]:
    found = [row.result for row in story.steps if row.name == step and row.outcome is Outcome.SUCCEEDED]
    return found[-1] if found else {}
