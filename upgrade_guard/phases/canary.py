"""See that the cluster does something new, on every node.

After a restore without a revision bump every node is Ready and every pod Running, and yet nothing new is scheduled and
no new service is served (measured). So a pod is placed on each node, and a service is reached from each node.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.phases.looking import until
from upgrade_guard.phases.node_work import answering_api
from upgrade_guard.phases.site import Site
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.static_pod import command_flags

NAMESPACE = "kube-system"
"""Where policies and quotas for tenants do not reach."""

LABEL = "upgrade-guard.io/canary"
SERVICE = "upgrade-guard-canary"


def canary(site: Site, cluster: Cluster, name: str) -> Step:
    """A pod on every node and a service reached from every node; both are removed again, whatever happened."""
    passed: list[dict[str, Any]] = []

    def probe(_: Facts) -> Seen:
        return Done(passed[-1]) if passed else NotDone("no canary was seen to work yet")

    def act(facts: Facts) -> None:
        kubectl = answering_api(site, cluster)
        objects = [
            *(pod(site, node, facts.run_id) for node in cluster.nodes),
            *service(site, cluster, facts.run_id),
        ]
        kubectl.delete(objects)
        try:
            kubectl.apply(objects)
            seen = until(site.clock, site.config.upgrade.ready_timeout, lambda: working(site, cluster))
        except GuardError:
            with suppress(GuardError):  # the first problem is the one to tell
                kubectl.delete(objects)
            raise
        kubectl.delete(objects)
        if not isinstance(seen, Done):
            raise StepFailed(
                f"the cluster looks ready and does nothing new: {seen.why}",
                hint="look at kubelet and kube-proxy on that node: journalctl -u kubelet",
            )
        passed.append(dict(seen.result))

    return Step(name, "place a pod and reach a service on every node", probe, act, lasting=False)


def working(site: Site, cluster: Cluster) -> Seen:
    """Does every node run its pod, and reach the service?"""
    try:
        found = site.any_api(cluster).labelled(NAMESPACE, "pods,services", f"{LABEL}=true")
        pods = {
            item["spec"].get("nodeSelector", {}).get("kubernetes.io/hostname"): item
            for item in found
            if item["kind"] == "Pod"
        }
        for node in cluster.nodes:
            item = pods.get(node.name)
            phase = (item or {}).get("status", {}).get("phase", "missing")
            if phase != "Running":
                return NotDone(f"the canary pod on {node.name} is {phase}")
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


def pod(site: Site, node: Node, run_id: str) -> dict[str, Any]:
    """A pod that sleeps on one node, from an image that is already there: nothing is pulled."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{SERVICE}-{node.name}",
            "namespace": NAMESPACE,
            "labels": {LABEL: "true", "upgrade-guard.io/run": run_id},
        },
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node.name},
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Always",
            "containers": [{"name": "canary", "image": _sleeping_image(site, node), "imagePullPolicy": "IfNotPresent"}],
        },
    }


def _sleeping_image(site: Site, node: Node) -> str:
    for image in site.on(node).containers.images():
        if "/pause:" in image:
            return image
    raise StepFailed(
        f"no pause image is on {node.name}, so no canary can run there",
        hint=f"see what containerd has there: ctr -n k8s.io images ls | grep pause (on {node.name})",
    )


def service(site: Site, cluster: Cluster, run_id: str) -> list[dict[str, Any]]:
    """A service without a selector whose endpoint is an API server: something that answers on every cluster."""
    first = cluster.control_planes[0]
    tools = site.on(first)
    manifest = tools.files.read_text(f"{tools.settings.manifests_dir}/kube-apiserver.yaml")
    flags = command_flags(manifest, "kube-apiserver")
    address = flags.get("advertise-address") or first.internal_ip
    labels = {LABEL: "true", "upgrade-guard.io/run": run_id}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": labels},
            "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "labels": {**labels, "kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv6" if ":" in address else "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": int(flags.get("secure-port", "6443")), "protocol": "TCP"}],
        },
    ]
