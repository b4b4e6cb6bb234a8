"""Encrypted copies read again with a private key: for drills and restores, never needed to make a backup."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from upgrade_guard.errors import Refused
from upgrade_guard.vault.age import SUFFIX, decrypt
from upgrade_guard.vault.bundle import MANIFEST
from upgrade_guard.vault.disk import measure, storage
from upgrade_guard.vault.manifest import DESCRIPTION_LIMIT, FileEntry, too_large
from upgrade_guard.vault.sealed import Sealed

Get = Callable[[str, FileEntry, Path], None]


class Unsealing:
    """One encrypted copy. `get` downloads one of its files; `where` names the copy for people."""

    def __init__(self, sealed: Sealed, identity_file: str, get: Get, where: str) -> None:
        if not identity_file:
            raise Refused(
                f"{where} is encrypted, and no private key is named",
                hint="Bring the key to this machine (0600) and name its file: vault.identity_file",
            )
        self._sealed = sealed
        self._identity_file = identity_file
        self._get = get
        self._where = where

    def manifest(self) -> bytes:
        """manifest.json, byte by byte. Raises Refused when the key does not fit or the copy is damaged."""
        encrypted = self._sealed.files[f"{MANIFEST}{SUFFIX}"]
        if encrypted.size > DESCRIPTION_LIMIT:
            raise too_large(f"{MANIFEST}{SUFFIX} of {self._where}")
        with tempfile.TemporaryDirectory(prefix="upgrade-guard-") as directory:
            local = Path(directory) / MANIFEST
            self.bring(MANIFEST, local)
            entry = measure(local)
            if entry.sha256 != self._sealed.manifest_sha256:
                raise Refused(
                    f"{self._where} is damaged: its manifest is not the one that was encrypted",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
            return local.read_bytes()

    def bring(self, file: str, local: Path) -> None:
        """Download one file and decrypt it to `local`; the ciphertext is not kept."""
        name = f"{file}{SUFFIX}"
        entry = self._sealed.files.get(name)
        if entry is None:
            raise Refused(f"{self._where} lacks {name}", hint="Use another copy of this bundle.")
        ciphertext = local.with_name(name)
        with storage("Fetching a bundle", local):
            self._get(name, entry, ciphertext)
            if measure(ciphertext) != entry:  # what lay here of an earlier attempt may have been another one
                ciphertext.unlink()
                self._get(name, entry, ciphertext)
            if measure(ciphertext) != entry:
                ciphertext.unlink()
                raise Refused(
                    f"{self._where} is damaged: {name} has another size or SHA-256 than was written",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
            local.unlink(missing_ok=True)
            decrypt(ciphertext, local, self._identity_file)
            ciphertext.unlink()
