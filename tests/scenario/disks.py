"""The disks on which a run's evidence lies: kept as they are, spoiled by hand, and put back as they were."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from scenario.stage import Stage


@dataclass(frozen=True)
class Disks:
    """Journal, vault and off-site copies of a lab in which no command of the product runs."""

    stage: Stage
    kept: Path

    @classmethod
    def keep(cls, stage: Stage) -> Disks:
        """Remember them as they are now."""
        disks = cls(stage, stage.lab.directory.with_name(f"{stage.lab.directory.name}-kept"))
        shutil.rmtree(disks.kept, ignore_errors=True)
        for name, path in disks._places().items():
            if path.is_dir():
                shutil.copytree(path, disks.kept / name)
            elif path.exists():
                (disks.kept / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, disks.kept / name)
        return disks

    def put_back(self) -> None:
        """As they were."""
        for name, path in self._places().items():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            kept = self.kept / name
            if kept.is_dir():
                shutil.copytree(kept, path)
            elif kept.exists():
                shutil.copy2(kept, path)

    def _places(self) -> dict[str, Path]:
        state = self.stage.lab.directory / "state"
        files = ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "proofs")
        layout = self.stage.lab.layout
        # They have the head of history too: a journal that is put back without them was cut.
        locks = {f"lock-{name}": layout.work(name) / "lock.json" for name in self.stage.lab.settings.control_planes}
        return (
            {name: state / name for name in files}
            | locks
            | {
                "vault": self.stage.lab.directory / "vault",
                "offsite": self.stage.lab.offsite,
            }
        )

    @property
    def bundle(self) -> Path:
        """The newest bundle in the vault."""
        return self._newest(self.stage.lab.directory / "vault")

    @property
    def copy(self) -> Path:
        """Its copy at the off-site target."""
        return self._newest(self.stage.lab.offsite)

    def _newest(self, directory: Path) -> Path:
        name = self.stage.rows("select bundle from snapshots order by seq desc limit 1")[0]["bundle"]
        return directory / str(name)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The journal in the hands of someone who knows SQL and first takes its triggers away."""
        connection = sqlite3.connect(self.stage.journal)
        try:
            for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
                connection.execute(f"drop trigger {name}")
            yield connection
            connection.commit()
        finally:
            connection.close()


def flip(path: Path, at: float = 0.5) -> None:
    """Change one byte of a file and leave its size and its times."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x40
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def truncate(path: Path) -> None:
    """Cut it in half."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def edit_manifest(bundle: Path, **values: Any) -> None:
    """Change keys of a bundle's manifest, and leave it readable."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    unknown = set(values) - set(manifest)
    assert not unknown, unknown
    path.write_text(json.dumps(manifest | values, indent=2) + "\n")


def forge(bundle: Path, name: str) -> None:
    """Change a file of a bundle, and its manifest so that both agree again."""
    flip(bundle / name)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
