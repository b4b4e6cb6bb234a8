"""What can go wrong in a lab, by name; each states the end that the product owes.

A fault is only written down here; the program that it concerns asks for it at the right moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upgrade_guard.errors import UsageProblem
from upgrade_guard.lab.layout import Layout, write_json


@dataclass(frozen=True)
class Fault:
    """`summary` says what breaks, `ends` the end state and the exit code in words. `once`: it fires a single time, else
    it lasts until it is switched off (or until what it hangs on, such as a version, is gone).
    """

    name: str
    summary: str
    ends: str
    once: bool = True


_BEFORE = "nothing was changed"
FAULTS: tuple[Fault, ...] = (
    Fault(
        "snapshot-truncated",
        "The snapshot is cut in the middle after it was saved.",
        f"It is refused as soon as it is saved: exit 4, state inspected, {_BEFORE}; `resume` takes a new snapshot and "
        "completes.",
    ),
    Fault(
        "snapshot-flipped-byte",
        "One byte inside the saved snapshot is flipped; `snapshot status` does not notice.",
        f"It is refused as soon as it is saved: exit 4, state inspected, {_BEFORE}; `resume` takes a new snapshot and "
        "completes.",
    ),
    Fault(
        "offsite-copy-differs",
        "The off-site storage hands back other bytes than were written.",
        f"Reading the copy back finds it: exit 4, state inspected, {_BEFORE}; `resume` begins with a new snapshot.",
        once=False,
    ),
    Fault(
        "etcd-alarm",
        "etcd has raised a NOSPACE alarm.",
        f"The preflight refuses: exit 3, state started, {_BEFORE}.",
        once=False,
    ),
    Fault(
        "certificate-expired",
        "The API server's certificate on the first control plane has expired.",
        f"The preflight refuses: exit 3, state started, {_BEFORE}.",
        once=False,
    ),
    Fault(
        "plan-refuses",
        "`kubeadm upgrade plan` refuses the version.",
        f"Its kubeadm is asked before it is installed: exit 4, state copied, {_BEFORE}; `resume` asks again.",
        once=False,
    ),
    Fault(
        "package-missing",
        "The target's kubelet package is not in the repository.",
        f"It is found out before the gate: exit 4, state copied, {_BEFORE}; `resume` goes on once it is there.",
        once=False,
    ),
    Fault(
        "image-missing",
        "The registry does not have an image of the target.",
        f"It is found out before the gate: exit 4, state copied, {_BEFORE}; `resume` goes on once it is there.",
        once=False,
    ),
    Fault(
        "apply-fails-before-change",
        "`kubeadm upgrade apply` fails in its health check, before it changes anything.",
        "It is tried once more; then packages go back: exit 7, state rolled-back; the data was never touched.",
        once=False,
    ),
    Fault(
        "apply-fails-once",
        "`kubeadm upgrade apply` gives up on the API server as on a machine that is too busy; the next one ends well.",
        "It is tried once more and the run goes on: exit 0, state completed.",
    ),
    Fault(
        "apply-fails-after-etcd",
        "`kubeadm upgrade apply` fails on the API server, after etcd was replaced; kubeadm leaves etcd new.",
        "It is tried once more; then everything goes back, data included, or that control plane alone where others "
        "serve: exit 7, state rolled-back.",
        once=False,
    ),
    Fault(
        "apply-hangs",
        "`kubeadm upgrade apply` never ends, after etcd was replaced.",
        "It runs into its time limit; everything goes back, data included, or that control plane alone where others "
        "serve: exit 7, state rolled-back.",
    ),
    Fault(
        "apiserver-never-ready",
        "The new API server crash-loops for ever on the first control plane.",
        "The crash loop is seen while kubeadm still waits; everything goes back, data included, or that control plane "
        "alone where others serve: exit 7, state rolled-back.",
        once=False,
    ),
    Fault(
        "second-apiserver-never-ready",
        "The new API server crash-loops for ever on the second control plane; it needs at least three control planes.",
        "That control plane goes back alone while the others serve: exit 6, state planned; without the fault `resume` "
        "completes.",
        once=False,
    ),
    Fault(
        "scheduler-crashes",
        "The new scheduler crash-loops on the first control plane, and `kubeadm upgrade apply` ends well all the same.",
        "The crash loop is seen after kubeadm has ended; everything goes back, data included: exit 7, state "
        "rolled-back.",
        once=False,
    ),
    Fault(
        "kubelet-fails-control-plane",
        "The new kubelet does not come up on the first control plane.",
        "The old kubelet goes back, under the new control plane: exit 6, state planned; without the fault `resume` "
        "completes.",
        once=False,
    ),
    Fault(
        "kubelet-fails-worker",
        "The new kubelet does not come up on the first worker.",
        "That worker goes back to the old version and takes pods again: exit 6, state control-plane-upgraded.",
        once=False,
    ),
    Fault(
        "machine-lost",
        "The machine of the last control plane dies when `kubeadm upgrade node` begins on the second one; it needs at "
        "least three control planes.",
        "The run stops and says which machine cannot be reached: exit 4, state planned; once the fault is switched "
        "off, the machine is back and `resume` completes.",
    ),
    Fault(
        "drain-blocked",
        "A PodDisruptionBudget allows no eviction of the shop's pods, for ever.",
        "The drain runs into its time limit, the worker takes pods again: exit 6, state control-plane-upgraded.",
        once=False,
    ),
    Fault(
        "workload-broken",
        "The shop's ledger does not start any more once every node runs the new version.",
        "The verification sees it; the cluster serves, so a person decides: exit 6, state nodes-upgraded.",
        once=False,
    ),
    Fault(
        "restore-fails-once",
        "The first real restore of etcd (not the one of the proof) dies half-way and leaves a partial directory.",
        "Only in a rollback: the partial directory goes aside, the restore is done again: exit 7, state rolled-back.",
    ),
    Fault(
        "restore-fails",
        "Every real restore of etcd (not the one of the proof) dies half-way.",
        "Only in a rollback: it stops with exit 8, state rollback-failed; without the fault `resume` ends with exit 7.",
        once=False,
    ),
)
NAMES = tuple(fault.name for fault in FAULTS)


def named(name: str) -> Fault:
    """The fault of that name. Raises UsageProblem."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise UsageProblem(f"there is no fault {name!r}", hint=f"choose one of: {', '.join(NAMES)}")


def _read(layout: Layout) -> dict[str, dict[str, Any]]:
    try:
        read: dict[str, dict[str, Any]] = json.loads(layout.faults.read_text())
    except FileNotFoundError:
        return {}
    return read


def arm(directory: Path, name: str) -> None:
    """Write down that a fault is on, as if it had never fired."""
    layout = Layout(directory)
    write_json(layout.faults, {**_read(layout), name: {"fired": 0}})


def disarm(directory: Path, name: str) -> None:
    """Write down that it is off."""
    layout = Layout(directory)
    write_json(layout.faults, {key: value for key, value in _read(layout).items() if key != name})


def armed(directory: Path) -> tuple[str, ...]:
    """The faults that are on, in the order of FAULTS."""
    read = _read(Layout(directory))
    return tuple(name for name in NAMES if name in read)


def is_on(directory: Path, name: str) -> bool:
    """Would it strike now? Asks without using it up."""
    state = _read(Layout(directory)).get(name)
    return state is not None and not (state["fired"] and named(name).once)


def fires(directory: Path, name: str) -> bool:
    """Does it strike now? A fault that strikes once is used up by this. Call it under the lab's lock."""
    if not is_on(directory, name):
        return False
    layout = Layout(directory)
    read = _read(layout)
    read[name]["fired"] += 1
    write_json(layout.faults, read)
    return True
