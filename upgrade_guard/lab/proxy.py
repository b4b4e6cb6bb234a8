"""kube-proxy on each node: the services that it has programmed, and so the ones that can be reached from there."""

from __future__ import annotations

from upgrade_guard.lab.layout import at
from upgrade_guard.lab.records import NodeRecord
from upgrade_guard.lab.world import Object, World, labels_match


def sync(record: NodeRecord, world: World) -> None:
    """Take over the cluster's services, unless the cluster's revision went back behind what this proxy has seen."""
    container = next((one for one in record.containers if one.name == "kube-proxy" and one.runs), None)
    if container is None:
        return
    proxy = record.proxy
    if proxy.pod_uid != container.pod_uid:  # a new pod starts from nothing; its rules replace the old ones
        proxy.pod_uid, proxy.seen = container.pod_uid, 0
    if world.revision < proxy.seen:
        return
    proxy.seen = world.revision
    proxy.services = {
        service["spec"]["clusterIP"]: _endpoints(service, world)
        for service in world.kind("services")
        if service["spec"].get("clusterIP") not in (None, "", "None")
    }


def _endpoints(service: Object, world: World) -> list[str]:
    metadata = service["metadata"]
    wanted = {"kubernetes.io/service-name": metadata["name"]}
    found = []
    for one in world.kind("endpointslices", metadata["namespace"]):
        if not labels_match(wanted, one):
            continue
        ports = [port["port"] for port in one.get("ports") or ()]
        for endpoint in one.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True):
                found += [at(address, port) for address in endpoint["addresses"] for port in ports]
    return sorted(found)
