"""Machines that do not answer: who they are, and which nodes a rollback begins with, brings in later, or gives up."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from upgrade_guard.errors import DecisionNeeded, HostUnreachable
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.command import Command
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.model.step import Done, Facts, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.step_helpers import PACE, observation

SILENCE = 10.0
"""Seconds for which a machine is asked again before it counts as lost: a lost packet is no lost machine."""

LOOKS = 3
"""How often it is asked at least: one command that hangs may take all of that time."""

AT_ONCE = 16
"""How many machines are asked at the same time."""

ANSWERING = "rollback/answering"
BEHIND = "rollback/behind"


def silent(site: Site, nodes: Iterable[Node]) -> dict[str, str]:
    """Those of these nodes whose machine does not answer for SILENCE seconds, with the reason.

    All are asked at the same time: several that are lost take no longer than one.
    """
    asked = list(nodes)
    if len(asked) <= 1:
        reasons = [_silence_of(site, node) for node in asked]
    else:
        with ThreadPoolExecutor(min(len(asked), AT_ONCE)) as askers:
            waits = [askers.submit(contextvars.copy_context().run, _silence_of, site, node) for node in asked]
            reasons = [wait.result() for wait in waits]
    return {node.name: reason for node, reason in zip(asked, reasons, strict=True) if reason}


def answers_now(site: Site, node: Node) -> bool:
    """Does its machine run a program at the first asking?"""
    try:
        return site.on(node).host.run(_NOTHING).ok
    except HostUnreachable:
        return False


def refuse_lost(site: Site, nodes: Iterable[Node]) -> None:
    """Raises HostUnreachable that names every machine that is lost: what waits for it waits in vain."""
    lost = silent(site, nodes)
    if lost:
        raise lost_machines(lost)


def lost_machines(lost: Mapping[str, str]) -> HostUnreachable:
    """What is said of them; the engine adds the ways on."""
    names = ", ".join(lost)
    verb = "does" if len(lost) == 1 else "do"
    return HostUnreachable(f"{names} {verb} not answer any more", reasons=tuple(lost.values()))


def without(cluster: Cluster, names: Iterable[str]) -> Cluster:
    """The cluster without these nodes."""
    left_out = frozenset(names)
    return replace(cluster, nodes=tuple(node for node in cluster.nodes if node.name not in left_out))


def only(cluster: Cluster, names: Iterable[str]) -> Cluster:
    """Of the cluster only these nodes."""
    kept = frozenset(names)
    return replace(cluster, nodes=tuple(node for node in cluster.nodes if node.name in kept))


def see_who_answers(site: Site, cluster: Cluster, *, needs_majority: bool) -> Step:
    """Which machines answer: the rollback begins with them. `needs_majority`: etcd's data is to go back."""

    def look(_: Facts) -> Seen:
        lost = silent(site, cluster.nodes)
        if needs_majority:
            refuse_minority(cluster, lost)
        return Done({"silent": lost})

    return observation(ANSWERING, "see which machines answer", look, lasting=True)


def absent(facts: Facts) -> tuple[str, ...]:
    """The nodes that the rollback begins without; none in a run of a version that did not ask."""
    return tuple(silence(facts))


def given_up(facts: Facts) -> tuple[str, ...]:
    """The nodes that a person gave up for good."""
    return tuple(facts.of(BEHIND)["given_up"]) if facts.has(BEHIND) else ()


def silence(facts: Facts) -> Mapping[str, str]:
    """The nodes that did not answer, with the reason."""
    found: Mapping[str, str] = facts.of(ANSWERING)["silent"] if facts.has(ANSWERING) else {}
    return found


def refuse_minority(cluster: Cluster, lost: Mapping[str, str]) -> None:
    """Raises DecisionNeeded where the members that answer are no majority: alone they could serve nothing."""
    missing = [node.name for node in cluster.control_planes if node.name in lost]
    members = len(cluster.control_planes)
    if 2 * (members - len(missing)) > members:
        return
    raise DecisionNeeded(
        f"{len(missing)} of {members} control planes do not answer ({', '.join(missing)}): etcd's members that answer "
        "are no majority and could serve nothing, so the rollback stops here and touches nothing",
        hint="Bring enough of these machines back that a majority answers, then type `upgrade-guard resume`.",
        reasons=tuple(lost[name] for name in missing),
    )


def behind(site: Site, cluster: Cluster, names: tuple[str, ...], approvals: Mapping[str, ApprovalRecord]) -> Step:
    """The nodes that the rollback began without answer again, or a person has given them up for good."""

    def look(_: Facts) -> Seen:
        given = [name for name in names if name in approvals]
        lost = silent(site, [cluster.node(name) for name in names if name not in approvals])
        if lost:
            listed = ", ".join(lost)
            give_up = " ".join(f"--without {name}" for name in lost)
            verb = "is" if len(lost) == 1 else "are"
            raise DecisionNeeded(
                f"the other nodes are back at {cluster.version}, but {listed} {verb} behind: no machine answers there",
                hint=f"Type `upgrade-guard resume` once {listed} answers: it goes back in the same way. To give it up "
                f"for good: `upgrade-guard rollback {give_up}`.",
                reasons=tuple(lost.values()),
            )
        return Done({"given_up": given}, records=tuple(approvals[name] for name in given))

    return observation(BEHIND, f"see that {', '.join(names)} answers again", look, lasting=True)


def outdated(site: Site, cluster: Cluster, facts: Facts, choice: str) -> tuple[str, ...]:
    """Steps that decided who goes back and when, and are not true any more.

    Before the path (`choice`) is chosen nothing was done, and everybody who answers goes back together. Later a machine
    that was lost meanwhile is left for later; one that answers again is brought in where its turn is.
    """
    if not facts.has(ANSWERING):
        return ()
    missing = absent(facts)
    if not facts.has(choice):
        again = any(answers_now(site, cluster.node(name)) for name in missing)
        return (ANSWERING,) if again or silent(site, without(cluster, missing).nodes) else ()
    if silent(site, without(cluster, missing).nodes):
        return tuple(name for name in (ANSWERING, BEHIND) if facts.has(name))
    late = [cluster.node(name) for name in missing if name not in given_up(facts)]
    return (BEHIND,) if facts.has(BEHIND) and silent(site, late) else ()


_NOTHING = Command(("true",), timeout=5.0)


def _silence_of(site: Site, node: Node) -> str:
    deadline = site.clock.monotonic() + SILENCE
    asked = 0
    while True:
        asked += 1
        try:
            if site.on(node).host.run(_NOTHING).ok:
                return ""
            reason = f"{node.name} does not run a program in time"
        except HostUnreachable as problem:
            reason = problem.message
        if asked >= LOOKS and site.clock.monotonic() >= deadline:
            return reason
        site.clock.pause(PACE)
