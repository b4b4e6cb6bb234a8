"""What kubectl changes: objects applied and deleted, nodes cordoned, a few conveniences for a person by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from upgrade_guard.lab import controllers, objects, ranges
from upgrade_guard.lab.programs.entry import Failure, UnknownWords, Words, say
from upgrade_guard.lab.simulation import Simulation
from upgrade_guard.lab.world import CLUSTER_SCOPED, Object, World, labels_match, plural_of


def change(lab: Simulation, given: Words) -> int:
    """Change, let everything that watches act on it, and write it all."""
    match given.plain:
        case ("cordon", node):
            set_unschedulable(world_of(lab), node, wanted=True)
        case ("uncordon", node):
            set_unschedulable(world_of(lab), node, wanted=False)
        case ("apply",):
            for one in _given(given):
                _apply(world_of(lab), one, given)
        case ("delete",):
            for one in _given(given):
                _delete_given(world_of(lab), one, given)
        case ("delete", "pods" | "pod", *names):
            _delete_pods(world_of(lab), names, given)
        case ("create", "configmap" | "cm", name):
            _create_configmap(world_of(lab), name, given)
        case ("delete", "configmap" | "cm", name):
            found = world_of(lab).get("configmaps", _namespace(given), name)
            if found is None:
                raise Failure(f'Error from server (NotFound): configmaps "{name}" not found')
            world_of(lab).remove(found)
            say(f'configmap "{name}" deleted')
        case ("patch", "cronjob" | "cronjobs", name):
            _patch_status(world_of(lab), "cronjobs", name, given)
        case ("scale", "deployment" | "deploy", name):
            _scale(world_of(lab), name, given)
        case _:
            raise UnknownWords(" ".join(given.plain))
    lab.settle()
    return 0


def world_of(lab: Simulation) -> World:
    """The API's objects; there is an API server that answers, or kubectl had failed before."""
    if lab.world is None:
        raise Failure("Unable to connect to the server: EOF")
    return lab.world


def set_unschedulable(world: World, name: str, *, wanted: bool) -> None:
    """Cordon or uncordon."""
    node = world.get("nodes", "", name)
    if node is None:
        raise Failure(f'Error from server (NotFound): nodes "{name}" not found')
    verb, already = ("cordoned" if wanted else "uncordoned"), bool(node["spec"].get("unschedulable"))
    if already == wanted:
        say(f"node/{name} already {verb}")
        return
    taints = [one for one in node["spec"].get("taints", ()) if one["key"] != controllers.UNSCHEDULABLE]
    if wanted:
        node["spec"]["unschedulable"] = True
        taints.append({"effect": "NoSchedule", "key": controllers.UNSCHEDULABLE})
    else:
        node["spec"].pop("unschedulable", None)
    node["spec"]["taints"] = taints
    if not taints:
        del node["spec"]["taints"]
    say(f"node/{name} {verb}")


def _namespace(given: Words) -> str:
    return given.value("-n", "--namespace", default="default")


def _given(given: Words) -> Iterator[Object]:
    if given.value("-f", "--filename") != "-":
        raise UnknownWords("objects are only read from standard input: -f -")
    try:
        read = json.load(sys.stdin)
        yield from read["items"] if read["kind"].endswith("List") else [read]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"error: error parsing STDIN: the lab reads JSON only: {error}") from error


def _place(one: Object, given: Words) -> tuple[str, str, str]:
    kind = plural_of(one["kind"])
    namespace = "" if kind in CLUSTER_SCOPED else one["metadata"].get("namespace", _namespace(given))
    return kind, namespace, one["metadata"]["name"]


def _shown(one: Object) -> str:
    group = one["apiVersion"].rpartition("/")[0]
    return f"{one['kind'].lower()}{'.' + group if group else ''}/{one['metadata']['name']}"


def _apply(world: World, one: Object, given: Words) -> None:
    kind, namespace, name = _place(one, given)
    before = world.get(kind, namespace, name)
    if namespace:
        one["metadata"]["namespace"] = namespace
    if before is None:
        if one["kind"] == "Service" and not one["spec"].get("clusterIP"):
            one["spec"]["clusterIP"] = _free_address(world)
            one["spec"]["clusterIPs"] = [one["spec"]["clusterIP"]]
            one["spec"].setdefault("type", "ClusterIP")
        if one["kind"] == "Pod":
            one.setdefault("status", {"phase": "Pending"})
        if one["kind"] in ("Deployment", "DaemonSet", "PodDisruptionBudget"):
            one["metadata"]["generation"] = 1
            one.setdefault("status", {})
        world.put(one)
        say(f"{_shown(one)} created")
        return
    after = _merged(before, one)
    world.put(after)
    say(f"{_shown(one)} {'unchanged' if after == before else 'configured'}")


def _merged(before: Object, change: Object) -> Object:
    """A three-way merge is more than a rehearsal needs: what is given wins, what is not given stays."""
    merged = dict(before)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _free_address(world: World) -> str:
    taken = {service["spec"].get("clusterIP") for service in world.kind("services")}
    ipv6 = any(":" in one for one in taken if one)
    return next(one for number in range(256, 2**16) if (one := ranges.service(number, ipv6=ipv6)) not in taken)


def _delete_given(world: World, one: Object, given: Words) -> None:
    kind, namespace, name = _place(one, given)
    found = world.get(kind, namespace, name)
    if found is None:
        if "--ignore-not-found" not in given.switches:
            raise Failure(f'Error from server (NotFound): {kind} "{name}" not found')
        return
    if kind == "pods":
        controllers.mark_deleted(found, world)
    else:
        world.remove(found)
    say(f'{_shown(one).replace("/", " " + chr(34))}" deleted')


def _delete_pods(world: World, names: list[str], given: Words) -> None:
    namespace, selector = _namespace(given), given.value("-l", "--selector")
    if not names and not selector:
        raise Failure("error: resource(s) were provided, but no name was specified")
    wanted = dict(part.split("=", 1) for part in selector.split(",")) if selector else {}
    found = [
        pod
        for pod in world.kind("pods", namespace)
        if (not names or pod["metadata"]["name"] in names) and labels_match(wanted, pod)
    ]
    for name in set(names) - {pod["metadata"]["name"] for pod in found}:
        raise Failure(f'Error from server (NotFound): pods "{name}" not found')
    if not found:
        say("No resources found")
    for pod in found:
        controllers.mark_deleted(pod, world)
        say(f'pod "{pod["metadata"]["name"]}" deleted')


def _create_configmap(world: World, name: str, given: Words) -> None:
    namespace = _namespace(given)
    if world.get("configmaps", namespace, name) is not None:
        raise Failure(f'error: failed to create configmap: configmaps "{name}" already exists')
    pairs = dict(part.split("=", 1) for part in given.values.get("--from-literal", ()))
    world.put(objects.configmap(namespace, name, pairs))
    say(f"configmap/{name} created")


def _patch_status(world: World, plural: str, name: str, given: Words) -> None:
    """A merge patch of an object's status: it goes one level deep here, and changes nothing else."""
    if (given.value("--subresource"), given.value("--type")) != ("status", "merge"):
        raise UnknownWords("only --subresource=status with --type=merge is there")
    found = world.get(plural, _namespace(given), name)
    if found is None:
        raise Failure(f'Error from server (NotFound): {plural}.batch "{name}" not found')
    found.setdefault("status", {}).update(json.loads(given.value("--patch", "-p"))["status"])
    say(f"cronjob.batch/{name} patched")


def _scale(world: World, name: str, given: Words) -> None:
    found = world.get("deployments", _namespace(given), name)
    if found is None:
        raise Failure(f'Error from server (NotFound): deployments.apps "{name}" not found')
    found["spec"]["replicas"] = int(given.value("--replicas", default="1"))
    found["metadata"]["generation"] += 1
    say(f"deployment.apps/{name} scaled")
