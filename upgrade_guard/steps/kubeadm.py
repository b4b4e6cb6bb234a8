"""Steps that let kubeadm work, seen through what it leaves: manifests, versions, its lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from upgrade_guard.errors import CommandFailed, GuardError, StepFailed
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step, Unknown
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.crash_watch import Crashes, crashes_of, watched
from upgrade_guard.steps.staging import staged_kubeadm
from upgrade_guard.steps.step_helpers import seeing, until
from upgrade_guard.tools.kubeadm import Kubeadm, parse_upgrade_plan
from upgrade_guard.tools.static_pod import image_of

VERSIONED = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The static pods whose image tag is the Kubernetes version."""


def manifest_images(tools: NodeTools) -> dict[str, str]:
    """Component to image, as the manifests on the node say now; a missing manifest is left out."""
    images = {}
    for component in COMPONENTS:
        path = f"{tools.settings.manifests_dir}/{component}.yaml"
        if tools.files.exists(path):
            images[component] = image_of(tools.files.read_text(path), component)
    return images


def behind(images: dict[str, str], target: Version) -> tuple[str, ...]:
    """The components whose manifest is not at `target`."""
    return tuple(c for c in VERSIONED if not images.get(c, "").endswith(f":{target}"))


def apply(site: Site, cluster: Cluster, node: Node, target: Version, name: str) -> Step:
    """`kubeadm upgrade apply` on the first control plane.

    Done when the manifests, the node's own API server and the kubeadm-config ConfigMap all say the target, and kubeadm
    has ended well: after the ConfigMap it still writes kubelet's configuration and add-ons (cmd/upgrade/apply.go).
    """
    tools = site.on(node)

    def look(facts: Facts) -> Seen:
        if old := _still_old(site, node, target):
            return NotDone(old)
        recorded = site.kubectl(node).kubeadm_config().kubernetes_version
        if recorded != str(target):
            return NotDone(f"kubeadm-config still says {recorded}: kubeadm has not finished")
        return _finished(tools, facts, target)

    def work() -> None:
        options = site.config.upgrade
        if manifest_images(tools) != {name: image for name, image in node.manifests.items() if name in COMPONENTS}:
            _wait_for_health(site, tools, target)
        watched(
            site,
            cluster,
            node,
            lambda: tools.kubeadm.upgrade_apply(
                target, options.ignore_preflight_errors, _patches(site, tools), timeout=options.apply_timeout
            ),
        )

    step = _kubeadm_step(site, node, target, name, look, again(site, node, work))
    return replace(step, summary=f"kubeadm upgrade apply {target} on {node.name}")


def again(site: Site, node: Node, work: Callable[[], None]) -> Callable[[], None]:
    """The same work, once more where kubeadm failed while nothing crash-loops and the node's API server answers.

    kubeadm gives each component five minutes, which a busy machine exceeds, and is made to be run again (kubernetes.io,
    upgrading kubeadm clusters, "Recovering from a failure state").
    """

    def attempt() -> None:
        try:
            work()
        except CommandFailed as problem:
            if problem.exit_status is None:
                raise
            crashes = crashes_of(site, node)
            seen = until(site.clock, site.config.upgrade.ready_timeout, lambda: _answers(site, node, crashes))
            if not isinstance(seen, Done):
                raise
            try:
                work()
            except GuardError as second:
                second.reasons = (*second.reasons, f"it was tried twice; the first time: {problem.message}")
                raise

    return attempt


def _answers(site: Site, node: Node, crashes: Crashes) -> Seen:
    crashes.refuse()
    return Done() if site.api_server(node).ready() else NotDone(f"the API server of {node.name} is not ready")


def _wait_for_health(site: Site, tools: NodeTools, target: Version) -> None:
    """After a kubeadm that was interrupted: until kubeadm's own health check passes, or the patience is over.

    It gives a Job fifteen seconds (cmd/upgrade, health.go), and a controller manager that was replaced a moment ago
    leads only after just as long: `apply` again at once fails, and would take a good upgrade back (measured). `plan`
    makes the same check and changes nothing.
    """
    options = site.config.upgrade

    def look() -> Seen:
        tools.kubeadm.upgrade_plan(target, options.ignore_preflight_errors)
        return Done()

    until(site.clock, options.ready_timeout, look)


def _still_old(site: Site, node: Node, target: Version) -> str:
    """What of a control plane is not at the target yet: its manifests, then what it serves; "" when nothing is."""
    late = behind(manifest_images(site.on(node)), target)
    if late:
        return f"{', '.join(late)} on {node.name}: not at {target}"
    serving = site.api_server(node).version()
    return "" if serving == target else f"the API server of {node.name} still serves {serving}"


def upgrade_control_plane_node(site: Site, cluster: Cluster, node: Node, target: Version, name: str) -> Step:
    """`kubeadm upgrade node` on a further control plane.

    Done when its manifests are new, its own API server serves the target, and kubeadm ended well.
    """
    tools = site.on(node)

    def look(facts: Facts) -> Seen:
        if old := _still_old(site, node, target):
            return NotDone(old)
        return _finished(tools, facts, target)

    def work() -> None:
        watched(site, cluster, node, lambda: _upgrade_node(site, tools))

    return _kubeadm_step(site, node, target, name, look, again(site, node, work))


def upgrade_worker(site: Site, node: Node, target: Version, name: str) -> Step:
    """`kubeadm upgrade node` on a worker, which rewrites kubelet's configuration and says nothing of a version.

    Whether it ran cannot be seen on the node, so a note of ours is left there; running it twice is harmless.
    """
    tools = site.on(node)
    step = _kubeadm_step(
        site, node, target, name, lambda facts: _finished(tools, facts, target), lambda: _upgrade_node(site, tools)
    )
    return replace(step, lane=node.name)


def _kubeadm_step(
    site: Site, node: Node, target: Version, name: str, look: Callable[[Facts], Seen], work: Callable[[], None]
) -> Step:
    """Wait for a kubeadm that is at work already, look, work, and note on the node that kubeadm ended well.

    Behind a balancer kubeadm may end well while the node's own API server crash-loops, which is then not waited for.
    """
    tools = site.on(node)
    crashes = crashes_of(site, node)

    def look_ahead(facts: Facts) -> Seen:
        if node.is_control_plane:
            crashes.refuse()
        return look(facts)

    def probe(facts: Facts) -> Seen:
        return _still_running(site, tools) or look(facts)

    def act(facts: Facts) -> None:
        work()
        tools.files.write(_note(tools, target), facts.run_id.encode())
        until(site.clock, site.config.upgrade.ready_timeout, lambda: look_ahead(facts))

    return Step(
        name,
        f"kubeadm upgrade node on {node.name}",
        seeing(site.clock, site.config.upgrade.ready_timeout, probe),
        act,
        changes_node=True,
    )


def _upgrade_node(site: Site, tools: NodeTools) -> None:
    options = site.config.upgrade
    ignored, patches = options.ignore_preflight_errors, _patches(site, tools)
    tools.kubeadm.upgrade_node(ignored, patches, timeout=options.apply_timeout)


def _patches(site: Site, tools: NodeTools) -> str:
    """The configured directory, where this node has it: a worker needs none."""
    directory = site.config.upgrade.patches
    return directory if directory and tools.files.is_dir(directory) else ""


def _note(tools: NodeTools, target: Version) -> str:
    """Where it is noted on the node that kubeadm ended well. Not bound to the journal: only root of the node can write
    there, who can do worse, and beside it the manifests, what is served and kubeadm's own ConfigMap are asked.
    """
    return f"{tools.settings.work_dir}/kubeadm-upgraded-to-{target}"


def _finished(tools: NodeTools, facts: Facts, target: Version) -> Seen:
    """Did kubeadm end well on this node in this run?"""
    note = _note(tools, target)
    if tools.files.exists(note) and tools.files.read_text(note) == facts.run_id:
        return Done({"images": manifest_images(tools)})
    return NotDone(f"kubeadm has not finished on {tools.name}")


def plan(site: Site, node: Node, target: Version, name: str) -> Step:
    """`kubeadm upgrade plan` with the target's own kubeadm, which was unpacked and is not installed.

    An older one exits 0 with a misleading table (measured).
    """
    tools = site.on(node)

    def probe(facts: Facts) -> Seen:
        kubeadm = Kubeadm(tools.host, tools.settings, staged_kubeadm(tools, facts))
        version = kubeadm.version()
        if version != target:
            return NotDone(f"{staged_kubeadm(tools, facts)} is {version}, and would print a misleading plan")
        planned = parse_upgrade_plan(kubeadm.upgrade_plan(target, site.config.upgrade.ignore_preflight_errors))
        if planned.must_update_kubeadm:
            return NotDone(f"kubeadm says that it has to be updated to {planned.update_kubeadm_to} first")
        if planned.manual_configs:
            return NotDone(f"kubeadm wants a person to convert {', '.join(planned.manual_configs)} first")
        return Done({"components": [asdict(row) for row in planned.components]})

    def act(_: Facts) -> None:
        """Nothing: kubeadm has answered."""

    return Step(name, f"kubeadm upgrade plan {target} on {node.name}", probe, act)


def _still_running(site: Site, tools: NodeTools) -> Unknown | None:
    """A kubeadm that an earlier process started and that outlived it: waited for, since two at once must not be."""
    seen = until(
        site.clock,
        site.config.upgrade.apply_timeout,
        lambda: NotDone("kubeadm is still at work") if tools.kubeadm.at_work() else Done(),
    )
    if isinstance(seen, Done):
        return None
    return Unknown(f"a kubeadm upgrade on {tools.name} has not ended")


def refuse_unfinished(tools: NodeTools) -> None:
    """Raises StepFailed while kubeadm is at work on the node: nothing may be put back under its hands."""
    if tools.kubeadm.at_work():
        raise StepFailed(
            f"kubeadm is still at work on {tools.name}",
            hint=f"wait for it or end it on {tools.name} (pgrep -a kubeadm), then: upgrade-guard resume",
        )
