"""The command line that ssh gets, and a real sshd on loopback."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Sshd

from upgrade_guard.errors import HostUnreachable, UsageProblem
from upgrade_guard.hosts.ssh import ALWAYS, SOCKET_DIRECTORY_LIMIT, SshHost, private_socket_directory
from upgrade_guard.model.command import Command, Secret
from upgrade_guard.tools.files import Files


def test_the_argv_quotes_every_word_for_the_remote_shell() -> None:
    host = SshHost("cp1", "root@10.0.0.11", ("Port=2222",), "/keys/id", path="/opt/bin:/usr/bin")
    argv = host.argv(Command(("echo", "a b", "$HOME", "';reboot"), timeout=30.0))
    assert argv == (
        *("ssh", "-T", "-i", "/keys/id"),
        *(word for option in ("StrictHostKeyChecking=yes", *ALWAYS) for word in ("-o", option)),
        *("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "Port=2222", "-o", "ConnectTimeout=15"),
        *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6", "--", "root@10.0.0.11"),
        argv[-1],
    )
    assert argv[-1].endswith(
        " env LC_ALL=C PATH=/opt/bin:/usr/bin timeout --kill-after=10 30 echo 'a b' '$HOME' ''\"'\"';reboot'"
    )
    assert shlex.split(argv[-1])[-4:] == ["echo", "a b", "$HOME", "';reboot"]


def test_the_connection_is_shared_in_a_private_directory(tmp_path: Path) -> None:
    directory = Path(f"/tmp/ug-{os.getpid()}-{time.monotonic_ns()}")
    try:
        argv = SshHost("cp1", "cp1", control_dir=directory).argv(Command(("true",), timeout=5.0))
        assert f"ControlPath={directory}/%C" in argv
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    finally:
        directory.rmdir()


def test_a_directory_too_long_for_a_socket_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    wanted = tmp_path / ("x" * SOCKET_DIRECTORY_LIMIT)
    found = private_socket_directory(wanted)
    assert len(os.fsencode(found)) <= SOCKET_DIRECTORY_LIMIT
    assert not wanted.exists()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_link_in_place_of_the_socket_directory_is_refused() -> None:
    link = Path(f"/tmp/ug-{os.getpid()}-{time.monotonic_ns()}")
    link.symlink_to("/tmp")
    try:
        with pytest.raises(UsageProblem, match="not a directory of our own"):
            private_socket_directory(link)
    finally:
        link.unlink()


@pytest.mark.parametrize("destination", ["-oProxyCommand=reboot", "", "root@a b", "root@a\n", "\troot@a"])
def test_a_destination_that_could_be_an_option_is_refused(destination: str) -> None:
    with pytest.raises(UsageProblem):
        SshHost("cp1", destination)


@pytest.mark.parametrize(
    "option", ["StrictHostKeyChecking=no", "stricthostkeychecking off", "StrictHostKeyChecking = no", "", "-v", "A\nB"]
)
def test_host_key_checking_cannot_be_turned_off(option: str) -> None:
    with pytest.raises(UsageProblem):
        SshHost("cp1", "cp1", (option,))


def test_nothing_listens_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = SshHost("cp1", "root@127.0.0.1", (f"Port={port}",))
    with pytest.raises(
        HostUnreachable, match=r"cp1 cannot be reached as root@127.0.0.1: .*Connection refused"
    ) as caught:
        host.run(Command(("true",), timeout=5.0))
    assert "ssh root@127.0.0.1 true" in caught.value.hint


@pytest.fixture
def host(sshd: Sshd) -> Iterator[SshHost]:
    sockets = Path(f"/tmp/ug-{os.getpid()}-{time.monotonic_ns()}")
    connected = SshHost("cp1", f"{getpass.getuser()}@127.0.0.1", sshd.options, control_dir=sockets)
    yield connected
    connected.close()
    shutil.rmtree(sockets)


def test_output_input_and_status_travel(host: SshHost) -> None:
    command = Command(("bash", "-c", 'cat; echo "$1" >&2; exit 3', "x", Secret("a  b$'")), timeout=20.0, stdin=b"in\n")
    result = host.run(command)
    assert (result.exit_status, result.stdout, result.stderr) == (3, "in\n", "a  b$'\n")


def test_one_connection_serves_all_commands(host: SshHost) -> None:
    connections = {host.run(Command(("printenv", "SSH_CONNECTION"), timeout=20.0)).stdout for _ in range(3)}
    assert len(connections) == 1


def test_a_timeout_ends_the_program_on_the_node_too(host: SshHost, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    assert host.run(Command(("bash", "-c", script), timeout=1.0)).exit_status is None
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_files_travel_over_ssh(host: SshHost, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "here").write_bytes(content)
    files = Files(host)
    files.send(tmp_path / "here", str(tmp_path / "there"))
    files.write(str(tmp_path / "small"), b"small")
    files.fetch(str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert (tmp_path / "small").read_bytes() == b"small"


def test_an_unknown_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    options = tuple(option for option in sshd.options if not option.startswith("UserKnownHostsFile"))
    host = SshHost("cp1", "root@127.0.0.1", (f"UserKnownHostsFile={tmp_path}/none", *options))
    with pytest.raises(HostUnreachable, match="Host key verification failed"):
        host.run(Command(("true",), timeout=20.0))
