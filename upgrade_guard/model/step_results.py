"""The names of steps and what their results say: nobody else takes a name apart or knows the keys of a result.

Names and keys are public: they stand in the journal and in `show --json`, so they stay as they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.step import Facts

CLUSTER = "inspect/cluster"
BASELINE = "inspect/baseline"
CHECKS = "inspect/checks"
SAVED = "snapshot/save"
PUBLISHED = "snapshot/publish"
PROVEN = "prove/snapshot"
KUBEADM_PLAN = "plan/kubeadm-plan"
COUNTED = "copy/enough"
GIVEN_BUNDLE = "restore/bundle"
DRILLED = "drill/restore"

ROLLBACK, RESTORE = "rollback", "restore"
KUBEADM_WORK = ("apply", "upgrade-node")
"""The work in which kubeadm changes a node."""
ALONE = "alone"
PUT_BACK = "put-back"


@dataclass(frozen=True)
class StepName:
    """`STAGE/WORK`, or `STAGE/NODE/WORK` with `within` between them where a step belongs to a way back inside of a
    stage (`nodes/w1/put-back/files`). `node` is "" for a step that is not about one node.
    """

    stage: str
    node: str
    within: str
    work: str

    @classmethod
    def of(cls, text: str) -> StepName:
        """The parts of a name."""
        stage, *rest = text.split("/")
        if text.startswith(_FILES_OF):
            return cls(stage, rest[-1], "", "files")
        if len(rest) < len(("node", "work")):
            return cls(stage, "", "", "/".join(rest))
        return cls(stage, rest[0], "/".join(rest[1:-1]), rest[-1])


_FILES_OF = f"{SAVED.partition('/')[0]}/files/"  # the one kind of name whose node is at its end


APPROVE_PLAN, APPROVE_RESTORE = "plan/approve", "restore/approve"
QUESTIONS = frozenset({APPROVE_PLAN, APPROVE_RESTORE})
"""Steps that wait for a person's answer."""


def files_of(node: str) -> str:
    """The step that saves the files of that control plane."""
    return f"{_FILES_OF}{node}"


def copy_to(number: int) -> str:
    """The step that copies to the target with that number, from 1."""
    return f"copy/{number}"


def of_node(stage: str, node: str, work: str) -> str:
    """The step of that work on that node."""
    return f"{stage}/{node}/{work}"


def known_cluster(facts: Facts) -> Cluster | None:
    """The cluster as it was inspected; None before, and where another version wrote what this one does not know."""
    from upgrade_guard.model.codec import Misfit, from_json  # late: commands that need no cluster start quickly

    try:
        return from_json(Cluster, facts.of(CLUSTER)) if facts.has(CLUSTER) else None
    except Misfit:
        return None


@dataclass(frozen=True)
class Saved:
    """The snapshot that etcdctl wrote. `source` is the node whose member was asked, `sha256` of the snapshot file."""

    source: str
    sha256: str
    size: int
    revision: int
    taken_at: datetime


def saved(facts: Facts) -> Saved:
    """What `snapshot/save` left. Raises KeyError before that."""
    result = facts.of(SAVED)
    return Saved(
        result["source"],
        result["sha256"],
        result["size"],
        result["revision"],
        datetime.fromisoformat(result["taken_at"]),
    )


@dataclass(frozen=True)
class CopyMade:
    """One copy at a target, or why there is none (`why`, where it was not read back)."""

    target: str
    read_back: bool
    off_control_plane: bool
    why: str


def copies_made(facts: Facts) -> tuple[CopyMade, ...]:
    """What became of each copy of this run."""
    names = [name for name in facts.results if StepName.of(name).stage == "copy" and name != COUNTED]
    found = (facts.of(name) for name in names)
    return tuple(
        CopyMade(one["target"], one["read_back"], one["off_control_plane"], one.get("why", "")) for one in found
    )


def first_of_each_node(facts: Facts, key: str, stages: tuple[str, ...] = ()) -> dict[str, str]:
    """By node, the first text that a step of it left under `key`; only of these stages where some are named."""
    found: dict[str, str] = {}
    for text, result in facts.results.items():
        name = StepName.of(text)
        if key in result and name.node and (not stages or name.stage in stages):
            found.setdefault(name.node, str(result[key]))
    return found


def kept_of_before(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What a way back kept of the state that it took back: what it is, and where."""
    found = []
    for text, result in results.items():
        name = StepName.of(text)
        if name.stage not in (ROLLBACK, RESTORE):
            continue
        if aside := result.get("aside"):
            found.append((f"etcd's data as it was before, on {name.node}", str(aside)))
        if (directory := result.get("directory")) and result.get("kept"):
            found.append(("logs of that state", str(directory)))
        if listed := result.get("list"):
            found.append(("what was taken back, object by object", str(listed)))
        if name.work == "snapshot" and (path := result.get("path")):
            found.append((f"the snapshot that was restored, in the clear, on {name.node}", str(path)))
        if result.get("snapshot"):
            found.append((f"a last snapshot of that state, on {name.node}", str(result["snapshot"])))
    return found


def left_on_node(
    name: StepName, result: Mapping[str, Any], settings: NodeSettings, run_id: str
) -> tuple[str, str] | None:
    """The path on its node of what that step left there, and how it came there; None for a step that leaves nothing."""
    match name:
        case StepName(work="files" | "manifests"):
            return f"{settings.work_dir}/aside-{run_id}", "files moved aside"
        case StepName(within=within) if within:
            return None
        case StepName(stage="keep", work="packages"):
            return f"{settings.work_dir}/packages-{run_id}", "the packages of before"
        case StepName(stage="stage", work="packages") if result.get("directory"):
            return str(result["directory"]), "the packages of the target"
        case StepName(stage="rollback" | "restore", work="kubelet-restart"):
            return f"{settings.work_dir}/kubelet-restarted-{run_id}", "a note left"
        case StepName(work="stop-kubelet"):
            return f"{settings.kubernetes_dir}/upgrade-guard-stopped-{run_id}", "manifests moved aside"
        case StepName(work="swap"):
            return str(result["aside"]), "moved aside"
        case StepName(work="snapshot") if result.get("path"):
            return posixpath.dirname(str(result["path"])), "a snapshot left"  # a directory of that run alone
        case StepName(work="evidence") if result.get("snapshot"):
            return str(result["snapshot"]), "a snapshot left"
    return None


def chosen_way(step: str, result: Mapping[str, Any]) -> str:
    """Which way back a rollback chose, and why; "" for every other step."""
    path, why = result.get("path"), result.get("why")
    return f"{path}, because {why}" if StepName.of(step).work == "path" and path and why else ""
