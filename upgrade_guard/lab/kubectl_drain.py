"""kubectl drain: evict what can be evicted, as disruption budgets allow, until nothing is left or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from upgrade_guard.lab import controllers
from upgrade_guard.lab.kubectl_changes import set_unschedulable, world_of
from upgrade_guard.lab.programs.entry import Failure, Words, complain, say
from upgrade_guard.lab.simulation import Simulation
from upgrade_guard.lab.world import Object, World

# kubectl waits five seconds before it tries a refused eviction again; the lab is quicker than a real cluster.
RETRY = 1.0
BETWEEN_LOOKS = 0.05
MIRROR = "kubernetes.io/config.mirror"


def drain(given: Words, name: str, reach: Callable[[], AbstractContextManager[Simulation]]) -> int:
    """Cordon, then evict. Raises Failure with kubectl's words."""
    limit = _seconds(given.value("--timeout", default="0"))
    deadline = time.monotonic() + limit if limit else None
    with reach() as lab:
        set_unschedulable(world_of(lab), name, wanted=True)
        going, ignored = _sort(world_of(lab), name, given)
        lab.settle()
    if ignored:
        complain("Warning: ignoring DaemonSet-managed Pods: " + ", ".join(ignored))
    refused_at: dict[str, float] = {}
    evicted: set[str] = set()
    while going:
        for pod in going:
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            if key in evicted or time.monotonic() - refused_at.get(key, -RETRY) < RETRY:
                continue
            if key not in refused_at:
                say(f"evicting pod {key}")
            with reach() as lab:
                if _evict(lab, pod):
                    evicted.add(key)
                    continue
            refused_at[key] = time.monotonic()
            complain(
                f'error when evicting pods/"{pod["metadata"]["name"]}" -n "{pod["metadata"]["namespace"]}" (will retry '
                "after 5s): Cannot evict pod as it would violate the pod's disruption budget."
            )
        with reach() as lab:
            still = {pod["metadata"]["uid"] for pod in world_of(lab).kind("pods")}
        for pod in going:
            if pod["metadata"]["uid"] not in still:
                say(f"pod/{pod['metadata']['name']} evicted")
        going = [pod for pod in going if pod["metadata"]["uid"] in still]
        if going and deadline is not None and time.monotonic() > deadline:
            raise Failure(_gave_up(name, going, given.value("--timeout")))
        if going:
            time.sleep(BETWEEN_LOOKS)
    say(f"node/{name} drained")
    return 0


def _sort(world: World, name: str, given: Words) -> tuple[list[Object], list[str]]:
    going, ignored = [], []
    for pod in list(world.kind("pods")):
        metadata = pod["metadata"]
        if pod["spec"].get("nodeName") != name or MIRROR in metadata.get("annotations", {}):
            continue
        owners = [owner["kind"] for owner in metadata.get("ownerReferences", ())]
        shown = f"{metadata['namespace']}/{metadata['name']}"
        if "DaemonSet" in owners:
            if "--ignore-daemonsets" not in given.switches:
                raise Failure(
                    f'error: unable to drain node "{name}" due to error: cannot delete DaemonSet-managed Pods (use '
                    f"--ignore-daemonsets to ignore): {shown}, continuing command..."
                )
            ignored.append(shown)
        elif not owners and "--force" not in given.switches:
            raise Failure(
                f'error: unable to drain node "{name}" due to error: cannot delete Pods that declare no controller '
                f"(use --force to override): {shown}, continuing command..."
            )
        else:
            going.append(pod)
    return going, ignored


def _evict(lab: Simulation, pod: Object) -> bool:
    """Through the eviction API: a budget without an allowed disruption refuses it."""
    world = world_of(lab)
    found = world.get("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
    if found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]:
        return True
    if any(controllers.judge_budget(budget, world) <= 0 for budget in controllers.budgets_of(found, world)):
        return False
    controllers.mark_deleted(found, world)
    lab.settle()
    return True


def _gave_up(name: str, going: list[Object], limit: str) -> str:
    pods = "".join(f"pod/{pod['metadata']['name']}\n" for pod in going)
    first = going[0]["metadata"]
    return (
        f'There are pending pods in node "{name}" when an error occurred: error when evicting pods/"{first["name"]}" '
        f'-n "{first["namespace"]}": global timeout reached: {limit}\n{pods}'
        f'error: unable to drain node "{name}" due to error: error when evicting pods/"{first["name"]}" '
        f'-n "{first["namespace"]}": global timeout reached: {limit}, continuing command...'
    )


def _seconds(text: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    return float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
