"""An impostor in the place of a machine whose key is known: a real sshd with a key of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Sshd, program

from upgrade_guard.errors import GuardError, HostUnreachable, UsageProblem
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.model.command import Command

Configured = Callable[[str], None]
ME = getpass.getuser()


@pytest.fixture(scope="module")
def impostor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """It has the operator's public key and a host key that is not the one in the operator's `known`."""
    directory = tmp_path_factory.mktemp("impostor")
    server = Sshd(directory)
    own = (directory / "known").read_text()
    program_of_keys = directory / "says-its-key"
    program_of_keys.write_text(f"#!/bin/sh\necho '{own.strip()}'\n")
    program_of_keys.chmod(0o755)
    real = directory / "real"
    real.mkdir()
    key = (Sshd(real).directory / "host.pub").read_text().split()
    (directory / "known").write_text(f"[127.0.0.1]:{server.port} {key[0]} {key[1]}\n")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """Writes what an operator has in ~/.ssh/config: ssh takes that from the home of the account, so here from -F."""
    real = program("ssh", "openssh-client")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {real} -F {tmp_path}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def write(text: str) -> None:
        (tmp_path / "ssh_config").write_text(text)

    write("")
    return write


def to(server: Sshd, *options: str, checking: bool = True) -> SshHost:
    """Whoever answers on the port of `server`; without `checking` nothing is said of host keys."""
    needed = server.options if checking else server.options[:3]
    return SshHost("cp1", f"{ME}@127.0.0.1", (*options, *needed))


def lets_in(host: SshHost) -> bool:
    return host.run(Command(("echo", "in"), timeout=20.0)).stdout == "in\n"


TRICKS = {
    "quoted": ('StrictHostKeyChecking="no"',),
    "false": ("StrictHostKeyChecking=false",),
    "single": ("StrictHostKeyChecking='no'",),
    "off": ("StrictHostKeyChecking=off",),
    "no": ("StrictHostKeyChecking no",),
    "equals": ("StrictHostKeyChecking==no",),
    "forgetful": ("StrictHostKeyChecking=accept-new", "UserKnownHostsFile=/dev/null"),
    "forgetful-none": ("StrictHostKeyChecking=accept-new", "UserKnownHostsFile=none"),
    "forgetful-first": ("StrictHostKeyChecking=accept-new", "UserKnownHostsFile=/dev/null {known}"),
    "command": ("KnownHostsCommand={says}", "UserKnownHostsFile=/dev/null"),
    "loopback": ("NoHostAuthenticationForLocalhost=yes",),
    "dns": ("VerifyHostKeyDNS=yes",),
    "included": ("Include={says}",),
    "local-command": ("LocalCommand=touch {says}.ran", "PermitLocalCommand=yes"),
}


@pytest.mark.parametrize("options", TRICKS.values(), ids=TRICKS)
def test_no_option_lets_an_impostor_in(impostor: Sshd, options: tuple[str, ...]) -> None:
    said = tuple(
        one.format(says=impostor.directory / "says-its-key", known=impostor.directory / "known") for one in options
    )
    with pytest.raises(GuardError):
        lets_in(to(impostor, *said))


IN_THE_CONFIG = {
    "no": "StrictHostKeyChecking no",
    "quoted": 'StrictHostKeyChecking "no"',
    "off, nowhere": "StrictHostKeyChecking off\nUserKnownHostsFile /dev/null",
    "accept-new, nowhere": "StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null",
    "command": "KnownHostsCommand {says}\nUserKnownHostsFile {known}",
    "command, nowhere": "KnownHostsCommand {says}\nUserKnownHostsFile /dev/null",
    "loopback": "NoHostAuthenticationForLocalhost yes",
    "match": "Match all\n  StrictHostKeyChecking no",
}


@pytest.mark.parametrize("text", IN_THE_CONFIG.values(), ids=IN_THE_CONFIG)
def test_nothing_in_the_operators_files_lets_an_impostor_in(impostor: Sshd, configured: Configured, text: str) -> None:
    directory = impostor.directory
    configured(text.format(says=directory / "says-its-key", known=directory / "none-yet") + "\n")
    with pytest.raises(GuardError):
        lets_in(to(impostor, checking=False))


def test_keys_that_are_accepted_when_new_are_kept_and_another_one_later_is_refused(
    impostor: Sshd, sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    options = ("StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={known}", "HashKnownHosts=no")
    assert lets_in(to(sshd, *options, checking=False))
    known.write_text(known.read_text().replace(f":{sshd.port}", f":{impostor.port}"))
    with pytest.raises(HostUnreachable, match="Host key verification failed") as caught:
        lets_in(to(impostor, *options, checking=False))
    assert f"ssh -o StrictHostKeyChecking=ask {ME}@127.0.0.1 true" in caught.value.hint


def test_a_connection_that_somebody_shares_is_not_taken(impostor: Sshd, configured: Configured, tmp_path: Path) -> None:
    socket = Path(f"/tmp/ug-{os.getpid()}-shared")
    configured(f"ControlPath {socket}\nControlMaster auto\nControlPersist 60\nUserKnownHostsFile /dev/null\n")
    careless = ("ssh", "-o", "StrictHostKeyChecking=no", *(w for one in impostor.options[:3] for w in ("-o", one)))
    here = subprocess.run((*careless, f"{ME}@127.0.0.1", "echo in"), stdout=subprocess.PIPE, check=True, timeout=30)
    try:
        assert here.stdout == b"in\n"
        assert socket.exists()
        with pytest.raises(GuardError):
            lets_in(to(impostor))
    finally:
        subprocess.run((*careless, "-O", "exit", f"{ME}@127.0.0.1"), stderr=subprocess.DEVNULL, check=True, timeout=30)


def test_agents_screens_and_ports_are_not_lent_and_nothing_runs_here(
    sshd: Sshd, configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    configured(
        f"ForwardAgent yes\nForwardX11 yes\nPermitLocalCommand yes\nLocalCommand touch {tmp_path}/ran\n"
        f"RemoteForward {sshd.port + 1} 127.0.0.1:22\nRemoteCommand echo theirs\n"
    )
    said = to(sshd).run(Command(("env",), timeout=20.0)).stdout
    assert "LC_ALL=C" in said
    assert "SSH_AUTH_SOCK" not in said
    assert "DISPLAY" not in said
    assert not (tmp_path / "ran").exists()


def test_a_jump_host_of_the_operator_is_gone_through(sshd: Sshd, configured: Configured, tmp_path: Path) -> None:
    directory = sshd.directory
    configured(
        f"Host *\n  IdentityFile {directory}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {directory}/known\n"
        f"Host jump\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {ME}\n"
        f"Host behind\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {ME}\n  ProxyJump jump\n"
    )
    host = SshHost("cp1", "behind")
    assert lets_in(host)
    connection = host.run(Command(("printenv", "SSH_CONNECTION"), timeout=20.0)).stdout.split()
    assert connection[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "destination",
    [
        "root@-oProxyCommand=x",
        "-l@host",
        "ssh://-oProxyCommand=x",
        "root@`id`",
        "root@$(id)",
        "root@a;id",
        "a'b",
        "@a",
        "ssh://root@",
        "root@a/b",
        "x;y@a",
        "x`id`@a",
        "root@a|b",
        "root\\@a",
        "root@a&",
        "ssh://root@-h:22",
        "ro ot@a",
    ],
)
def test_destinations_that_could_be_something_else_are_refused(destination: str) -> None:
    with pytest.raises(UsageProblem, match="cannot be used as an ssh destination"):
        SshHost("cp1", destination)


@pytest.mark.parametrize(
    "destination",
    [
        "cp1",
        "root@10.0.0.11",
        "root@fe80::1%eth0",
        "ssh://root@[2001:db8::5]:2222",
        "DOM\\joe@w1.internal",
        "a.b@c_d",
        "joe@example.org@w1",
    ],
)
def test_destinations_of_all_kinds_are_taken(destination: str) -> None:
    assert SshHost("cp1", destination).destination == destination


@pytest.mark.parametrize(
    "option",
    [
        "ForwardAgent=yes",
        "LocalCommand=id",
        "PermitLocalCommand=yes",
        "ControlPath=/tmp/x",
        "Include=/tmp/x",
        "RemoteCommand=id",
        "BatchMode=no",
        "Tunnel=yes",
        "SendEnv=AWS_*",
        "KnownHostsCommand=/bin/x",
        "Nonsense=1",
    ],
)
def test_options_are_an_allow_list(option: str) -> None:
    with pytest.raises(UsageProblem, match="is refused"):
        SshHost("cp1", "cp1", (option,))


def test_an_operators_choice_of_what_may_be_chosen_wins() -> None:
    argv = SshHost("cp1", "cp1", ("connecttimeout=30", "StrictHostKeyChecking=accept-new")).argv(
        Command(("true",), timeout=5.0)
    )
    options = [word for word in argv if "=" in word]
    assert options[0] == "StrictHostKeyChecking=accept-new"
    assert options.index("ConnectTimeout=30") < options.index("ConnectTimeout=15")


def test_keys_that_are_accepted_when_new_have_to_be_kept(impostor: Sshd) -> None:
    with pytest.raises(UsageProblem, match="host keys are kept nowhere") as caught:
        lets_in(to(impostor, "StrictHostKeyChecking=accept-new", "UserKnownHostsFile=/dev/null", checking=False))
    assert f"ssh to cp1 ({ME}@127.0.0.1) is refused" in caught.value.message
    assert "UserKnownHostsFile=~/.ssh/known_hosts" in caught.value.hint


def test_of_an_option_that_is_given_twice_the_first_counts_as_with_ssh() -> None:
    options = ("StrictHostKeyChecking=accept-new", "StrictHostKeyChecking=yes")
    assert "StrictHostKeyChecking=accept-new" in SshHost("cp1", "cp1", options).argv(Command(("true",), timeout=5.0))


@pytest.mark.parametrize("text", ["StdinNull yes", "SessionType none"])
def test_a_configuration_that_changes_what_arrives_is_refused(configured: Configured, text: str) -> None:
    configured(f"{text}\n")
    with pytest.raises(UsageProblem, match="the ssh configuration sets") as caught:
        SshHost("cp1", "cp1").run(Command(("true",), timeout=5.0))
    assert "ssh -G cp1" in caught.value.hint


def test_without_ssh_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not shutil.which("ssh")
    with pytest.raises(HostUnreachable, match="ssh: not found"):
        SshHost("cp1", "cp1").run(Command(("test", "-e", "/etc"), timeout=5.0))


def test_a_configuration_that_ssh_cannot_read_is_named(configured: Configured) -> None:
    configured("Nonsense yes\n")
    with pytest.raises(HostUnreachable, match=r"Bad configuration option|terminating, 1 bad configuration options"):
        SshHost("cp1", "cp1").run(Command(("true",), timeout=5.0))
