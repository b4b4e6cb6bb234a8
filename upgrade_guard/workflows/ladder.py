"""The ladder: a failure after the gate is answered by the mildest means that is right.

A whole rollback loses every write since the snapshot. So it is for a control plane that does not serve, or that cannot
be made to on the new version; what fails while every control plane serves is a person's to decide, and what fails on
one of several while the others serve takes that one back alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from upgrade_guard.errors import GuardError
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Answer, Done, Facts, NotDone, Seen
from upgrade_guard.model.step_results import StepName
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.control_plane_back import others_serve
from upgrade_guard.steps.loss import beyond_budget
from upgrade_guard.steps.step_helpers import SIGHT, NothingWillCome, until

PAUSE, LANE, BACK = "pause", "it goes back alone, then pause", "everything back"


@dataclass(frozen=True)
class Rung:
    """What steps of `stage` whose names end in one of `works` are answered with: while every control plane `serving`,
    while only the `others` than that of the step serve, and while those do not either (`away`). `first` is what was
    tried before that, `why` the reason for the difference.
    """

    stage: str
    works: tuple[str, ...]
    what: str
    first: str
    serving: str
    others: str
    away: str
    why: str


RUNGS = (
    Rung(
        "keep",
        (),
        "keeping the present packages, in a run that had changed packages before",
        "",
        BACK,
        BACK,
        BACK,
        "Nothing but packages was changed: going back loses nothing.",
    ),
    Rung(
        "stage",
        (),
        "fetching the target's packages, in a run that had changed packages before",
        "",
        BACK,
        BACK,
        BACK,
        "Nothing but packages was changed: going back loses nothing.",
    ),
    Rung(
        "plan",
        (),
        "the package of kubeadm, `kubeadm upgrade plan`",
        "",
        BACK,
        BACK,
        BACK,
        "Nothing but packages was changed: going back loses nothing.",
    ),
    Rung(
        "control-plane",
        ("apply",),
        "`kubeadm upgrade apply`",
        "once more, unless a component crash-loops",
        BACK,
        BACK,
        BACK,
        "The new version cannot be made to serve. As long as the others serve the old one, that node alone goes back "
        "and etcd keeps its data.",
    ),
    Rung(
        "control-plane",
        ("upgrade-node",),
        "`kubeadm upgrade node` on a further control plane",
        "once more, unless a component crash-loops",
        PAUSE,
        LANE,
        BACK,
        "The others serve. Where all serve, kubeadm has put that node back by itself.",
    ),
    Rung(
        "control-plane",
        ("kubelet-restart",),
        "the new kubelet of a control plane",
        "waited for, unless systemd starts it again and again",
        LANE,
        LANE,
        BACK,
        "The old kubelet can run the new control plane; that of one node is no reason to lose data.",
    ),
    Rung(
        "control-plane",
        ("settled",),
        "a control plane that does not become healthy",
        "waited for, unless a component crash-loops",
        PAUSE,
        LANE,
        BACK,
        "Whatever is missing, the API and etcd are there. The first control plane has nothing to go back to alone.",
    ),
    Rung(
        "control-plane",
        ("settled-again",),
        "a control plane that does not become healthy with its new kubelet",
        "waited for, unless a component crash-loops",
        PAUSE,
        LANE,
        BACK,
        "It was healthy with the old kubelet.",
    ),
    Rung(
        "control-plane",
        (),
        "packages, drain and uncordon of a control plane",
        "",
        PAUSE,
        PAUSE,
        BACK,
        "It has no part in what the API serves.",
    ),
    Rung(
        "nodes",
        (),
        'a worker, with `on_node_failure = "rollback-cluster"`',
        "",
        BACK,
        BACK,
        BACK,
        "The configuration wants it. By default the worker alone goes back.",
    ),
    Rung(
        "verify",
        (),
        "the comparison with the baseline, the canary",
        "waited for",
        PAUSE,
        BACK,
        BACK,
        "What differs may be somebody's own change, and the cluster serves.",
    ),
)


def rung_of(step: str) -> Rung:
    """The rung for a step, by its name. Raises LookupError."""
    name = StepName.of(step)
    for rung in RUNGS:
        if rung.stage == name.stage and (not rung.works or name.work in rung.works):
            return rung
    raise LookupError(f"no rung for {step}")


def answer(site: Site, cluster: Cluster, facts: Facts, failures: Iterable[tuple[str, GuardError]]) -> Answer:
    """What these failures (step and problem) are answered with. Looks at the cluster, and waits a while for it.

    Raises HostUnreachable: a machine that cannot be asked means to ask again, and never a rollback.
    """
    problems = tuple(failures)
    rungs = [rung_of(step) for step, _ in problems]
    hopeless = next((problem.message for _, problem in problems if isinstance(problem, NothingWillCome)), "")
    why = hopeless or rungs[0].why
    if not _wanted_back(site, rungs):
        patience = min(SIGHT, site.config.upgrade.ready_timeout)
        serving = {rung.serving for rung in rungs}
        # A component that crash-loops does not serve; a kubelet that does not come up says nothing of that.
        if BACK not in serving and (not hopeless or serving == {LANE}):
            seen = until(site.clock, patience, lambda: all_serve(site, cluster))
            if isinstance(seen, Done):
                return Answer(everything_back=False, why="every control plane serves", lanes_back=LANE in serving)
            why, patience = hopeless or seen.why, 0.0
        node = _goes_back_alone(cluster, problems)
        if node is not None:
            alone = node
            seen = until(site.clock, patience, lambda: others_serve(site, cluster, alone))
            if isinstance(seen, Done):
                back = LANE in {rung.others for rung in rungs}
                return Answer(everything_back=False, why="the other control planes serve", lanes_back=back)
    beyond = beyond_budget(site, cluster, facts)
    if beyond:
        return Answer(everything_back=False, why=beyond)
    return Answer(everything_back=True, why=why)


def _goes_back_alone(cluster: Cluster, problems: tuple[tuple[str, GuardError], ...]) -> Node | None:
    """The control plane that failed, where there are others and its failure is no reason to take them back too."""
    first, *others = cluster.control_planes
    failed = problems[0][0]
    if len(problems) > 1 or not others or rung_of(failed).others == BACK:
        return None
    name = StepName.of(failed)
    node = cluster.node(name.node)
    return None if node == first and name.work == "settled" else node


def _wanted_back(site: Site, rungs: list[Rung]) -> bool:
    """Does the configuration want the cluster back for a difference from the baseline?"""
    return site.config.upgrade.on_verify_failure == "rollback-cluster" and any(rung.stage == "verify" for rung in rungs)


def all_serve(site: Site, cluster: Cluster) -> Seen:
    """Is every member of etcd healthy and every API server ready, and does the cluster's endpoint answer?"""
    planes = cluster.control_planes
    sick = [one.endpoint for one in site.etcdctl(planes[0]).endpoint_health(cluster=True) if not one.healthy]
    if sick:
        return NotDone(f"etcd is not healthy at {', '.join(sick)}")
    for node in planes:
        if not site.api_server(node).ready():
            return NotDone(f"the API server of {node.name} is not ready")
    if not any(site.on(node).endpoint.ready() for node in planes):
        return NotDone("the cluster's endpoint does not answer")
    return Done()
