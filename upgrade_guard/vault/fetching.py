"""From a target back into a vault: nothing becomes a bundle here that is not what its manifest says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.vault.bundle import MANIFEST, PART, SNAPSHOT, Bundle, Vault, examine, is_safe_name
from upgrade_guard.vault.disk import (
    measure,
    private_directories,
    private_directory,
    storage,
    sync_directory,
    write_synced,
)
from upgrade_guard.vault.manifest import BundleManifest

Bring = Callable[[str, Path], None]


def check_files(manifest: BundleManifest, where: str) -> None:
    """Refuse a manifest whose file names would lead out of a bundle, or that has no snapshot."""
    wanted = {SNAPSHOT, *(listing.archive for listing in manifest.node_files.values())}
    hostile = [name for name in manifest.files if not is_safe_name(name) or name == MANIFEST or name.endswith(PART)]
    missing = sorted(wanted - manifest.files.keys())
    if not hostile and not missing:
        return
    what = f"names a file {hostile[0]!r}" if hostile else f"lacks {missing[0]!r}"
    raise Refused(f"{where} {what}: no bundle of ours does", hint="Use another copy, and find out who wrote this one.")


def fetched(name: str, where: str, content: bytes, manifest: BundleManifest, vault: Vault, bring: Bring) -> Bundle:
    """The bundle `name` in `vault`, made of what `bring` downloads; `content` is its manifest.json, byte by byte."""
    final, part = vault.path / name, vault.path / f"{name}{PART}"
    with storage("Fetching a bundle", final):
        private_directories(vault.path)
        if final.exists():
            return _already_here(vault.bundle(name), content, where)
        private_directory(part)
        _must_fit(vault.path, sum(entry.size for entry in manifest.files.values()))  # and more while one is decrypted
        for file, entry in sorted(manifest.files.items()):
            local = part / file
            if _is(local, file, manifest):
                continue  # an earlier attempt brought it
            gone_on_with = local.exists()
            bring(file, local)
            if gone_on_with and not _is(local, file, manifest):
                local.unlink()  # what was here already may have been the wrong part
                bring(file, local)
            if not _is(local, file, manifest):
                found = measure(local)
                local.unlink()
                raise Refused(
                    f"{where} is damaged: {file} has {found.size} bytes with SHA-256 {found.sha256}, its manifest says "
                    f"{entry.size} bytes with {entry.sha256}",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
        write_synced(part / MANIFEST, content)
        for left_behind in {path.name for path in part.iterdir()} - {MANIFEST, *manifest.files}:
            (part / left_behind).unlink()
        sync_directory(part)
        part.rename(final)
        sync_directory(vault.path)
    return vault.bundle(name)


def _is(local: Path, file: str, manifest: BundleManifest) -> bool:
    return local.is_file() and not local.is_symlink() and measure(local) == manifest.files[file]


def _already_here(bundle: Bundle, content: bytes, where: str) -> Bundle:
    problems = examine(bundle)
    if hashlib.sha256(content).hexdigest() != bundle.manifest_sha256:
        problems = (f"{bundle.name}: its manifest is another one", *problems)
    if problems:
        raise Refused(
            f"{bundle.path} is in the way of {where}, which is not the same: {problems[0]}",
            hint=f"Move it aside: mv '{bundle.path}' '{bundle.path}.differs'",
        )
    return bundle


def _must_fit(path: Path, size: int) -> None:
    free = shutil.disk_usage(path).free
    if free < size:
        raise StepFailed(
            f"{path} has {free >> 20} MiB free; the bundle needs {(size >> 20) + 1} MiB",
            hint=f"Free space there: df -h '{path}'",
        )
