"""Login shells that print, end by themselves, or read quotes in their own way, behind a real sshd."""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Sshd, program

from upgrade_guard.errors import HostUnreachable, OutputTooLarge
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.hosts.transcript import RunTranscript
from upgrade_guard.model.command import Command
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.pieces import Pieces

BehindShell = Callable[..., SshHost]


@pytest.fixture
def behind_shell(tmp_path: Path) -> Iterator[BehindShell]:
    """A host whose sshd gives each command to this shell in place of the account's own; HOME is `tmp_path`."""
    servers = []

    def make(*shell: str, transcript: RunTranscript | None = None) -> SshHost:
        directory = tmp_path / f"sshd-{len(servers)}"
        directory.mkdir()
        server = Sshd(directory)
        # bash reads .bashrc when sshd started it, and believes that by its variables
        words = shlex.join(("env", "SHLVL=0", f"HOME={tmp_path}", f"XDG_CONFIG_HOME={tmp_path}", *shell))
        with (directory / "config").open("a") as config:
            config.write(f'ForceCommand exec {words} -c "$SSH_ORIGINAL_COMMAND"\n')
        server.start()
        servers.append(server)
        return SshHost("cp1", f"{getpass.getuser()}@127.0.0.1", server.options, transcript=transcript)

    yield make
    for server in servers:
        server.kill()


def bash() -> str:
    return program("bash", "bash")


BANNER = 'echo "*** reboot required ***"\necho "*** and on stderr ***" >&2\n'


def test_a_banner_is_not_taken_for_an_answer(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text(BANNER)
    files = Files(behind_shell(bash()))
    (tmp_path / "there").write_text("content")
    there = str(tmp_path / "there")
    assert files.existing(there, str(tmp_path / "absent")) == {there}
    assert files.read_text(there) == "content"
    assert files.read_bytes(there) == b"content"
    assert [entry.path for entry in files.entries(there)] == [there]
    assert files.sha256(there).keys() == {there}
    result = files.host.run(Command(("sh", "-c", "echo why >&2; exit 3"), timeout=20.0))
    assert (result.exit_status, result.stdout, result.stderr) == (3, "", "why\n")


def test_a_banner_that_begins_later_is_not_taken_for_an_answer(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text(f"[ -e {tmp_path}/reboot-required ] && {BANNER}")
    files = Files(behind_shell(bash()))
    there = str(tmp_path / ".bashrc")
    assert files.existing(there) == {there}
    (tmp_path / "reboot-required").write_text("")
    assert files.existing(there) == {there}


def test_large_files_come_whole_through_a_noisy_shell(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text(BANNER)
    host = behind_shell(bash())
    content = os.urandom(5_000_000)
    (tmp_path / "large").write_bytes(content)
    Files(host).fetch(str(tmp_path / "large"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    Pieces(host).read(str(tmp_path / "large"), 1_000_000, 2_000_000, tmp_path / "piece")
    assert (tmp_path / "piece").read_bytes() == content[1_000_000:3_000_000]
    Files(host).send(tmp_path / "back", str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == content


def test_the_log_has_what_the_program_said(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text(BANNER)
    transcript = RunTranscript(lambda _: None, tmp_path / "log", "run")
    behind_shell(bash(), transcript=transcript).run(Command(("echo", "the answer"), timeout=20.0))
    transcript.close()
    log = (tmp_path / "log").read_text()
    assert "| the answer\n" in log
    assert "reboot required" not in log
    assert "begins" not in log


ENDING = {
    "says that it is there": "exit 0",
    "says that it is absent": "exit 1",
    "is another shell": "exec cat",
    "prints much and ends": "yes | head -c 3000000; exit 0",
    "prints too much": "head -c 3000000 /dev/zero",
}


@pytest.mark.parametrize("text", ENDING.values(), ids=ENDING)
def test_a_shell_that_ends_by_itself_says_nothing_of_a_file(
    behind_shell: BehindShell, tmp_path: Path, text: str
) -> None:
    (tmp_path / ".bashrc").write_text(f"{text}\n")
    files = Files(behind_shell(bash()))
    for path in (str(tmp_path), str(tmp_path / "absent")):
        with pytest.raises(HostUnreachable, match="its login shell did not begin the command"):
            files.exists(path)
    with pytest.raises(HostUnreachable, match="its login shell did not begin the command"):
        files.fetch(str(tmp_path / ".bashrc"), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_shell_that_prints_for_ever_does_not_fill_memory(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("yes\n")
    with pytest.raises(OutputTooLarge, match="test printed more than 64 MiB"):
        Files(behind_shell(bash())).exists(str(tmp_path))


def test_an_account_without_a_shell_says_nothing_of_a_file(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / "nologin").write_text("#!/bin/sh\necho This account is currently not available.\nexit 1\n")
    (tmp_path / "nologin").chmod(0o755)
    with pytest.raises(HostUnreachable, match=r"did not begin the command: This account is currently not available\."):
        Files(behind_shell(str(tmp_path / "nologin"))).exists("/etc/kubernetes/manifests/kube-apiserver.yaml")


WORDS = (
    "a b",
    "$HOME",
    "a\\\\b",
    "\\n",
    "x'y",
    '"',
    "!x",
    "a!b",
    "`id`",
    "*",
    "~",
    "",
    "é",
    "two\nlines",
    "\\'",
    "{a,b}",
)


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_every_word_arrives_as_it_is(behind_shell: BehindShell, shell: str) -> None:
    host = behind_shell(program(shell, shell))
    stdout = host.run(Command(("printf", r"%s\0", *WORDS), timeout=20.0)).stdout
    assert tuple(stdout.split("\0")[:-1]) == WORDS


@pytest.mark.parametrize("shell", ["fish", "tcsh"])
def test_a_shell_that_reads_quotes_in_another_way_is_refused_before_anything_runs(
    behind_shell: BehindShell, tmp_path: Path, shell: str
) -> None:
    host = behind_shell(program(shell, shell))
    ran = tmp_path / "ran"
    for words in (("touch", str(ran)), ("echo", "a", f"\ntouch {ran}\n"), ("echo", f"'\ntouch {ran}\n'")):
        with pytest.raises(HostUnreachable, match="its login shell did not begin the command") as caught:
            host.run(Command(words, timeout=20.0))
        assert "Give that user sh, bash or zsh" in caught.value.hint
    assert not ran.exists()


def test_a_shell_that_never_begins_is_not_an_answer_either(behind_shell: BehindShell, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("kill -9 $$\n")
    with pytest.raises(HostUnreachable):
        Files(behind_shell(bash())).exists(str(tmp_path))
