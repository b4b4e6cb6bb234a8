"""See that the cluster does something new, on every node.

After a restore without a revision bump every node is Ready and every pod Running, and yet nothing new is scheduled and
no new service is served (measured). So a pod is placed on each node, and a service is reached from each node.

It is tried before the gate too: what does not work then (a policy, a quota, a registry that is away) is no fault of the
upgrade, and is not judged after it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.errors import GuardError, HostUnreachable, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.kubelet import answering_api
from upgrade_guard.steps.lost_nodes import only
from upgrade_guard.steps.step_helpers import until
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.containers import full_image_name
from upgrade_guard.tools.static_pod import command_flags

BEFORE = "inspect/canary"
"""The step that tries it before the gate: `why` has each node on which it does not work."""

LABEL = "upgrade-guard.io/canary"
SERVICE = "upgrade-guard-canary"

_PAUSE = re.compile(r"(^|[/-])pause(-[a-z0-9]+)?:")  # pause:3.9, mirrored-pause:3.6, pause-amd64:3.1


@dataclass
class Outcome:
    """`refused`: why it could not be made, for each node; `failed`: why it was made and does not work."""

    service: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    failed: str = ""

    def working(self, nodes: tuple[Node, ...]) -> list[str]:
        """The nodes on which it was seen to work."""
        return [] if self.failed else [node.name for node in nodes if node.name not in self.refused]


def canary_before(site: Site, inspected: Callable[[Facts], Cluster]) -> Step:
    """Try it before anything is changed. What does not work is kept and stops nothing."""
    tried: list[Outcome] = []

    def probe(facts: Facts) -> Seen:
        if not tried:
            return NotDone("no canary was tried yet")
        nodes = inspected(facts).nodes
        worked = tried[-1].working(nodes)
        why = {node.name: tried[-1].refused.get(node.name, tried[-1].failed) for node in nodes}
        return Done({"why": {name: text for name, text in why.items() if name not in worked}, "worked": worked})

    def act(facts: Facts) -> None:
        try:
            tried.append(tried_on(site, inspected(facts), facts.run_id))
        except HostUnreachable:
            raise
        except GuardError as problem:
            tried.append(Outcome(failed=problem.message))

    return Step(BEFORE, "try a pod and a service on every node", probe, act, lasting=False)


def canary(site: Site, cluster: Cluster, name: str, *, restored: bool = False) -> Step:
    """A pod on every node and a service reached from every node; both are removed again, whatever happened.

    Nodes where it did not work before the gate are not judged. In a state that was `restored` a canary that cannot be
    made is said: going back was right all the same.
    """
    passed: list[dict[str, Any]] = []

    def probe(_: Facts) -> Seen:
        return Done(passed[-1]) if passed else NotDone("no canary was seen to work yet")

    def act(facts: Facts) -> None:
        known: Mapping[str, str] = facts.of(BEFORE)["why"] if facts.has(BEFORE) else {}
        there = {row.name for row in answering_api(site, cluster).nodes()}
        judged = only(cluster, [node.name for node in cluster.nodes if node.name in there and node.name not in known])
        outcome = tried_on(site, judged, facts.run_id) if judged.control_planes else Outcome()
        if outcome.failed:
            raise StepFailed(
                f"the cluster reports ready, but a new pod or service fails: {outcome.failed}",
                hint="look at kubelet and kube-proxy on that node: journalctl -u kubelet",
            )
        if outcome.refused and not restored:
            node, why = next(iter(outcome.refused.items()))
            raise StepFailed(
                f"no canary can be made on {node}: {why}",
                hint=f"see what refuses it: kubectl -n {site.config.canary.namespace} get events",
                reasons=tuple(f"{node}: {why}" for node, why in outcome.refused.items()),
            )
        passed.append(
            {
                "nodes": outcome.working(judged.nodes),
                "service": outcome.service,
                "not_judged": {**known, **outcome.refused},
            }
        )

    return Step(name, "place a pod and reach a service on every node", probe, act, lasting=False)


def tried_on(site: Site, cluster: Cluster, run_id: str) -> Outcome:
    """Make it on every node of `cluster`, wait until it works, remove it."""
    kubectl = answering_api(site, cluster)
    outcome = Outcome()
    pods: list[dict[str, Any]] = []
    for node in cluster.nodes:
        try:
            pods.append(pod(site, node, run_id))
        except HostUnreachable:
            raise
        except GuardError as problem:
            outcome.refused[node.name] = problem.message
    objects = [*pods, *service(site, cluster, run_id)]
    kubectl.delete(objects)
    try:
        try:
            kubectl.apply(objects)
        except HostUnreachable:
            raise
        except GuardError as problem:
            outcome.refused |= {node.name: problem.message for node in cluster.nodes}
            return outcome
        made = only(cluster, [node.name for node in cluster.nodes if node.name not in outcome.refused])
        seen = until(site.clock, site.config.upgrade.ready_timeout, lambda: working(site, made))
    finally:
        with suppress(GuardError):  # the first problem is the one to tell
            kubectl.delete(objects)
    if isinstance(seen, Done):
        outcome.service = seen.result["service"]
    else:
        outcome.failed = seen.why
    return outcome


def working(site: Site, cluster: Cluster) -> Seen:
    """Does every node run its pod, and reach the service?"""
    try:
        found = site.any_api(cluster).labelled(site.config.canary.namespace, "pods,services", f"{LABEL}=true")
        pods = {
            item["spec"].get("nodeSelector", {}).get("kubernetes.io/hostname"): item
            for item in found
            if item["kind"] == "Pod"
        }
        for node in cluster.nodes:
            item = pods.get(node.name)
            phase = (item or {}).get("status", {}).get("phase", "missing")
            if phase != "Running":
                return NotDone(f"the canary pod on {node.name} is {phase}{_waiting(item)}")
        addresses = [item["spec"].get("clusterIP", "") for item in found if item["kind"] == "Service"]
        if not addresses or not addresses[0]:
            return NotDone("the canary service has no address")
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    except GuardError as problem:
        return NotDone(problem.message)
    for node in cluster.nodes:
        try:
            tools = site.on(node)
            # With the kubelet's credentials, which every node has: without any kubectl asks for a user name. The
            # certificate is valid for `kubernetes`, whatever the address.
            kubeconfig = f"{tools.settings.kubernetes_dir}/kubelet.conf"
            url = f"https://{address}:443"
            ApiServer(tools.host, kubeconfig, url, tls_server_name="kubernetes", request_timeout=5).version()
        except GuardError as problem:
            return NotDone(f"{node.name} does not reach the canary service: {problem.message}")
    return Done({"nodes": [node.name for node in cluster.nodes], "service": address})


def _waiting(item: Mapping[str, Any] | None) -> str:
    """Why its container does not run, as kubelet says it."""
    for row in (item or {}).get("status", {}).get("containerStatuses") or ():
        waiting = (row.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f" ({waiting['reason']})"
    return ""


def pod(site: Site, node: Node, run_id: str) -> dict[str, Any]:
    """A pod that sleeps on one node, from an image that is already there: nothing is pulled.

    Raises StepFailed where no such image is known.
    """
    settings = site.config.canary
    spec: dict[str, Any] = {
        "nodeSelector": {"kubernetes.io/hostname": node.name},
        "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "restartPolicy": "Always",
        "containers": [
            {
                "name": "canary",
                "image": settings.image or sleeping_image(site, node),
                "imagePullPolicy": "IfNotPresent",
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "50m", "memory": "16Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "runAsNonRoot": True,
                    "runAsUser": 65535,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }
        ],
    }
    if settings.pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(site, f"{SERVICE}-{node.name}", run_id),
        "spec": spec,
    }


def sleeping_image(site: Site, node: Node) -> str:
    """The sandbox image of the node: the one that its runtime is configured with, else one that is there."""
    tools = site.on(node)
    images = tools.containers.images()
    configured = sandbox_image(tools)
    for image in images:
        if configured and full_image_name(image) == full_image_name(configured):
            return image
    for image in images:
        if _PAUSE.search(image):
            return image
    raise StepFailed(
        f"no pause image is on {node.name}, so no canary can run there",
        hint="name an image that is on every node: [canary] image in the configuration",
    )


def sandbox_image(tools: NodeTools) -> str:
    """The sandbox image that containerd's configuration names: `sandbox_image`, or `pinned_images.sandbox` from
    version 3 of it on; "" when it says nothing, or cannot be read.
    """
    path = next((path for path in tools.settings.host_files if path.endswith("/containerd/config.toml")), "")
    if not path or not tools.files.exists(path):
        return ""
    try:
        document = tomllib.loads(tools.files.read_text(path))
    except tomllib.TOMLDecodeError:
        return ""
    waiting: list[Any] = [document]
    while waiting:
        table = waiting.pop()
        if isinstance(table, dict):
            image = table.get("sandbox_image") or (table.get("pinned_images") or {}).get("sandbox")
            if isinstance(image, str):
                return image
            waiting += table.values()
    return ""


def service(site: Site, cluster: Cluster, run_id: str) -> list[dict[str, Any]]:
    """A service without a selector whose endpoint is an API server: something that answers on every cluster."""
    first = cluster.control_planes[0]
    tools = site.on(first)
    manifest = tools.files.read_text(f"{tools.settings.manifests_dir}/kube-apiserver.yaml")
    flags = command_flags(manifest, "kube-apiserver")
    address = flags.get("advertise-address") or first.internal_ip
    metadata = _metadata(site, SERVICE, run_id)
    slice_metadata = {**metadata, "labels": {**metadata["labels"], "kubernetes.io/service-name": SERVICE}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slice_metadata,
            "addressType": "IPv6" if ":" in address else "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": int(flags.get("secure-port", "6443")), "protocol": "TCP"}],
        },
    ]


def _metadata(site: Site, name: str, run_id: str) -> dict[str, Any]:
    settings = site.config.canary
    own = dict(label.split("=", 1) for label in settings.labels)
    labels = {**own, LABEL: "true", "upgrade-guard.io/run": run_id}
    return {"name": name, "namespace": settings.namespace, "labels": labels}
