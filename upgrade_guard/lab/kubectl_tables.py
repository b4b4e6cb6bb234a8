"""kubectl's tables, for a person who looks at the lab by hand."""

from __future__ import annotations

from upgrade_guard.lab import objects
from upgrade_guard.lab.programs.entry import complain, say
from upgrade_guard.lab.world import Object, plural_of


def show(found: list[Object], output: str, *, namespaces: bool) -> None:
    """One table for each kind; with "name" only `kind/name`."""
    if output == "name":
        for one in found:
            say(f"{one['kind'].lower()}/{one['metadata']['name']}")
        return
    if not found:
        complain("No resources found")
    for kind in dict.fromkeys(one["kind"] for one in found):
        rows = [_row(one) for one in found if one["kind"] == kind]
        if namespaces and plural_of(kind) != "nodes":
            spaces = [one["metadata"].get("namespace", "") for one in found if one["kind"] == kind]
            rows = [{"NAMESPACE": space, **row} for space, row in zip(spaces, rows, strict=True)]
        widths = {column: max(len(column), *(len(row[column]) for row in rows)) + 3 for column in rows[0]}
        say("".join(column.ljust(width) for column, width in widths.items()).rstrip())
        for row in rows:
            say("".join(row[column].ljust(width) for column, width in widths.items()).rstrip())


def _row(one: Object) -> dict[str, str]:
    name, status, spec = one["metadata"]["name"], one.get("status", {}), one.get("spec", {})
    match one["kind"]:
        case "Node":
            roles = "control-plane" if objects.CONTROL_PLANE in one["metadata"]["labels"] else "<none>"
            state = ("" if objects.is_ready(one) else "Not") + "Ready"
            state += ",SchedulingDisabled" if spec.get("unschedulable") else ""
            return {"NAME": name, "STATUS": state, "ROLES": roles, "VERSION": status["nodeInfo"]["kubeletVersion"]}
        case "Pod":
            statuses = status.get("containerStatuses", ())
            waiting = next((row["state"]["waiting"]["reason"] for row in statuses if "waiting" in row["state"]), "")
            shown = "Terminating" if "deletionTimestamp" in one["metadata"] else waiting or status.get("phase", "")
            return {
                "NAME": name,
                "READY": f"{sum(1 for row in statuses if row['ready'])}/{len(spec['containers'])}",
                "STATUS": shown,
                "RESTARTS": str(sum(row["restartCount"] for row in statuses)),
                "NODE": spec.get("nodeName", "<none>"),
            }
        case "Deployment":
            return {"NAME": name, "READY": f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"}
        case "DaemonSet":
            desired = str(status.get("desiredNumberScheduled", 0))
            return {"NAME": name, "DESIRED": desired, "READY": str(status.get("numberReady", 0))}
        case "PodDisruptionBudget":
            return {"NAME": name, "ALLOWED DISRUPTIONS": str(status.get("disruptionsAllowed", 0))}
        case "Service":
            return {"NAME": name, "TYPE": spec.get("type", ""), "CLUSTER-IP": spec.get("clusterIP", "")}
        case "ConfigMap":
            return {"NAME": name, "DATA": str(len(one.get("data", {})))}
        case _:
            return {"NAME": name}
