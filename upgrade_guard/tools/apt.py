"""apt and dpkg of one node."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Callable, Mapping

from upgrade_guard.errors import CommandFailed, StepFailed
from upgrade_guard.hosts.base import Host, check_name
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, run_checked
from upgrade_guard.tools.files import Files

DOWNLOAD_TIMEOUT = 900.0  # seconds: a slow mirror
_FORMAT = "${Package} ${Version} ${db:Status-Abbrev}\\n"
# needrestart, which Ubuntu has behind apt, would restart kubelet and the container runtime by itself (needrestart(1)).
_QUIET = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
# Rather a failure than a package that is taken away: with --download-only it is found out before anything is changed.
_INSTALL = ("apt-get", "install", "--yes", "--no-remove", "--allow-downgrades", "--allow-change-held-packages")
_KEEP_CONFIGURATION = ("-o", "Dpkg::Options::=--force-confold")
# Seconds. unattended-upgrades works at night too, and an apt-get whose upgrade-guard died goes on by itself (apt 1.9.11
# and newer know the option, older ones pass it over).
_PATIENT = ("-o", "DPkg::Lock::Timeout=300")
_LOCK_PAUSE = 3.0  # seconds
_LOCK_LOOKS = 200  # ten minutes: unattended-upgrades downloads before it installs
_LOCKED = re.compile(
    r"Could not get lock /var/(lib/apt/lists|cache/apt/archives)/lock|"
    r"dpkg (frontend|database) lock (was|is) locked by another process"
)
_INTERRUPTED = re.compile(r"dpkg was interrupted, you must manually run")


class Apt:
    """Packages by name; versions as Debian writes them: `1.28.0-1.1`."""

    def __init__(
        self,
        host: Host,
        settings: NodeSettings,
        *,
        pause: Callable[[float], None] = time.sleep,
        directory: str = "",
    ) -> None:
        """`pause` waits that many seconds for another package program. With a `directory` apt has sources, lists and
        archives of its own there; what is installed is the node's in any case.
        """
        self._host = host
        self._settings = settings
        self._pause = pause
        self._directory = directory
        self._own: tuple[str, ...] = ()
        if directory:
            own = {
                "Etc::sourcelist": "/dev/null",
                "Etc::sourceparts": f"{directory}/sources",
                "State::lists": f"{directory}/lists",
                "Cache": f"{directory}/cache",
            }
            self._own = tuple(word for key, value in own.items() for word in ("-o", f"Dir::{key}={value}"))

    def beside(self, directory: str) -> Apt:
        """The same node's apt, with sources, lists and archives of its own in that directory."""
        return Apt(self._host, self._settings, pause=self._pause, directory=directory)

    def prepare(self, name: str, source: str) -> None:
        """Make that directory, with one package source of that file name, which apt knows by its ending."""
        files = Files(self._host)
        places = ("", "/sources", "/lists", "/cache", "/cache/archives")
        own = (posixpath.dirname(self._directory), *(f"{self._directory}{place}" for place in places))
        files.make_dir(*own, mode=0o755)  # apt downloads as a user of its own
        files.write(f"{self._directory}/sources/{name}", copied(source).encode(), mode=0o644)

    def unpack(self, package: str, version: str, directory: str) -> None:
        """What a package has, into a directory of its own; nothing is installed.

        It is in our archives when it was fetched, and is fetched when it was installed before.
        """
        files = Files(self._host)
        files.make_dir(directory)
        archives = f"{self._directory}/cache/archives"
        archive = self._archive(archives, package, version)
        if archive is None:
            archives = directory
            self.download({package: version}, directory)
            archive = self._archive(archives, package, version)
        if archive is None:
            raise StepFailed(f"apt-get download left no archive of {package} {version} in {directory}")
        argv = ("dpkg-deb", "--extract", f"{archives}/{archive}", directory)
        run_checked(self._host, argv, timeout=CHANGE_TIMEOUT, changes=True)

    def _archive(self, directory: str, package: str, version: str) -> str | None:
        """The file's name: apt writes the colon of an epoch as %3a."""
        beginning = f"{package}_{version.replace(':', '%3a')}_"
        names = Files(self._host).list_dir(directory)
        return next((name for name in names if name.startswith(beginning) and name.endswith(".deb")), None)

    @property
    def source(self) -> str:
        """The file that names the Kubernetes package repository."""
        return self._settings.package_source

    def installed(self, names: tuple[str, ...]) -> dict[str, str]:
        """Name to version, of those that are installed now."""
        argv = ("dpkg-query", "-W", "-f", _FORMAT, *(check_name(name, "package name") for name in names))
        # It ends with 1 when one of them is not known, and still prints the others.
        return parse_installed(run_checked(self._host, argv, accept=(0, 1)).stdout)

    def holds(self) -> tuple[str, ...]:
        """The names that apt leaves alone, sorted."""
        return tuple(sorted(run_checked(self._host, ("apt-mark", "showhold")).stdout.split()))

    def audit(self) -> str:
        """What dpkg says of packages that are only half there; "" when all are whole."""
        return run_checked(self._host, ("dpkg", "--audit"), accept=(0, 1)).stdout.strip()

    def available(self, name: str) -> tuple[str, ...]:
        """The versions that the package lists of now offer, newest first."""
        argv = ("apt-cache", *self._own, "madison", check_name(name, "package name"))
        return parse_madison(run_checked(self._host, argv).stdout, name)

    def update(self) -> None:
        """Fetch the package lists. apt-get ends with 0 even when a repository could not be reached."""
        self._patiently((*_QUIET, "apt-get", *self._own, "update"), DOWNLOAD_TIMEOUT)

    def install(
        self, versions: Mapping[str, str], *, download_only: bool = False, timeout: float = DOWNLOAD_TIMEOUT
    ) -> None:
        """Bring those packages to exactly those versions, down too; configuration files that were edited stay."""
        wanted = tuple(f"{check_name(name, 'package name')}={version}" for name, version in sorted(versions.items()))
        only = ("--download-only",) if download_only else ()
        argv = (*_QUIET, *_INSTALL, *_KEEP_CONFIGURATION, *_PATIENT, *self._own, *only, *wanted)
        self._patiently(argv, timeout)

    def _patiently(self, argv: tuple[str, ...], timeout: float) -> None:
        """Run it; wait for a lock that apt itself does not wait for, and repair a dpkg that was interrupted, once.

        `DPkg::Lock::Timeout` covers dpkg's own locks; those of the lists and of the archives, which apt-daily holds for
        minutes, end apt-get at once (apt-get(8), measured).
        """
        repaired = False
        for _ in range(_LOCK_LOOKS):
            try:
                run_checked(self._host, argv, timeout=timeout, changes=True)
            except CommandFailed as problem:
                if _LOCKED.search(problem.stderr):
                    self._pause(_LOCK_PAUSE)
                    continue
                if _INTERRUPTED.search(problem.stderr) and not repaired:
                    repaired = True
                    configure = (*_QUIET, "dpkg", "--force-confold", "--configure", "-a")
                    run_checked(self._host, configure, timeout=timeout, changes=True)
                    continue
                raise
            return
        run_checked(self._host, argv, timeout=timeout, changes=True)

    def download(self, versions: Mapping[str, str], directory: str) -> None:
        """The package files of exactly those versions into a directory that is there, from the sources of now."""
        wanted = tuple(f"{check_name(name, 'package name')}={version}" for name, version in sorted(versions.items()))
        argv = ("env", f"--chdir={directory}", "apt-get", *self._own, "download", *wanted)
        self._patiently(argv, DOWNLOAD_TIMEOUT)

    def install_files(self, paths: tuple[str, ...]) -> None:
        """Install package files of the node, down too, by dpkg: what they need is installed already.

        Configuration files that were edited stay. apt would copy every file first, and with `--no-download` it does not
        find them (measured).
        """
        self._patiently((*_QUIET, "dpkg", "--force-confold", "--install", *paths), DOWNLOAD_TIMEOUT)

    def hold(self, names: tuple[str, ...]) -> None:
        """Leave them alone from now on."""
        self._mark("hold", names)

    def unhold(self, names: tuple[str, ...]) -> None:
        """Let apt change them again."""
        self._mark("unhold", names)

    def _mark(self, verb: str, names: tuple[str, ...]) -> None:
        if names:
            argv = ("apt-mark", verb, *(check_name(name, "package name") for name in names))
            run_checked(self._host, argv, timeout=CHANGE_TIMEOUT, changes=True)


def parse_installed(text: str) -> dict[str, str]:
    """Rows of `dpkg-query`: the second letter of the status says what is, the first what is wanted (`hi`: held)."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[-1][1:2] == "i":
            found[words[0]] = words[1]
    return found


def parse_madison(text: str, name: str) -> tuple[str, ...]:
    """Rows of `apt-cache madison`: name | version | repository."""
    versions = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 2 and cells[0] == name and cells[1]:
            versions.append(cells[1])
    return tuple(dict.fromkeys(versions))


def point_source_at(text: str, old: Version, new: Version) -> str:
    """A repository file that names the minor series of `new` where it named that of `old`, and is otherwise the same.

    pkgs.k8s.io has one repository for each minor: `…/core:/stable:/v1.33/deb/`; mirrors keep the directory's name.
    """
    return re.sub(rf"(?<=/){re.escape(old.series)}(?=[/\s\"']|$)", new.series, text)


def copied(source: str) -> str:
    """The same package source, with `copy:` for `file:`: of a directory of the node, apt then keeps what it fetches.

    With `file:` it keeps nothing and installs from the directory, which must still be there then (measured, apt 2.6).
    """
    return re.sub(r"(?<![\w+/])file:(?=/)", "copy:", source)


def package_version(available: tuple[str, ...], version: Version) -> str | None:
    """The newest package revision of that version: `1.28.14-2.1` for v1.28.14; None when there is none."""
    fitting = [name for name in available if name.partition("-")[0] == version.bare]
    return max(fitting, key=_revision, default=None)


def _revision(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name.partition("-")[2]))
