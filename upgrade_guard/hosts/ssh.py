"""Another machine, over the operator's own OpenSSH: configuration, agents and jump hosts are honoured."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from upgrade_guard.errors import HostUnreachable, UsageProblem
from upgrade_guard.hosts.base import Transcript, check_name
from upgrade_guard.hosts.process import of_ssh, run_process
from upgrade_guard.hosts.ssh_settings import objection_to
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Command, Result, Secret
from upgrade_guard.model.ssh_words import checked_destination, checked_option

SSH_FAILED = 255  # ssh(1): the exit status of the remote command, or 255 if an error occurred
TIMEOUT_ENDED = (124, 137)  # timeout(1): ended with SIGTERM, with SIGKILL
KILL_AFTER = 10.0  # seconds that a program on the node gets between SIGTERM and SIGKILL
CONNECT_GRACE = 45.0  # seconds beyond the command's own time, for connecting and for noticing a dead connection
# What /bin/sh says before it becomes the program: what a login shell prints, and that it ended by itself, is told from
# the program by that. One that reads quotes in another way than sh (fish, csh) is stopped before.
FRAME = b"upgrade-guard begins\n"
_QUOTED = "\\\\!'"
_BEGIN = (
    f"[ ${{#1}} -eq {len(_QUOTED)} ] || {{ echo the login shell does not read quotes as sh does >&2; exit 126; }}; "
    'shift; echo "$0 begins"; echo "$0 begins" >&2; exec "$@"'
)
_WORDS = ("upgrade-guard", _QUOTED)
_SHOWN = 300  # characters of what a login shell says
CHECKING = "StrictHostKeyChecking"
# Not to be had otherwise: a known machine, no question, nothing of ours lent to it, and the command that we send.
ALWAYS = (
    "BatchMode=yes",
    "NoHostAuthenticationForLocalhost=no",
    "VerifyHostKeyDNS=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ForwardX11Trusted=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
)
UNLESS_CHOSEN = ("ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=6")
ASK = 15.0  # seconds for what ssh says by itself: a `Match exec` or a name that is looked up may take some
SOCKET_DIRECTORY_LIMIT = 108 - 1 - len("/") - 40 - len(".0123456789abcdef")  # sun_path, %C and ssh's own suffix


class SshHost:
    """Runs commands on `destination` ("user@host" or "ssh://user@host:port").

    One connection is shared by all commands and kept for a minute after the last one. Host keys are always checked:
    ssh takes the first value that it is told, so ours come first, then `options`, then the operator's own files; what
    is in force is asked of ssh once and judged. Raises UsageProblem for a destination or an option that is refused.
    """

    def __init__(
        self,
        name: str,
        destination: str,
        options: tuple[str, ...] = (),
        identity_file: str | Path | None = None,
        transcript: Transcript | None = None,
        *,
        path: str = "",
        control_dir: Path | None = None,
        spool_dir: Path | None = None,
    ) -> None:
        self._name = check_name(name)
        self._destination = _check_destination(destination)
        self._options = tuple(_check_option(option) for option in options)
        self._identity_file = Path(identity_file).expanduser() if identity_file else None
        self._transcript = transcript or SilentTranscript()
        self._path = path
        self._control_dir = private_socket_directory(control_dir) if control_dir else None
        self._spool_dir = spool_dir
        self._judged = self._begun = False

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    @property
    def destination(self) -> str:
        """What ssh is given."""
        return self._destination

    def run(self, command: Command) -> Result:
        """Run it there and wait.

        Whatever a login shell prints before the command begins is left out. Raises HostUnreachable when ssh itself
        failed, and then what the command did is unknown, or when the login shell did not begin it. Raises UsageProblem,
        before anything is sent, when the ssh configuration would let in a machine whose key is not known.
        """
        self._judge()
        if not self._begun and any("\n" in word for word in command.argv):
            # csh takes each line of what it does not understand for a command, so it is asked without such words first.
            self.run(Command(("true",), timeout=30.0))
        started_at = datetime.now(UTC)
        self._transcript.started(self._name, command)
        result = run_process(
            command,
            self.argv(command),
            environment=of_ssh(os.environ),
            timeout=command.timeout + KILL_AFTER + CONNECT_GRACE,
            spool_dir=self._spool_dir,
            output=lambda text: self._transcript.output(self._name, text),
            frame=FRAME,
        )
        if result.exit_status in TIMEOUT_ENDED and result.duration >= command.timeout:
            result = replace(result, exit_status=None)
        self._transcript.finished(self._name, command, result, started_at)
        if result.exit_status == SSH_FAILED:
            raise self._unreachable(result.stderr)
        if not result.begun and result.exit_status is not None:
            raise self._not_begun(result)
        self._begun = True
        return result

    def argv(self, command: Command) -> tuple[str, ...]:
        """The whole ssh command line. The node's own timeout(1) ends a program that outlives its time there."""
        remote = (
            "env",
            "LC_ALL=C",
            *((f"PATH={self._path}",) if self._path else ()),
            "timeout",
            f"--kill-after={KILL_AFTER:g}",
            f"{max(command.timeout, 0.1):g}",
            *(word.reveal() if isinstance(word, Secret) else word for word in command.argv),
        )
        return (*self._ssh(), "--", self._destination, shlex.join(("/bin/sh", "-c", _BEGIN, *_WORDS, *remote)))

    def close(self) -> None:
        """Close the shared connection now instead of a minute from now."""
        if self._control_dir:
            self._ask("-O", "exit")

    def _ssh(self) -> tuple[str, ...]:
        checking = next((value for name, value in self._options if name == CHECKING), "yes")
        sharing = (
            ("ControlMaster=auto", "ControlPersist=60", f"ControlPath={self._control_dir}/%C")
            if self._control_dir
            # A connection that somebody else shares was made under his settings.
            else ("ControlMaster=no", "ControlPath=none")
        )
        chosen = tuple(f"{name}={value}" for name, value in self._options if name != CHECKING)
        return (
            "ssh",
            "-T",
            *(("-i", str(self._identity_file)) if self._identity_file else ()),
            *(
                word
                for option in (f"{CHECKING}={checking}", *ALWAYS, *sharing, *chosen, *UNLESS_CHOSEN)
                for word in ("-o", option)
            ),
        )

    def _judge(self) -> None:
        """Ask ssh once what it makes of our words and the operator's files; it connects to nothing for that."""
        if self._judged:
            return
        answer = self._ask("-G")
        if not answer.ok:
            raise self._unreachable(answer.stderr or f"ssh -G did not say within {ASK:g} s what is in force")
        if objection := objection_to(answer.stdout):
            raise UsageProblem(
                f"ssh to {self._name} ({self._destination}) is refused: {objection.what}",
                hint=objection.hint.format(destination=shlex.quote(self._destination)),
            )
        self._judged = True

    def _ask(self, *words: str) -> Result:
        """What ssh itself says, without running anything there."""
        argv = (*self._ssh(), *words, "--", self._destination)
        return run_process(Command(argv, timeout=ASK), argv, environment=of_ssh(os.environ), timeout=ASK)

    def _not_begun(self, result: Result) -> HostUnreachable:
        """An exit status of the login shell says nothing of a file, so it must not reach whoever asked for one."""
        lines = [line.strip() for text in (result.stderr, result.stdout) for line in text.splitlines() if line.strip()]
        said = f": {lines[-1][:_SHOWN]}" if lines else f" and ended with {result.exit_status}"
        return HostUnreachable(
            f"{self._name} cannot be reached as {self._destination}: its login shell did not begin the command{said}",
            hint="Give that user sh, bash or zsh as login shell, and see what it prints: "
            f"ssh {shlex.quote(self._destination)} /bin/true",
        )

    def _unreachable(self, stderr: str) -> HostUnreachable:
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else "the connection was lost"
        shown = shlex.quote(self._destination)
        hint = f"Make `ssh {shown} true` work without a question, then resume."
        if any("Host key verification failed" in line for line in lines):
            hint = f"Compare its host key and add it: ssh -o StrictHostKeyChecking=ask {shown} true"
        return HostUnreachable(f"{self._name} cannot be reached as {self._destination}: {last}", hint=hint)


def private_socket_directory(wanted: Path) -> Path:
    """A directory (0700, ours) for connection sockets: `wanted`, or a shorter one when its name would not fit.

    Raises UsageProblem when a directory of that name belongs to someone else.
    """
    directory = wanted if len(os.fsencode(wanted)) <= SOCKET_DIRECTORY_LIMIT else _short_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UsageProblem(f"{directory} is not a directory of our own", hint=f"Look who made it: ls -ld {directory}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        directory.chmod(0o700)
    return directory


def _short_directory() -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    if runtime.is_absolute() and runtime.is_dir() and len(os.fsencode(runtime)) < SOCKET_DIRECTORY_LIMIT - len("/ug"):
        return runtime / "ug"
    return Path(f"/tmp/upgrade-guard-{os.geteuid()}")  # noqa: S108 - its owner and mode are checked


def _check_destination(destination: str) -> str:
    try:
        return checked_destination(destination)
    except ValueError as problem:
        raise UsageProblem(
            f"{destination[:200]!r} cannot be used as an ssh destination: {problem}",
            hint="Write host, user@host or ssh://user@host:port; a name of ~/.ssh/config is a host too.",
        ) from None


def _check_option(option: str) -> tuple[str, str]:
    """Host key checking cannot be turned off here: a gate that talks to an impostor proves nothing."""
    try:
        return checked_option(option)
    except ValueError as problem:
        raise UsageProblem(
            f"the ssh option {option[:_SHOWN]!r} is refused: {problem}",
            hint="Take it out of ssh.options; what is meant for one machine goes into ~/.ssh/config.",
        ) from None
