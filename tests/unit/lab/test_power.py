"""A machine of a lab loses its power: nothing runs there, nobody gets there, and it comes back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator

import pytest
from unit.lab.conftest import Operator, until

from upgrade_guard.errors import HostUnreachable, UsageProblem
from upgrade_guard.hosts.ssh import FRAME, SshHost
from upgrade_guard.lab import cluster, fault_switch, faults, power, processes
from upgrade_guard.model.command import Command


@pytest.fixture
def operator(new_lab: Callable[..., Operator], monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    made: Operator = new_lab(control_planes=3, over_ssh=True, faults=("machine-lost",))
    monkeypatch.setenv("PATH", f"{made.lab.ssh_directory}:{os.environ['PATH']}")
    return made


def over_ssh(operator: Operator, node: str) -> SshHost:
    """As the product reaches it, by the lab's configuration."""
    settings = tomllib.loads(operator.lab.config_path.read_text())["nodes"][node]
    return SshHost(node, settings["address"], path=settings["path"])


def ready_of(operator: Operator, node: str) -> str:
    return str(operator.nodes()[node]["status"]["conditions"][-1]["status"])


def test_a_machine_without_power(operator: Operator) -> None:
    lab, host = operator.lab, over_ssh(operator, "cp3")
    assert host.run(Command(("cat",), stdin=b"here", timeout=10.0)).stdout == "here"
    assert host.run(Command(("sh", "-c", "exit 7"), timeout=10.0)).exit_status == 7
    assert "cp3" in host.run(Command(("kubectl", "get", "nodes"), timeout=30.0)).stdout

    # What runs there when the power goes ends, and its connection is lost.
    argv = host.argv(Command(("sleep", "1234"), timeout=60.0))
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: processes.running_with("sleep", "1234"))
    switch = (
        "import sys; from pathlib import Path; from upgrade_guard.lab import power; power.off(Path(sys.argv[1]), 'cp3')"
    )
    # Not from here: whoever switches it off is not the parent of what ends.
    subprocess.run([sys.executable, "-c", switch, str(lab.directory)], check=True, timeout=60)
    said = running.communicate(timeout=20)[1]
    assert said == f"{FRAME.decode()}ssh: connect to host cp3 port 22: No route to host\n"
    assert running.returncode == 255
    assert not processes.running_with("sleep", "1234")
    assert not processes.running_with(f"--data-dir={lab.layout.etcd('cp3')}")

    with pytest.raises(HostUnreachable, match=r"cp3 cannot be reached as root@cp3: .*No route to host"):
        host.run(Command(("true",), timeout=10.0))
    assert over_ssh(operator, "cp2").run(Command(("true",), timeout=10.0)).ok
    assert operator.run("cp3", "systemctl", "start", "kubelet", ok=False).returncode == 255
    until(lambda: ready_of(operator, "cp3") == "Unknown")
    assert ready_of(operator, "cp2") == "True"

    power.on(lab.directory, "cp3")
    until(lambda: ready_of(operator, "cp3") == "True")
    own = f"--server=https://{lab.settings.addresses['cp3']}:6443"
    until(lambda: operator.kubectl(own, "get", "--raw", "/readyz", ok=False).returncode == 0)
    assert over_ssh(operator, "cp3").run(Command(("true",), timeout=10.0)).ok


def test_a_machine_is_lost_while_the_second_control_plane_is_upgraded(operator: Operator) -> None:
    with pytest.raises(UsageProblem, match="whose balancer is 'turn'"):
        cluster.up(operator.lab.directory, control_planes=3, balancer="address")
    operator.upgrade_first()
    assert not power.is_off(operator.lab.layout, "cp3")
    operator.install("cp2", "kubeadm=1.28.0-1.1")
    operator.run("cp2", "kubeadm", "upgrade", "node")
    assert power.is_off(operator.lab.layout, "cp3")
    with pytest.raises(HostUnreachable):
        over_ssh(operator, "cp3").run(Command(("true",), timeout=10.0))
    fault_switch.switch_off(operator.lab.directory, "machine-lost")
    until(lambda: ready_of(operator, "cp3") == "True")


def test_a_lab_that_cannot_lose_a_machine_says_so(lab: cluster.LabCluster, tmp_path) -> None:
    with pytest.raises(UsageProblem, match="needs three control planes"):
        cluster.up(tmp_path / "lab", faults=("machine-lost",))
    assert not (tmp_path / "lab").exists()
    with pytest.raises(UsageProblem, match="needs three control planes"):
        fault_switch.switch_on(lab.directory, "machine-lost")
    assert faults.armed(lab.directory) == ()
