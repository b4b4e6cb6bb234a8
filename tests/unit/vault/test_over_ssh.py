"""Copies over a real sshd, which dies in the middle of a transfer."""

from __future__ import annotations

import getpass
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from servers import Sshd
from unit.vault.builds import made_up_manifest, published, snapshot_bytes
from unit.vault.media import CLEAR, LISTING, quiet

from upgrade_guard.errors import HostUnreachable
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.model.command import Command, Result
from upgrade_guard.vault.addresses import parse_place
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.medium_ssh import SshMedium
from upgrade_guard.vault.targets import Target

SMALL = 4096
PIECES = 8
Dies = Callable[[], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    manifest = made_up_manifest(node_files={"cp1": LISTING})
    return published(Vault(tmp_path / "vault"), manifest, snapshot_bytes(SMALL * PIECES))


@pytest.fixture
def sockets() -> Iterator[Path]:
    directory = Path(f"/tmp/ug-{os.getpid()}-{time.monotonic_ns()}")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Sshd]:
    """One for a single test, which may kill it."""
    directory = tmp_path / "sshd"
    directory.mkdir()
    server = Sshd(directory)
    server.start()
    yield server
    server.kill()


class Waits:
    """In the place of waiting between two attempts: what happens meanwhile."""

    def __init__(self, *happens: object) -> None:
        self.happens = list(happens)
        self.waited: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self.happens and (next_one := self.happens.pop(0)) is not None:
            next_one()  # type: ignore[operator]


class Watched:
    """An ssh host; `dies` is called before the so-manyth piece of the snapshot."""

    def __init__(self, server: Sshd, sockets: Path, at: int, dies: Callable[[], None]) -> None:
        options = tuple(option for option in server.options if not option.startswith("Port="))
        destination = f"ssh://{getpass.getuser()}@127.0.0.1:{server.port}"
        self._host = SshHost("nas", destination, options, control_dir=sockets)
        self._left, self._dies = at, dies
        self.name = "nas"

    def run(self, command: Command) -> Result:
        if command.argv[0] == "dd" and command.argv[1].endswith("snapshot.db"):
            self._left -= 1
            if self._left == 0:
                self._dies()
        return self._host.run(command)


def reached(
    server: Sshd, place: Path, sockets: Path, pause: Waits | None = None, *, dies_at: int = 0, dies: Dies = lambda: None
) -> Target:
    url = parse_place(f"ssh://nas{place}")
    host = Watched(server, sockets, dies_at, dies)
    return Target(SshMedium(url, host, LocalHost("here"), pause=pause or Waits(), piece=SMALL), CLEAR)


def test_there_and_back(bundle: Bundle, sshd: Sshd, tmp_path: Path, sockets: Path) -> None:
    target = reached(sshd, tmp_path / "offsite", sockets)

    target.copy(bundle, quiet)

    assert target.read_back(bundle) == ()
    assert [copy.name for copy in target.listing().copies] == [bundle.name]
    assert examine(target.fetch(bundle.name, Vault(tmp_path / "other"), quiet)) == ()
    target.remove(bundle.name)
    assert "is missing" in target.read_back(bundle)[0]


def test_a_server_that_dies_is_gone_on_with(bundle: Bundle, mortal: Sshd, tmp_path: Path, sockets: Path) -> None:
    waits = Waits(None, mortal.start)
    target = reached(mortal, tmp_path / "offsite", sockets, waits, dies_at=4, dies=mortal.kill)
    said: list[str] = []

    target.copy(bundle, said.append)

    assert waits.waited == [1.0, 5.0]
    assert [line for line in said if "cannot be reached" in line and "attempt 2 of 4 in 1 s" in line]
    assert target.read_back(bundle) == ()


def test_a_server_that_stays_away_leaves_no_copy_and_the_next_attempt_goes_on(
    bundle: Bundle, mortal: Sshd, tmp_path: Path, sockets: Path
) -> None:
    waits = Waits()
    target = reached(mortal, tmp_path / "offsite", sockets, waits, dies_at=5, dies=mortal.kill)
    with pytest.raises(HostUnreachable):
        target.copy(bundle, quiet)
    assert waits.waited == [1.0, 5.0, 15.0]
    mortal.start()
    assert target.listing().copies == ()
    assert target.holds(bundle.name)
    said: list[str] = []

    target.copy(bundle, said.append)

    assert f"snapshot.db to {target.url} (0.0 MiB, going on at 0.0 MiB)" in said
    assert target.read_back(bundle) == ()
    assert [path.name for path in (tmp_path / "offsite").iterdir()] == [bundle.name]


def test_what_was_left_there_is_believed_by_its_digest_only(
    bundle: Bundle, sshd: Sshd, tmp_path: Path, sockets: Path
) -> None:
    part = tmp_path / "offsite" / f"{bundle.name}.part"
    part.mkdir(parents=True)
    (part / "snapshot.db").write_bytes(b"x" * SMALL * 3)
    (part / "files-cp1.tar.gz").write_bytes(b"y" * SMALL * 9)
    (part / "notes").write_text("of somebody else")
    target = reached(sshd, tmp_path / "offsite", sockets)

    target.copy(bundle, quiet)

    assert target.read_back(bundle) == ()


def test_fetching_survives_a_server_that_dies(bundle: Bundle, mortal: Sshd, tmp_path: Path, sockets: Path) -> None:
    waits = Waits(mortal.start)
    reached(mortal, tmp_path / "offsite", sockets).copy(bundle, quiet)
    target = reached(mortal, tmp_path / "offsite", sockets, waits, dies_at=4, dies=mortal.kill)

    got = target.fetch(bundle.name, Vault(tmp_path / "other"), quiet)

    assert waits.waited == [1.0]
    assert got == replace(bundle, path=got.path)
    assert examine(got) == ()
