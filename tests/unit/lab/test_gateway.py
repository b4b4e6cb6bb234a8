"""Connections to etcd that outlive a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from unit.lab.conftest import Operator, until

from upgrade_guard.lab.cluster import LabCluster
from upgrade_guard.lab.gateway import Connections, EtcdAway, Gateway
from upgrade_guard.lab.simulation import credentials


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections()
    yield made
    made.close()


def taken(connections: Connections, lab: LabCluster) -> Gateway:
    return connections.take(credentials(lab.layout), lab.settings.addresses["cp1"], lab.settings.ports.etcd_client, 2.0)


def test_the_next_program_goes_on_with_the_connection(lab: LabCluster, connections: Connections) -> None:
    first = taken(connections, lab)
    first.greet()
    connections.give_back(first)
    again = taken(connections, lab)
    assert again is first
    assert again.rests()
    assert again.range("/registry", "/registry0")[1]
    connections.give_back(again)


def test_two_at_a_time_have_one_each(lab: LabCluster, connections: Connections) -> None:
    first, second = taken(connections, lab), taken(connections, lab)
    assert first is not second
    for one in (first, second):
        one.greet()
        connections.give_back(one)
    assert taken(connections, lab) is second
    second.close()


def test_a_member_that_was_started_anew_is_met_again(
    new_lab: Callable[..., Operator], connections: Connections
) -> None:
    operator = new_lab()
    first = taken(connections, operator.lab)
    first.greet()
    connections.give_back(first)
    operator.run("cp1", "crictl", "stop", "--timeout", "3", operator.running("cp1", "etcd"))
    away = Gateway(*first.member, credentials(operator.lab.layout).context())
    with pytest.raises(EtcdAway):
        away.greet()
    until(operator.ready)  # kubelet has started it anew
    back = taken(connections, operator.lab)
    back.greet()
    back.close()


def test_other_credentials_are_another_connection(lab: LabCluster, connections: Connections) -> None:
    first = taken(connections, lab)
    first.greet()
    connections.give_back(first)
    key = credentials(lab.layout).key_file
    content = key.read_bytes()
    beside = key.with_name("beside")
    beside.touch(mode=0o600)
    beside.write_bytes(content)
    beside.replace(key)
    again = taken(connections, lab)
    assert again is not first
    again.greet()
    again.close()
