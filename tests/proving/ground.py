"""The proving ground: where it keeps what it builds, what it needs of the machine, and how it runs programs.

Real kubeadm, kubelet, API server, etcd, containerd, systemd and apt, in system containers on this one machine.
Kubernetes is built from its published Go modules, everything else comes from Debian; nothing else is fetched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OLD = "1.33.13"
NEW = "1.34.2"
"""Versions whose Go modules are all published; from 3.5 to 3.6 is the step of etcd between them."""

ETCD = {"3.5": "v3.5.33", "3.6": "v3.6.8"}
"""The etcd module that goes into an image which kubeadm calls 3.5.x or 3.6.x."""

COREDNS = "v1.14.3"
CRI_TOOLS = "v1.34.0"

DEBIAN_PACKAGES = (
    "podman",
    "crun",
    "runc",
    "mmdebstrap",
    "iptables",
    "conntrack",
    "containernetworking-plugins",
    "netavark",
    "aardvark-dns",
    "uidmap",
    "dpkg-dev",
    "gcc",
    "libc6-dev",
    "openssh-client",
)


class NotHereError(Exception):
    """This machine cannot carry a proving ground; the message says what is missing."""


def cache() -> Path:
    """What was built: kept between runs, in the user's cache directory, under names that say what went in."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "upgrade-guard-proving"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def made_of(*ingredients: str | Path) -> str:
    """A short digest of what something is made of, for its name: texts as they are, files by what they contain.

    What is cached under it is never older than its recipe.
    """
    digest = hashlib.sha256()
    for one in ingredients:
        content = one.read_bytes() if isinstance(one, Path) else one.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def outdate(made: Path, pattern: str) -> None:
    """Remove what was made beside `made` from an older recipe."""
    for old in made.parent.glob(pattern):
        if old != made:
            shutil.rmtree(old) if old.is_dir() else old.unlink()


@contextmanager
def alone(work: str) -> Iterator[None]:
    """One process at a time does that work with this cache: a second one waits until the first has ended."""
    with (cache() / f"{work}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    *argv: str | Path,
    timeout: float = 300.0,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its last lines go into the error when it fails."""
    words = [str(word) for word in argv]
    result = subprocess.run(
        words,
        timeout=timeout,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=None if stdin is None else stdin.decode(),
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-25:])
        raise RuntimeError(f"{' '.join(words[:8])} ended with {result.returncode}:\n{tail}")
    return result


def podman(*argv: str | Path, **how: object) -> subprocess.CompletedProcess[str]:
    """podman with runc: crun refuses the hybrid cgroups of older machines."""
    return run("podman", "--runtime", "runc", *argv, **how)  # type: ignore[arg-type]


def prepare() -> None:
    """Install what Debian packages are missing, or raise NotHereError with everything that stands in the way."""
    problems: list[str] = []
    if os.geteuid() != 0:
        problems.append("it needs root: system containers with systemd and their own networks")
    if shutil.which("go") is None:
        problems.append("it needs Go 1.24 or newer, to build Kubernetes from its modules")
    missing = absent(DEBIAN_PACKAGES)
    if missing and shutil.which("apt-get") is None:
        problems.append(f"it needs {', '.join(missing)}, and there is no apt-get here to install them")
    if problems:
        raise NotHereError("no proving ground on this machine: " + "; ".join(problems))
    if missing:
        install(missing)


def absent(packages: Sequence[str]) -> list[str]:
    """Those that dpkg does not have; all where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(packages)
    query = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *packages)
    there = [line.split() for line in run(*query, check=False).stdout.splitlines()]
    installed = {name for name, status, *_ in there if status.endswith("i")}
    return [package for package in packages if package not in installed]


def install(packages: Sequence[str]) -> None:
    """From Debian, without questions."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=quiet, timeout=600)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=quiet, timeout=1800)


def until(look: Callable[[], bool], timeout: float) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if look():
                return
        except (RuntimeError, subprocess.TimeoutExpired):
            pass  # not there yet
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about in time")
        time.sleep(0.3)
