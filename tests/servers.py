"""Real servers that tests start for themselves, and what brings the programs when they are not here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_SBIN = "/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Several test processes install a program once."""
    with (Path(tempfile.gettempdir()) / f"upgrade-guard-tests-{os.getuid()}-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def program(name: str, package: str) -> str:
    """Where a program is; a missing one is installed as root, and fails the test otherwise."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    with one_at_a_time(package):
        if not shutil.which(name, path=path) and os.geteuid() == 0 and shutil.which("apt-get"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for words in (("update", "-q"), ("install", "-q", "-y", "--no-install-recommends", package)):
                subprocess.run(("apt-get", *words), check=True, timeout=600, env=environment, capture_output=True)
    found = shutil.which(name, path=path)
    if found is None:
        pytest.fail(f"{name} is missing: install the package {package}, for example: apt-get install {package}")
    return found


@dataclass
class Sshd:
    """An sshd of our own on loopback, for the user who runs the tests. It can be killed and started again."""

    directory: Path
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        keygen = program("ssh-keygen", "openssh-client")
        for name in ("host", "user"):
            made = (keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / name))
            subprocess.run(made, check=True, timeout=30)
        shutil.copy(self.directory / "user.pub", self.directory / "authorized")
        (self.directory / "config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.directory}/host\n"
            f"AuthorizedKeysFile {self.directory}/authorized\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        public = (self.directory / "host.pub").read_text().split()
        (self.directory / "known").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")

    @property
    def options(self) -> tuple[str, ...]:
        """What ssh needs to reach it."""
        return (
            f"Port={self.port}",
            f"IdentityFile={self.directory}/user",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.directory}/known",
            "StrictHostKeyChecking=yes",
        )

    def start(self) -> None:
        sshd = program("sshd", "openssh-server")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = (sshd, "-D", "-e", "-f", str(self.directory / "config"))
        self.running = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self.running.stderr is not None
        said = []
        for line in self.running.stderr:
            said.append(line)
            if "Server listening" in line:
                return
        pytest.fail(f"sshd does not start: {''.join(said)}")

    def kill(self) -> None:
        """At once, with every session: what a machine does whose power is cut."""
        if self.running is None:
            return
        for process in (*_descendants(self.running.pid), self.running.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.running.wait(timeout=20)
        assert self.running.stderr is not None
        self.running.stderr.close()
        self.running = None


VERSITYGW = "v1.8.0"  # an S3 gateway over a directory: github.com/versity/versitygw


def versitygw() -> Path:
    """The S3 server, built by Go once for this user: some minutes of two processors, and 80 MB in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "upgrade-guard-tests"
    built = cache / f"versitygw-{VERSITYGW}"
    with one_at_a_time("versitygw"):
        if not built.exists():
            if not shutil.which("go"):
                pytest.fail(
                    "the S3 server of the tests is built with Go: install it, for example: apt-get install golang"
                )
            building = cache / "building"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            subprocess.run(
                ("go", "install", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}"),
                check=True,
                timeout=3600,
                env={**os.environ, "GOBIN": str(building), "GOFLAGS": "-trimpath"},
            )
            (building / "versitygw").rename(built)
    return built


@dataclass
class S3:
    """An S3 server of our own on loopback over a directory; buckets are the directories in it."""

    directory: Path
    port: int = field(default_factory=free_port)
    access: str = "tests-access-key"
    secret: str = "tests-secret-key-that-nobody-may-see"
    running: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self, name: str = "backups") -> Path:
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        sidecar = self.directory.with_name(f"metadata-of-{self.directory.name}")
        sidecar.mkdir(exist_ok=True)
        words = ("--quiet", "--port", f"127.0.0.1:{self.port}", "posix", "--sidecar", str(sidecar), str(self.directory))
        environment = {"ROOT_ACCESS_KEY": self.access, "ROOT_SECRET_KEY": self.secret, "PATH": os.environ["PATH"]}
        log = (self.directory.parent / "versitygw.log").open("ab")
        with log:
            self.running = subprocess.Popen((str(versitygw()), *words), env=environment, stdout=log, stderr=log)
        self._await()

    def _await(self) -> None:
        assert self.running is not None
        until = time.monotonic() + 120
        while time.monotonic() < until and self.running.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        pytest.fail(f"versitygw does not start: {(self.directory.parent / 'versitygw.log').read_text()}")

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait(timeout=20)
            self.running = None


def _descendants(process: int) -> tuple[int, ...]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return ()
    return tuple(one for child in children for one in (*_descendants(int(child)), int(child)))
