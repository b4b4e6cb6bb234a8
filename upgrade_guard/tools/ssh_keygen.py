"""ssh-keygen as a signer: `-Y sign` and `-Y verify` of OpenSSH 8.2 and newer, for heads of history."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from upgrade_guard.errors import CommandFailed, UnexpectedOutput
from upgrade_guard.hosts.base import Host
from upgrade_guard.tools.commands import READ_TIMEOUT, run_checked

NAMESPACE = "upgrade-guard-history"
"""What the same key signed for another purpose, such as a commit, is no signature of a head."""

_ARMOURED = re.compile(r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]{1,16384}-----END SSH SIGNATURE-----")
# A passphrase is never asked for: nobody may be there. Such a key lies in an agent, and its public file is named.
_WITHOUT_QUESTIONS = ("SSH_ASKPASS=/bin/false", "SSH_ASKPASS_REQUIRE=force")


class SshKeygen:
    """On this machine. `agent` is the socket of an ssh agent, or ""."""

    def __init__(self, host: Host, agent: str = "") -> None:
        self._host = host
        self._env = ("env", *_WITHOUT_QUESTIONS, *((f"SSH_AUTH_SOCK={agent}",) if agent else ()))

    def sign(self, key: str, head: str) -> str:
        """The signature of a head by a private key, or by the agent's key of that public one; armoured.

        Raises CommandFailed, UnexpectedOutput.
        """
        argv = (*self._env, "ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", key)
        said = run_checked(self._host, argv, stdin=_message(head), timeout=READ_TIMEOUT).stdout.strip()
        if not _ARMOURED.fullmatch(said):
            raise UnexpectedOutput("ssh-keygen -Y sign printed no signature")
        return said

    def signer(self, allowed_signers: str, head: str, signature: str) -> str:
        """Whose signature of that head it is, by a file of allowed signers; "" when it is nobody's of them."""
        if not _ARMOURED.fullmatch(signature.strip()):
            return ""
        with tempfile.TemporaryDirectory(prefix="upgrade-guard-signature-") as place:
            path = Path(place) / "head.sig"
            path.write_text(f"{signature.strip()}\n")
            for name in self._principals(allowed_signers, path):
                who = ("-f", allowed_signers, "-I", name, "-s", str(path))
                argv = ("ssh-keygen", "-Y", "verify", "-n", NAMESPACE, *who)
                if run_checked(self._host, argv, stdin=_message(head), accept=(0, 1, 255)).exit_status == 0:
                    return name
        return ""

    def _principals(self, allowed_signers: str, signature: Path) -> list[str]:
        argv = ("ssh-keygen", "-Y", "find-principals", "-f", allowed_signers, "-s", str(signature))
        found = run_checked(self._host, argv, accept=(0, 1, 255))
        names = found.stdout.splitlines() if found.exit_status == 0 else []
        return [name for name in names if name and not name.startswith("-")]


def readable(path: str, what: str) -> None:
    """Raises CommandFailed when a file that a configuration names cannot be read: that is no bad signature."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as problem:
        raise CommandFailed(f"{what} = {path!r}: {problem.strerror}", exit_status=None, hint=f"ls -l {path}") from None


def _message(head: str) -> bytes:
    return f"{head}\n".encode()
