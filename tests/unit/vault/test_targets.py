from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from servers import program
from unit.vault.builds import snapshot_bytes
from unit.vault.media import CLEAR, Ssh, file_target, quiet, ssh_target

from upgrade_guard.errors import HostUnreachable, StepFailed, UsageProblem
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Command, Result
from upgrade_guard.vault.addresses import parse_place
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.medium_ssh import SshMedium
from upgrade_guard.vault.targets import Target, open_target


def test_a_copy_is_published_whole_private_and_reads_back_equal(bundle: Bundle, target: Target, place: Path) -> None:
    said: list[str] = []

    copied = target.copy(bundle, said.append)

    copy = place / bundle.name
    assert copied.location == str(copy)
    assert copied.sha256 == {
        **{name: entry.sha256 for name, entry in bundle.manifest.files.items()},
        "manifest.json": bundle.manifest_sha256,
    }
    assert target.read_back(bundle) == ()
    assert examine(Vault(place).bundle(bundle.name)) == ()
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(place.stat().st_mode) == 0o700
    assert [path.name for path in place.iterdir()] == [bundle.name]
    assert [line.split()[0] for line in said] == ["files-cp1.tar.gz", "snapshot.db", "manifest.json"]


def test_an_equal_copy_is_left_alone(bundle: Bundle, target: Target, place: Path) -> None:
    target.copy(bundle, quiet)
    before = (place / bundle.name / "snapshot.db").stat().st_ino
    said: list[str] = []

    again = target.copy(bundle, said.append)

    assert said == []
    assert again.sha256["manifest.json"] == bundle.manifest_sha256
    assert (place / bundle.name / "snapshot.db").stat().st_ino == before


def change(path: Path) -> None:
    content = bytearray((path / "snapshot.db").read_bytes())
    content[5000] ^= 1
    (path / "snapshot.db").write_bytes(content)


def link(path: Path) -> None:
    shutil.move(path / "snapshot.db", path.parent / "elsewhere")
    (path / "snapshot.db").symlink_to(path.parent / "elsewhere")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed byte": (change, "snapshot.db has another SHA-256 than the bundle"),
    "cut": (lambda path: os.truncate(path / "snapshot.db", 10), "snapshot.db has 10 bytes instead of"),
    "vanished file": (lambda path: (path / "snapshot.db").unlink(), "lacks snapshot.db"),
    "vanished manifest": (lambda path: (path / "manifest.json").unlink(), "lacks manifest.json"),
    "vanished": (shutil.rmtree, "is missing at"),
    "extra": (lambda path: (path / "notes\n").write_text("x"), "'notes\\n', which does not belong to it"),
    "extra directory": (lambda path: (path / "more").mkdir(), "'more', which does not belong to it"),
    "link": (link, "snapshot.db is a symbolic link"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_back_names_every_damage_and_a_new_copy_keeps_the_old_one(
    bundle: Bundle, target: Target, place: Path, damage: str
) -> None:
    target.copy(bundle, quiet)
    harm, sentence = DAMAGES[damage]
    harm(place / bundle.name)

    (problem,) = target.read_back(bundle)
    assert sentence in problem

    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()
    assert (place / f"{bundle.name}.differs-1").is_dir() is (damage != "vanished")


def test_a_copy_that_was_cut_short_is_no_copy_and_is_replaced(bundle: Bundle, target: Target, place: Path) -> None:
    place.mkdir()
    part = place / f"{bundle.name}.part"
    part.mkdir()
    (part / "snapshot.db").write_bytes(b"half")

    assert "is missing" in target.read_back(bundle)[0]
    assert Vault(place).bundles() == ()
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()
    assert not part.exists()


def test_a_bundle_that_changed_here_is_not_published_there(bundle: Bundle, target: Target, place: Path) -> None:
    bundle.snapshot.write_bytes(snapshot_bytes(4096))

    with pytest.raises(StepFailed, match=r"snapshot\.db"):
        target.copy(bundle, quiet)
    assert not (place / bundle.name).exists()


def test_a_missing_mount_shows(bundle: Bundle, target: Target, place: Path) -> None:
    place.parent.rmdir()

    (problem,) = target.usable()

    assert "is not there" in problem
    with pytest.raises(StepFailed, match="cannot take the copy") as failed:
        target.copy(bundle, quiet)
    assert failed.value.hint


def test_a_full_target_is_seen_before_the_copy(bundle: Bundle, target: Target, place: Path) -> None:
    assert target.usable(1 << 20) == ()
    (problem,) = target.usable(1 << 60)
    assert "MiB free; the copy needs 1099511627777 MiB" in problem
    assert not place.exists()


def test_a_device_that_fills_up_meanwhile(bundle: Bundle, tmp_path: Path) -> None:
    """A file size limit stands for a full disk: the kernel refuses the write in the same way."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(StepFailed, match=r"Copying to file:.* failed") as failed:
            file_target(tmp_path / "offsite").copy(bundle, quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in failed.value.message
    assert list((tmp_path / "offsite").iterdir()) == []


def test_a_read_only_directory(bundle: Bundle, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = file_target(Path("/proc/upgrade-guard"))  # nobody writes there, root neither
        with pytest.raises(StepFailed) as failed:
            target.copy(bundle, quiet)
        assert failed.value.hint
    (tmp_path / "offsite").mkdir(mode=0o500)
    if os.geteuid() != 0:
        with pytest.raises(StepFailed, match="cannot be written to"):
            file_target(tmp_path / "offsite").copy(bundle, quiet)


def test_a_path_that_is_a_file(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "offsite").write_text("x")
    for target in (file_target(tmp_path / "offsite"), ssh_target(tmp_path / "offsite")):
        with pytest.raises(StepFailed):
            target.copy(bundle, quiet)


# ssh: what is asked for, and who it is.


def test_an_ssh_target_speaks_argv_only_and_publishes_last(bundle: Bundle) -> None:
    host = ScriptedHost("nas")
    files = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    files["manifest.json"] = bundle.manifest_sha256
    part = f"/srv/etcd/{bundle.name}.part"
    host.answers("test", "-d", f"/srv/etcd/{bundle.name}", exit_status=1)
    host.answers("test", "-d", part, exit_status=1)
    host.answers("test", "-e", f"/srv/etcd/{bundle.name}", exit_status=1)
    host.answers("test", "-w", ...)
    host.answers("test", "-d", ...)
    for name, digest in files.items():
        host.answers("test", "-e", f"{part}/{name}", exit_status=1)
        host.answers("sha256sum", "--zero", "--", f"{part}/{name}", stdout=f"{digest}  {part}/{name}\0")
    host.answers("df", ..., stdout="Avail\n999999999\n")
    final = f"/srv/etcd/{bundle.name}"
    host.answers("stat", r"--printf=%d %n\0", "--", part, "/srv/etcd", final, stdout=f"42 {part}\x0042 /srv/etcd\0")
    host.answers("stat", r"--printf=%d %n\0", "--", part, final, stdout=f"42 {final}\0")
    for word in ("find", "install", "dd", "mv", "mkdir", "rm", "sync"):
        host.answers(word, ...)

    copied = Target(SshMedium(parse_place("ssh://nas/srv/etcd"), host, ScriptedHost("here")), CLEAR).copy(bundle, quiet)

    assert copied.sha256 == files
    assert not {"sh", "bash"} & {argv[0] for argv in host.argvs}
    renames = [argv[-2:] for argv in host.argvs if argv[0] == "mv"]
    assert renames == [(part, f"/srv/etcd/{bundle.name}")]
    assert [argv[0] for argv in host.argvs].count("sync") == 2
    assert [argv[0] for argv in host.argvs][-1] == "sync"
    sent = [command.stdin for command in host.commands if command.argv[0] == "dd"]
    assert sent == [(bundle.path / name).read_bytes() for name in ("files-cp1.tar.gz", "snapshot.db", "manifest.json")]


def test_an_ssh_target_that_receives_something_else_is_not_published(bundle: Bundle, tmp_path: Path) -> None:
    class Garbling(LocalHost):
        def run(self, command: Command) -> Result:
            if command.argv[0] == "dd" and command.argv[1].endswith("snapshot.db"):
                command = replace(command, stdin=b"something else")
            return super().run(command)

    target = Target(SshMedium(parse_place(f"ssh://nas{tmp_path}/offsite"), Garbling("nas"), LocalHost("here")), CLEAR)
    with pytest.raises(StepFailed, match=r"snapshot\.db arrived at .* with another SHA-256"):
        target.copy(bundle, quiet)
    assert not (tmp_path / "offsite" / bundle.name).exists()


class Lying(LocalHost):
    """It keeps the digest of what it was sent, and something else of the same size."""

    def __init__(self) -> None:
        super().__init__("nas")
        self.said: dict[str, str] = {}
        self.asked = 0

    def run(self, command: Command) -> Result:
        if command.argv[0] == "sha256sum":
            self.asked += 1
            told = "".join(f"{self.digest(path)}  {path}\0" for path in command.argv[3:])
            return Result(0, told)
        return super().run(command)

    def digest(self, path: str) -> str:
        file = Path(path)
        if file.parent.name.endswith(".part"):
            self.said[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
            if file.name == "snapshot.db":
                file.write_bytes(bytes(file.stat().st_size))
        return self.said[file.name]


def test_an_ssh_target_that_lies_about_what_it_holds_does_not_read_back(bundle: Bundle, tmp_path: Path) -> None:
    host = Lying()
    medium = SshMedium(parse_place(f"ssh://nas{tmp_path}/offsite"), host, LocalHost("here"), piece=1000)
    target = Target(medium, CLEAR)
    target.copy(bundle, quiet)
    assert "snapshot.db has another SHA-256" in target.read_back(bundle)[0]
    assert "snapshot.db has another SHA-256" in target.check(bundle.name)[0]


def test_the_digests_of_an_ssh_target_are_believed_where_that_was_chosen(bundle: Bundle, tmp_path: Path) -> None:
    host = Lying()
    place = parse_place(f"ssh://nas{tmp_path}/offsite")
    target = Target(SshMedium(place, host, LocalHost("here"), believed=True), CLEAR)
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()


def test_no_more_is_read_back_than_a_copy_has_to_hold(bundle: Bundle, tmp_path: Path) -> None:
    """A target that says that a file has gigabytes, or has files of its own, is not listened to for hours."""
    host = LocalHost("nas")
    target = Target(SshMedium(parse_place(f"ssh://nas{tmp_path}/offsite"), host, LocalHost("here")), CLEAR)
    target.copy(bundle, quiet)
    copy = tmp_path / "offsite" / bundle.name
    os.truncate(copy / "snapshot.db", 1 << 41)
    (copy / "more").touch()
    os.truncate(copy / "more", 1 << 41)
    problems = target.read_back(bundle)
    assert f"snapshot.db has {1 << 41} bytes instead of" in problems[0]
    assert "has 'more', which does not belong to it" in problems[1]


def test_an_unreachable_ssh_target(bundle: Bundle) -> None:
    host = ScriptedHost("nas")
    host.answers(...)
    for number in range(1, 9):
        host.unreachable_at(number)
    target = Target(SshMedium(parse_place("ssh://nas/srv/etcd"), host, ScriptedHost("here")), CLEAR)
    assert "cannot be reached" in target.usable()[0]
    with pytest.raises(HostUnreachable):
        target.read_back(bundle)
    with pytest.raises(HostUnreachable):
        target.copy(bundle, quiet)


def test_which_ssh_hosts_are_off_the_control_plane() -> None:
    names = {"nas": {"10.0.0.50"}, "cp1": {"10.0.0.11"}, "localhost": {"127.0.0.1"}}

    def judged(host: str, alias: str = "", *, local: bool = False) -> tuple[bool, str]:
        here = ScriptedHost("here")
        here.answers("ssh", "-G", "--", host, stdout=f"user root\nhostname {alias or host}\nport 22\n")
        target = Target(
            SshMedium(
                parse_place(f"ssh://{host}/srv"),
                ScriptedHost("x"),
                here,
                resolve=lambda name: frozenset(names.get(name, ())),
            )
        )
        return target.off_control_plane(["10.0.0.11", "cp2"], local_is_control_plane=local)

    assert judged("nas") == (True, "nas is not a control-plane node")
    assert judged("cp1") == (False, "cp1 is the control-plane node 10.0.0.11")
    assert judged("cp2") == (False, "cp2 is the control-plane node cp2")
    assert judged("backup", alias="10.0.0.11") == (False, "backup is the control-plane node 10.0.0.11")
    assert judged("localhost", local=True) == (False, "localhost is this machine, a control-plane node")
    assert judged("localhost")[0]


def test_ssh_that_cannot_say_its_aliases_is_no_obstacle() -> None:
    here = ScriptedHost("here")
    here.answers("ssh", ..., exit_status=255, stderr="Bad configuration option")
    target = Target(SshMedium(parse_place("ssh://nas/srv"), ScriptedHost("nas"), here, resolve=lambda _: frozenset()))
    assert target.off_control_plane(["10.0.0.11"], local_is_control_plane=True)[0]


def test_the_alias_is_asked_of_the_real_ssh() -> None:
    ended = subprocess.run(
        (program("ssh", "openssh-client"), "-G", "--", "nas"), capture_output=True, text=True, check=False, timeout=20
    )
    assert "hostname nas" in ended.stdout


def test_a_file_target_and_where_it_is(tmp_path: Path) -> None:
    target = file_target(tmp_path / "offsite")
    device = tmp_path.stat().st_dev
    assert target.off_control_plane([], local_is_control_plane=False, etcd_data_devices=[device])[0]
    assert not target.off_control_plane([], local_is_control_plane=True, etcd_data_devices=[device])[0]
    assert target.off_control_plane([], local_is_control_plane=True, separate_storage=[tmp_path])[0]


def test_opening_targets() -> None:
    def opened(url: str) -> Target:
        return open_target(url, ssh=Ssh("~/.ssh/id", ("Compression=no",)), transcript=SilentTranscript())

    assert opened("file:///mnt/x").describe() == "the directory /mnt/x"
    for url, destination in {
        "ssh://nas/srv": "nas",
        "ssh://b@nas/srv": "b@nas",
        "ssh://b@nas:2222/srv": "ssh://b@nas:2222",
        "ssh://[2001:db8::5]:2222/srv": "ssh://[2001:db8::5]:2222",
        "ssh://[2001:db8::5]/srv": "2001:db8::5",
    }.items():
        target = opened(url)
        assert target.url == url
        argv = target._medium._files.host.argv(Command(("true",), timeout=1.0))  # type: ignore[attr-defined]
        assert argv[argv.index("--") + 1] == destination
        assert "Compression=no" in argv
    with pytest.raises(UsageProblem):
        opened("http://nas/srv")
