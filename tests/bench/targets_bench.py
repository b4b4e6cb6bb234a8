"""Copies to every kind of target, read back, fetched again: seconds and memory.

    python tests/bench/targets_bench.py [MEBIBYTES ...]

Each line is a process of its own, so that its peak of memory is its own; it is to be constant in the size.
"""

from __future__ import annotations

import getpass
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyrage
from servers import S3, Sshd
from unit.vault.builds import made_up_manifest
from unit.vault.media import CLEAR, LISTING, Ssh, quiet

from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Secret
from upgrade_guard.vault.addresses import parse_place
from upgrade_guard.vault.bundle import Bundle, Vault, bundle_name
from upgrade_guard.vault.medium_objects import ObjectMedium
from upgrade_guard.vault.object_store import S3Settings
from upgrade_guard.vault.targets import Keys, Target, open_target

KINDS = ("file", "file, encrypted", "ssh", "s3")
MIB = 1 << 20


def bundle(vault: Path, mebibytes: int) -> Bundle:
    """One with a snapshot of random bytes, written piece by piece."""
    manifest = made_up_manifest(node_files={"cp1": LISTING})
    staging = Vault(vault).staging(manifest.run_id)
    with (staging / "snapshot.db").open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(MIB))
    (staging / LISTING.archive).write_bytes(b"an archive\n")
    return Vault(vault).publish(staging, manifest, bundle_name("lab", manifest.taken_at, manifest.run_id))


def opened(kind: str, directory: Path, sshd: dict[str, str]) -> Target:
    """The target of that kind; `sshd` says how its server is reached."""
    ssh = Ssh(options=tuple(sshd["options"].split("\n"))) if kind == "ssh" else Ssh()
    if kind == "s3":
        settings = S3Settings("bench", sshd["access"], Secret(sshd["secret"]), endpoint_url=sshd["endpoint"])
        return Target(ObjectMedium(parse_place("s3://backups/etcd"), settings), CLEAR)
    keys = CLEAR
    if kind == "file, encrypted":
        (directory / "key").write_text(sshd["identity"] + "\n")
        (directory / "key").chmod(0o600)
        keys = Keys((sshd["recipient"],), identity_file=str(directory / "key"))
    where = f"ssh://{getpass.getuser()}@127.0.0.1{directory}/far" if kind == "ssh" else f"file://{directory}/near"
    return open_target(where, ssh=ssh, transcript=SilentTranscript(), control_dir=directory / "c", keys=keys)


def measured(kind: str, directory: Path, server: dict[str, str]) -> None:
    """In a process of its own: copy, read back, fetch; print what each took."""
    made = Vault(directory / "vault").bundles()[0]
    target = opened(kind, directory, server)

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [
        seconds(lambda: target.copy(made, quiet)),
        seconds(lambda: target.read_back(made)),
        seconds(lambda: target.fetch(made.name, Vault(directory / "fetched"), quiet)),
    ]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size = made.size >> 20
    print(
        f"| {kind} | {size} MiB | {times[0]:.1f} s | {times[1]:.1f} s | {times[2]:.1f} s | {grown:.0f} MiB |",
        flush=True,
    )


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [100, 1024]
    print("| target | bundle | copied | read back | fetched | memory on top |\n|---|---|---|---|---|---|", flush=True)
    for mebibytes in sizes:
        with tempfile.TemporaryDirectory(prefix="targets-bench-") as name:
            directory = Path(name)
            (directory / "sshd").mkdir()
            sshd, s3 = Sshd(directory / "sshd"), S3(directory / "s3")
            identity = pyrage.x25519.Identity.generate()
            server = {"access": s3.access, "secret": s3.secret, "endpoint": s3.endpoint, "identity": str(identity)}
            server |= {"recipient": str(identity.to_public()), "options": "\n".join(sshd.options)}
            s3.bucket()
            bundle(directory / "vault", mebibytes)
            sshd.start()
            s3.start()
            try:
                for kind in KINDS:
                    words = (sys.executable, __file__, "--one", kind, name, *[f"{k}={v}" for k, v in server.items()])
                    subprocess.run(words, check=True)
                    for left_behind in ("near", "far", "fetched", "vault/sealed"):
                        shutil.rmtree(directory / left_behind, ignore_errors=True)
            finally:
                s3.kill()
                sshd.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measured(sys.argv[2], Path(sys.argv[3]), dict(word.split("=", 1) for word in sys.argv[4:]))
    else:
        main()
