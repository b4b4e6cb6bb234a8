"""One process answers for the programs of a lab's nodes, and nobody can tell it from a program of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.lab.conftest import Operator, until

from upgrade_guard.lab import cluster, fault_switch, program_server
from upgrade_guard.lab.layout import Layout

UNSERVED = 99


@pytest.fixture
def served(new_lab: Callable[..., Operator]) -> Operator:
    """An operator whose launchers never start a Python: what the server does not answer ends with UNSERVED."""
    operator = new_lab()
    until(lambda: program_server.answers(operator.lab.layout))
    for node in operator.lab.settings.names:
        for launcher in operator.lab.layout.programs(node).iterdir():
            launcher.write_text(re.sub(r"(?m)^exec .*\n", f"exit {UNSERVED}\n", launcher.read_text()))
    return operator


def workers(layout: Layout) -> list[str]:
    return [path.name for path in layout.workers.iterdir()]


def blocked_drain(operator: Operator) -> subprocess.Popen[bytes]:
    """A program that runs until it is ended: the budget lets no pod go."""
    fault_switch.switch_on(operator.lab.directory, "drain-blocked")
    going = subprocess.Popen(
        ("kubectl", "drain", "w1", "--ignore-daemonsets", "--delete-emptydir-data"),
        env=operator.environment("cp1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: workers(operator.lab.layout))
    return going


def test_programs_answer_without_a_python_of_their_own(served: Operator) -> None:
    assert set(served.nodes()) == {"cp1", "w1"}
    assert served.run("w1", "dpkg-query", "--show", "kubelet").stdout.split() == ["kubelet", "1.27.16-1.1"]
    failed = served.kubectl("get", "configmap", "no-such", ok=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == 'Error from server (NotFound): configmaps "no-such" not found\n'
    assert not workers(served.lab.layout)


def test_words_arrive_as_they_were_given(served: Operator) -> None:
    odd = "two  words\n'and' a line; $(none) \\ ü"
    ended = served.run("cp1", "apt-get", odd, "", ok=False)
    assert ended.returncode == 64
    assert odd in ended.stderr


def test_standard_input_and_the_directory_are_the_callers(served: Operator, tmp_path: Path) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-stdin", "namespace": "default"}}
    served.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    assert served.get("configmap", "by-stdin")["metadata"]["name"] == "by-stdin"
    shutil.copy(served.lab.layout.kubernetes("cp1") / "admin.conf", tmp_path / "here.conf")
    program = str(served.lab.layout.programs("cp1") / "kubectl")
    ended = subprocess.run(
        (program, "--kubeconfig=here.conf", "get", "--raw", "/readyz"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "ok"), ended.stderr


def test_a_killed_launcher_takes_its_worker_along(served: Operator) -> None:
    drain = blocked_drain(served)
    drain.kill()
    drain.wait()
    until(lambda: not workers(served.lab.layout))
    assert served.ready()


def test_a_machine_that_loses_its_power_loses_its_workers_and_no_others(served: Operator) -> None:
    drain = blocked_drain(served)
    layout = served.lab.layout
    before = workers(layout)
    program_server.kill_programs(layout, "w1")
    assert workers(layout) == before
    program_server.kill_programs(layout, "cp1")
    assert drain.wait(30) == 128 + signal.SIGKILL


def test_what_runs_goes_on_when_the_lab_is_brought_up_again(served: Operator) -> None:
    drain = blocked_drain(served)
    cluster.up(served.lab.directory)
    assert drain.poll() is None
    assert workers(served.lab.layout)
    drain.kill()
    drain.wait()


def test_a_lab_that_was_removed_by_hand_and_made_again_has_a_server(new_lab: Callable[..., Operator]) -> None:
    lab = new_lab().lab
    until(lambda: program_server.answers(lab.layout))
    shutil.rmtree(lab.directory)
    cluster.up(lab.directory)
    until(lambda: program_server.answers(lab.layout))


def test_a_server_that_dies_leaves_no_launcher_waiting(served: Operator) -> None:
    drain = blocked_drain(served)
    os.kill(int((served.lab.layout.server / "ready").read_text().split()[0]), signal.SIGKILL)
    assert drain.wait(30) == 128 + signal.SIGKILL


@pytest.mark.parametrize("how", ["stopped", "another FIFO, as in a copy of the lab"])
def test_without_a_server_a_program_starts_a_python(served: Operator, how: str) -> None:
    assert served.run("cp1", "kubelet", "--version", ok=False).returncode == 0
    if how == "stopped":
        program_server.stop(served.lab.layout)
    else:
        (served.lab.layout.server / "requests").unlink()
        os.mkfifo(served.lab.layout.server / "requests")
    assert served.run("cp1", "kubelet", "--version", ok=False).returncode == UNSERVED


def test_output_of_several_programs_into_one_file_is_whole(new_lab: Callable[..., Operator], tmp_path: Path) -> None:
    """A shell's file has one position for all; a worker has a position of its own, so it must not be asked."""
    operator, path = new_lab(), tmp_path / "said"
    with path.open("w") as file:
        subprocess.run(
            ("sh", "-c", "kubelet --version; echo between; kubelet --version; echo after"),
            env=operator.environment("cp1"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            check=True,
        )
    version = "Kubernetes v1.27.16"
    assert path.read_text().splitlines() == [version, "between", version, "after"]


def test_what_is_preloaded_into_a_caller_starts_a_python(served: Operator) -> None:
    environment = {**served.environment("cp1"), "LD_PRELOAD": ""}
    program = str(served.lab.layout.programs("cp1") / "kubelet")
    ended = subprocess.run((program, "--version"), env=environment, capture_output=True, check=False)
    assert ended.returncode == UNSERVED


def test_nothing_of_a_server_is_left(new_lab: Callable[..., Operator]) -> None:
    operator = new_lab()
    server = int(until(lambda: _ready(operator.lab.layout)).split()[0])
    program_server.stop(operator.lab.layout)
    assert not Path(f"/proc/{server}/fd/0").exists()
    assert shutil.which("kubectl", path=operator.lab.path("cp1"))
    assert set(operator.nodes()) == {"cp1", "w1"}


def _ready(layout: Layout) -> str:
    path = layout.server / "ready"
    return path.read_text() if path.exists() else ""
