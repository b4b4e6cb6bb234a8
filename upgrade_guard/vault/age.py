"""Encryption by age: recipients can encrypt, only their identities decrypt. Everything is streamed.

The format is https://age-encryption.org/v1; the files are those that the `age` program writes and reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.vault.disk import open_regular, storage, storage_problem
from upgrade_guard.vault.manifest import FileEntry

if TYPE_CHECKING:
    from pyrage import ssh, x25519

SUFFIX = ".age"


class _Measured:
    """One side of a stream: counts and digests what passes, and remembers what the file system said."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._digest = hashlib.sha256()
        self._size = 0
        self.failure: OSError | None = None

    @property
    def entry(self) -> FileEntry:
        """What has passed."""
        return FileEntry(self._digest.hexdigest(), self._size)

    def read(self, size: int) -> bytes:
        try:
            content = os.read(self._handle, size)
        except OSError as error:
            self.failure = error
            raise
        self._passed(content)
        return content

    def write(self, content: bytes) -> int:
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            self.failure = error
            raise
        self._passed(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""

    def _passed(self, content: bytes) -> None:
        self._digest.update(content)
        self._size += len(content)


def check_recipients(recipients: Sequence[str]) -> None:
    """Raises UsageProblem for the first one that nothing can be encrypted for."""
    for text in recipients:
        _recipient(text)


def encrypt(source: Path, destination: Path, recipients: Sequence[str]) -> tuple[FileEntry, FileEntry]:
    """Encrypt a file into a new one (0600, synced): what was read and what was written, measured on their way.

    Raises UsageProblem for a recipient that is none, StepFailed when a disk refuses.
    """
    import pyrage  # late: a compiled library

    keys = [_recipient(text) for text in recipients]

    def through(read: _Measured, written: _Measured) -> None:
        pyrage.encrypt_io(read, written, keys)

    return _streamed(f"Encrypting {source.name}", source, destination, through)


def decrypt(source: Path, destination: Path, identity_file: str) -> tuple[FileEntry, FileEntry]:
    """Decrypt a file into a new one (0600, synced): what was read and what was written.

    Raises Refused when the identity is not one of the recipients', or the file was changed; then nothing is left.
    """
    import pyrage  # late: a compiled library

    identities = read_identities(identity_file)

    def through(read: _Measured, written: _Measured) -> None:
        try:
            pyrage.decrypt_io(read, written, identities)
        except pyrage.DecryptError as error:
            raise Refused(
                f"{source.name} cannot be decrypted with {identity_file}: {error}",
                hint="Name the identity of one of its recipients: vault.identity_file",
            ) from error

    return _streamed(f"Decrypting {source.name}", source, destination, through)


def _streamed(
    doing: str, source: Path, destination: Path, through: Callable[[_Measured, _Measured], None]
) -> tuple[FileEntry, FileEntry]:
    import pyrage  # late: a compiled library

    with storage(doing, destination), open_regular(source) as file:
        handle = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        read, written = _Measured(file), _Measured(handle)
        try:
            through(read, written)
            os.fsync(handle)
        except (OSError, pyrage.EncryptError, Refused) as error:
            destination.unlink()
            if failure := written.failure or read.failure:  # the library tells of it in its own words only
                raise storage_problem(doing, destination if written.failure else source, failure) from error
            if isinstance(error, Refused):
                raise
            raise Refused(
                f"{doing} failed: {source} is damaged, or was made by somebody else ({error})",
                hint="Use another copy of this bundle: upgrade-guard backup list --remote",
            ) from error
        finally:
            os.close(handle)
    return read.entry, written.entry


def read_identities(identity_file: str) -> list[x25519.Identity | ssh.Identity]:
    """The private keys in a file: lines of `AGE-SECRET-KEY-1...`, or one OpenSSH key. Raises UsageProblem.

    No text of the file is ever shown.
    """
    import pyrage  # late: a compiled library

    path = Path(identity_file)
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise UsageProblem(
            f"vault.identity_file: {path} cannot be read: {error.strerror}", hint=f"Look at it: ls -l '{path}'"
        ) from error
    if mode & 0o077:
        raise UsageProblem(
            f"vault.identity_file: others may read {path} (mode {mode:04o}), and it decrypts your backups",
            hint=f"chmod 600 '{path}'",
        )
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise UsageProblem(
            f"vault.identity_file: {path} holds no identity of age, and no OpenSSH key without a passphrase",
            hint="Give the file that age-keygen wrote; decrypt one with a passphrase first: age -d, ssh-keygen -p",
        )
    return list(found)


def _recipient(text: str) -> x25519.Recipient | ssh.Recipient:
    import pyrage  # late: a compiled library

    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageProblem(
            f"vault.recipients: {text!r} is not a recipient: {error}",
            hint="Give what `age-keygen -y KEYFILE` prints, or the text of an ssh-ed25519 public key.",
        ) from error
