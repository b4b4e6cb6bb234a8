"""Programs find no key of ours in their environment, and no variable that would act as a flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import FRAME, SshHost
from upgrade_guard.model.command import Command

OURS = {
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "secret",
    "GOOGLE_APPLICATION_CREDENTIALS": "secret",
    "AZURE_STORAGE_KEY": "secret",
    "VAULT_TOKEN": "secret",
    "MY_PASSWORD": "secret",
    "ETCDCTL_ENDPOINTS": "http://elsewhere",
    "ETCD_DATA_DIR": "/elsewhere",
    "KUBECONFIG": "/elsewhere",
    "KUBEADM_X": "1",
    "BASH_ENV": "/elsewhere",
    "TAR_OPTIONS": "--to-command=id",
    "LANGUAGE": "de",
}
THEIRS = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "10.0.0.0/8", "TZ": "Europe/Berlin", "TMPDIR": "/var/tmp"}


@pytest.fixture(autouse=True)
def carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator's shell carries."""
    for name, value in {**OURS, **THEIRS, "SSH_AUTH_SOCK": "/agent", "LC_ALL": "de_DE.UTF-8"}.items():
        monkeypatch.setenv(name, value)


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_programs_on_this_machine_find_what_is_on_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    found = variables(LocalHost("cp1").run(Command(("env",), timeout=20.0)).stdout)
    assert not OURS.keys() & found.keys()
    assert "SSH_AUTH_SOCK" not in found
    assert found.items() >= THEIRS.items()
    assert found["LC_ALL"] == "C"
    assert {"HOME", "PATH"} <= found.keys()


def test_ssh_itself_finds_its_agent_and_no_key_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh that says what it found, in the place of the real one: SendEnv of an operator cannot send more."""
    (tmp_path / "ssh").write_text(
        "#!/bin/sh\ncase \"$*\" in *' -G '*) echo stricthostkeychecking true; echo userknownhostsfile /none;; "
        f"*) printf '%s' '{FRAME.decode()}'; env;; esac\n"
    )
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = variables(SshHost("cp1", "cp1").run(Command(("env",), timeout=20.0)).stdout)
    assert not OURS.keys() & found.keys()
    assert found["SSH_AUTH_SOCK"] == "/agent"
    assert found["LC_ALL"] == "de_DE.UTF-8"
    assert found.items() >= THEIRS.items()
