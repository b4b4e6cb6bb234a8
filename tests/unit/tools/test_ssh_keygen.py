"""Heads of history, signed and looked at by the real ssh-keygen."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from upgrade_guard.errors import CommandFailed
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.tools.ssh_keygen import NAMESPACE, SshKeygen, readable

HEAD = "49bcace95bd352216a816c7cf9f372569a689cba1f346c5b9b5d536ccdb58d1d"


def make_key(path: Path, passphrase: str = "") -> Path:
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path))
    subprocess.run(words, check=True, timeout=60)
    return path


def allow(path: Path, *keys: tuple[str, Path], namespace: str = NAMESPACE) -> str:
    lines = (f'{who} namespaces="{namespace}" {key.with_suffix(".pub").read_text()}' for who, key in keys)
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "history")


@pytest.fixture
def keygen() -> SshKeygen:
    return SshKeygen(LocalHost("here"))


def test_a_signature_says_whose_it_is(keygen: SshKeygen, key: Path, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    allowed = allow(tmp_path / "allowed", ("ops@example.org", other), ("night@example.org", key))
    assert keygen.signer(allowed, HEAD, keygen.sign(str(key), HEAD)) == "night@example.org"


def test_a_signature_of_another_head_or_of_a_stranger_is_nobodys(keygen: SshKeygen, key: Path, tmp_path: Path) -> None:
    allowed = allow(tmp_path / "allowed", ("ops", key))
    signed = keygen.sign(str(key), HEAD)
    assert keygen.signer(allowed, HEAD.replace("4", "5"), signed) == ""
    stranger = make_key(tmp_path / "stranger")
    assert keygen.signer(allowed, HEAD, keygen.sign(str(stranger), HEAD)) == ""


def test_what_the_key_signed_for_another_purpose_is_no_signature_of_a_head(
    keygen: SshKeygen, key: Path, tmp_path: Path
) -> None:
    (tmp_path / "message").write_text(f"{HEAD}\n")
    words = ("ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key), str(tmp_path / "message"))
    subprocess.run(words, check=True, timeout=60)
    path = tmp_path / "allowed"
    path.write_text(f"ops {key.with_suffix('.pub').read_text()}")  # whatever the purpose
    assert keygen.signer(str(path), HEAD, (tmp_path / "message.sig").read_text()) == ""


@pytest.mark.parametrize("text", ["", "signed", "-----BEGIN SSH SIGNATURE-----\n\x1b]0;\n-----END SSH SIGNATURE-----"])
def test_what_is_no_signature_is_nobodys(keygen: SshKeygen, key: Path, tmp_path: Path, text: str) -> None:
    assert keygen.signer(allow(tmp_path / "allowed", ("ops", key)), HEAD, text) == ""


def test_a_signer_that_looks_like_an_option_is_not_asked_for(keygen: SshKeygen, key: Path, tmp_path: Path) -> None:
    allowed = allow(tmp_path / "allowed", ("-Overify-time=20000101", key))
    assert keygen.signer(allowed, HEAD, keygen.sign(str(key), HEAD)) == ""


def test_a_passphrase_is_never_asked_for(keygen: SshKeygen, tmp_path: Path) -> None:
    locked = make_key(tmp_path / "locked", "a long one")
    with pytest.raises(CommandFailed) as failed:
        keygen.sign(str(locked), HEAD)
    assert failed.value.exit_status is not None, "it waited for an answer"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an agent of our own."""
    socket = tmp_path / "agent"
    started = subprocess.run(
        ("ssh-agent", "-s", "-a", str(socket)), check=True, capture_output=True, text=True, timeout=60
    )
    yield str(socket)
    os.kill(int(started.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0]), signal.SIGTERM)


def test_a_key_with_a_passphrase_signs_through_an_agent(key: Path, agent: str, tmp_path: Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(("ssh-add", "-q", str(key)), check=True, timeout=60, env=environment)
    key.unlink()
    keygen = SshKeygen(LocalHost("here"), agent)
    signed = keygen.sign(str(key.with_suffix(".pub")), HEAD)
    assert keygen.signer(allow(tmp_path / "allowed", ("ops", key)), HEAD, signed) == "ops"


def test_a_file_of_signers_that_is_not_there_is_no_bad_signature(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"audit\.allowed_signers"):
        readable(str(tmp_path / "none"), "audit.allowed_signers")
