"""Which of a node's containers are of pods that the restored API does not know there."""

from __future__ import annotations

from upgrade_guard.model.step import Facts
from upgrade_guard.steps.fencing import NOT_FENCED, begun_since, not_fenced
from upgrade_guard.tools.containers import Container, Sandbox

TAKEN = 1000.0


def uid(number: int) -> str:
    return f"0000000{number}-0000-4000-8000-000000000000"


def sandbox(number: int, created: float, pod: str = "db-0", pod_uid: str = "") -> Sandbox:
    return Sandbox(f"s{number}-{created:g}", "shop", pod, pod_uid or uid(number), created)


def container(number: int, pod: str = "db-0", *, running: bool = True, pod_uid: str = "") -> Container:
    return Container(f"c{number}", "db", "db:1", running, 0, pod, "shop", pod_uid or uid(number))


def test_a_pod_that_came_after_the_snapshot_is_ended_and_an_older_one_stays() -> None:
    sandboxes = [sandbox(1, TAKEN - 500), sandbox(2, TAKEN + 60, "web")]
    containers = [container(1), container(2, "web")]
    assert begun_since(sandboxes, containers, TAKEN) == {"c2": "shop/web"}


def test_a_pod_whose_sandbox_was_made_anew_was_here_before() -> None:
    """After a reboot kubelet makes another sandbox for the same pod."""
    assert begun_since([sandbox(1, TAKEN + 60), sandbox(1, TAKEN - 500)], [container(1)], TAKEN) == {}


def test_what_has_ended_needs_no_end() -> None:
    assert begun_since([sandbox(1, TAKEN + 60)], [container(1, running=False)], TAKEN) == {}


def test_static_pods_are_no_objects_of_the_api() -> None:
    static = "a2b1e38c65249f666d0602b210f1bf2f"
    one = sandbox(1, TAKEN + 60, "keepalived-cp1", static)
    assert begun_since([one], [container(1, "keepalived-cp1", pod_uid=static)], TAKEN) == {}


def test_a_container_without_a_sandbox_is_left_alone() -> None:
    assert begun_since([], [container(1)], TAKEN) == {}


def test_nodes_that_could_not_be_asked_are_named_once() -> None:
    facts = Facts(
        "r1",
        {
            "rollback/w1/stop-kubelet": {NOT_FENCED: "w1 cannot be reached"},
            "rollback/w1/fence": {NOT_FENCED: "kubelet on w1 runs"},
            "rollback/w2/fence": {"ended": []},
        },
    )
    assert not_fenced(facts) == {"w1": "w1 cannot be reached"}
