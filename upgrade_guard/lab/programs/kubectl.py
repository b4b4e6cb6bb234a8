"""kubectl: what is read, and the way to what is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upgrade_guard.lab import balancer, kubectl_changes, kubectl_drain, kubectl_tables, releases
from upgrade_guard.lab.gateway import EtcdAway, EtcdRefused
from upgrade_guard.lab.layout import at
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, Words, say, take_apart
from upgrade_guard.lab.records import read_record
from upgrade_guard.lab.simulation import Simulation, opened
from upgrade_guard.lab.world import CLUSTER_SCOPED, Object, World, labels_match

VALUES = (
    "--kubeconfig",
    "--request-timeout",
    "--namespace",
    "-n",
    "-o",
    "--output",
    "-l",
    "--selector",
    "--field-selector",
    "--raw",
    "--server",
    "-s",
    "--timeout",
    "--tls-server-name",
    "-f",
    "--filename",
    "--from-literal",
    "--replicas",
    "--subresource",
    "--type",
    "--patch",
    "-p",
)
SWITCHES = (
    "--all-namespaces",
    "-A",
    "--ignore-daemonsets",
    "--delete-emptydir-data",
    "--force",
    "--ignore-not-found",
    "--wait",
)
PLURALS = {
    "cm": "configmaps",
    "daemonset": "daemonsets",
    "deploy": "deployments",
    "ds": "daemonsets",
    "no": "nodes",
    "ns": "namespaces",
    "pdb": "poddisruptionbudgets",
    "po": "pods",
    "sts": "statefulsets",
    "svc": "services",
}
KINDS = frozenset(
    {
        "apiservices",
        "configmaps",
        "cronjobs",
        "daemonsets",
        "deployments",
        "endpointslices",
        "jobs",
        "mutatingwebhookconfigurations",
        "namespaces",
        "nodes",
        "poddisruptionbudgets",
        "pods",
        "services",
        "statefulsets",
        "validatingwebhookconfigurations",
    }
)


def main(place: ProgramPlace, words: list[str]) -> int:
    """Dispatch on the verb."""
    given = take_apart(words, values=VALUES, switches=SWITCHES)
    server = given.value("--server", "-s")
    if server and balancer.host_and_port(server)[1] == balancer.HTTPS:
        return _from_the_node(place, given, server.removeprefix("https://"))
    match given.plain:
        case ("version",):
            return _version(place, given)
        case ("get",):
            return _raw(place, given)
        case ("get", kinds, *names):
            return _get(place, given, kinds, names)
        case ("drain", node):
            return kubectl_drain.drain(given, node, lambda: reached(place, given))
        case _:
            with reached(place, given) as lab:
                return kubectl_changes.change(lab, given)


@contextmanager
def reached(place: ProgramPlace, given: Words) -> Iterator[Simulation]:
    """The lab with the API server that was asked. Raises Failure as kubectl says it when it does not answer."""
    named = _kubeconfig(place, given)
    server = given.value("--server", "-s", default=named)
    with opened(place.directory, node=place.node) as lab:
        lab.asked = balancer.answers_at(lab, server)
        if lab.world is None or not lab.asked:
            if balancer.is_endpoint(lab, server):
                raise Failure("Unable to connect to the server: EOF")  # what haproxy makes of no server behind it
            shown = server.removeprefix("https://")
            raise Failure(f"The connection to the server {shown} was refused - did you specify the right host or port?")
        try:
            yield lab
        except EtcdRefused as refused:
            raise Failure(f"Error from server: {refused}") from refused
        except EtcdAway as away:
            raise Failure("Error from server: etcdserver: request timed out") from away


def _kubeconfig(place: ProgramPlace, given: Words) -> str:
    """The server that the kubeconfig in use names."""
    path = Path(given.value("--kubeconfig", default=str(place.layout.kubernetes(place.node) / "admin.conf")))
    if not path.exists():
        raise Failure(f"error: stat {path}: no such file or directory")
    text = path.read_text()
    if "client-certificate-data:" not in text:
        raise Failure(f"error: error loading config file {path}: not a kubeconfig with a client certificate")
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix("server: ") for line in lines if line.startswith("server: ")), "")


def plural(word: str) -> str:
    """The plural of a resource's name as people type it. Raises Failure as kubectl does."""
    name = word.lower().split("/")[0]
    name = PLURALS.get(name, name)
    name = name if name in KINDS else f"{name}s"
    if name not in KINDS:
        raise Failure(f'error: the server doesn\'t have a resource type "{word}"')
    return name


def _get(place: ProgramPlace, given: Words, kinds: str, names: list[str]) -> int:
    output = given.value("-o", "--output", default="table")
    everywhere = bool(given.switches & {"-A", "--all-namespaces"})
    namespace = "" if everywhere else given.value("-n", "--namespace", default="default")
    with reached(place, given) as lab:
        world = lab.world
        assert world is not None  # noqa: S101  (reached() refuses otherwise)
        found: list[Object] = []
        for kind in kinds.split(","):
            found += _select(world, plural(kind), namespace, names, given)
        found = json.loads(json.dumps(found))
    if names and not found:
        return 0
    if output == "json" and len(names) == 1:
        say(json.dumps(found[0], indent=4))
    elif output == "json":
        listed = {"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}}
        say(json.dumps(listed, indent=4))
    elif output in ("table", "wide", "name"):
        kubectl_tables.show(found, output, namespaces=everywhere)
    else:
        raise UnknownWords(f"output format {output}")
    return 0


def _select(world: World, kind: str, namespace: str, names: list[str], given: Words) -> list[Object]:
    scope = "" if kind in CLUSTER_SCOPED else namespace
    if not names:
        selector, field = given.value("-l", "--selector"), given.value("--field-selector")
        wanted = dict(part.split("=", 1) for part in selector.split(",")) if selector else {}
        path, _, value = field.partition("=")
        if path not in ("", "spec.nodeName"):
            raise UnknownWords(f"--field-selector={field}")
        return [
            one
            for one in world.kind(kind, scope)
            if labels_match(wanted, one) and (not path or one["spec"].get("nodeName", "") == value)
        ]
    found = []
    for name in names:
        one = world.get(kind, scope, name)
        if one is None and "--ignore-not-found" in given.switches:
            continue
        if one is None:
            raise Failure(f'Error from server (NotFound): {kind} "{name}" not found')
        found.append(one)
    return found


def _raw(place: ProgramPlace, given: Words) -> int:
    path = given.value("--raw")
    if not path:
        raise UnknownWords("get needs a resource, or --raw")
    with reached(place, given) as lab:
        version = server_version(lab)
    if path in ("/readyz", "/livez", "/healthz"):
        say("ok", end="")
    elif path in ("/readyz?verbose", "/livez?verbose"):
        say("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]informer-sync ok\nreadyz check passed")
    elif path == "/version":
        say(json.dumps(_version_document(version), indent=2), end="")
    elif path == "/metrics":
        say("# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested")
        say("# TYPE apiserver_requested_deprecated_apis gauge")
        say("# TYPE apiserver_request_total counter")
        say('apiserver_request_total{code="200",resource="nodes",verb="LIST",version="v1"} 12')
    else:
        raise Failure("Error from server (NotFound): the server could not find the requested resource")
    return 0


def _from_the_node(place: ProgramPlace, given: Words, address: str) -> int:
    """Whether a cluster IP leads from this node to an API server: kube-proxy has to have seen the service."""
    cluster_ip = address.removesuffix(f":{balancer.HTTPS}").strip("[]")
    if given.plain != ("get",) or given.value("--raw") != "/version":
        raise UnknownWords("a service is only there for: get --raw /version at https://CLUSTERIP:443")
    if not given.value("--kubeconfig"):
        raise Failure("Please enter Username: error: EOF")  # kubectl asks, and nobody is there to answer
    if given.value("--tls-server-name") not in ("kubernetes", "kubernetes.default"):
        raise Failure(
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate is not valid"
        )
    with opened(place.directory, node=place.node) as lab:
        endpoints = lab.records[place.node].proxy.services.get(cluster_ip)
        for name in lab.answering:
            own = at(lab.settings.addresses[name], lab.settings.ports.api_server)
            if endpoints and own in endpoints:
                say(json.dumps(_version_document(server_version(lab, name)), indent=2), end="")
                return 0
    if endpoints is None:
        raise Failure(f"Unable to connect to the server: dial tcp {address}: i/o timeout")
    raise Failure(f"The connection to the server {address} was refused - did you specify the right host or port?")


def _version(place: ProgramPlace, given: Words) -> int:
    client = releases.of_package(read_record(place.layout, place.node).packages["kubectl"])
    document: Object = {"clientVersion": _version_document(client), "kustomizeVersion": "v5.0.1"}
    as_json = given.value("-o", "--output") == "json"
    try:
        with reached(place, given) as lab:
            document["serverVersion"] = _version_document(server_version(lab))
    finally:
        # kubectl prints its own version also when no server answers, and then fails.
        if as_json:
            say(json.dumps(document, indent=2))
        else:
            for title, key in (("Client Version", "clientVersion"), ("Server Version", "serverVersion")):
                if key in document:
                    say(f"{title}: {document[key]['gitVersion']}")
    return 0


def server_version(lab: Simulation, name: str = "") -> str:
    """The version of the API server that was asked, or of the one on that node."""
    container = lab.api_server(name or lab.asked)
    return container.image.rsplit(":", 1)[1] if container else ""


def _version_document(version: str) -> Object:
    major, minor, _ = releases.numbers(version)
    return {
        "major": str(major),
        "minor": str(minor),
        "gitVersion": version,
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "2024-01-01T00:00:00Z",
        "goVersion": "go1.20.12",
        "compiler": "gc",
        "platform": "linux/amd64",
    }
