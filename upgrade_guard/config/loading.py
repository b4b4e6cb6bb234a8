"""Reads a TOML file along the schema and refuses what does not fit, with file, key and the valid choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upgrade_guard.config.kinds import meant, offsite_url, toml_kind
from upgrade_guard.config.schema import NODE_TABLE, SCHEMA, SECTIONS, Config, Table
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.node import NodeSettings

_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Settings:
    """The effective configuration, and for each key where its value came from. `path` is None without a file."""

    config: Config
    origins: Mapping[str, str]
    path: Path | None


def candidate_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a configuration is looked for when none is named, first one first."""
    own = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config")
    return (Path("/etc/upgrade-guard/config.toml"), own / "upgrade-guard" / "config.toml")


def default_state_dir(environ: Mapping[str, str], *, is_root: bool) -> tuple[Path, str]:
    """The state directory when neither flag nor file name one, and where that comes from."""
    if is_root:
        return Path("/var/lib/upgrade-guard"), "default for root"
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "upgrade-guard", "default"


def load(
    path: Path | None,
    environ: Mapping[str, str],
    is_root: bool,  # noqa: FBT001 - a fact about the process, passed in for tests
    *,
    state_dir: Path | None = None,
    offsite: tuple[str, ...] = (),
) -> Settings:
    """The effective settings: flags over environment over file over defaults.

    `path` is --config, `state_dir` is --state-dir, `offsite` is --offsite (instead of the file's targets).
    Raises UsageProblem naming file, key and the valid choices.
    """
    found, document = _read_document(path, environ)
    where = str(found) if found else "the command line"
    reader = _Reader(where)
    values = reader.document(document)
    origins = {f"{table.name}.{key.name}".lstrip("."): "default" for table in SCHEMA[:-1] for key in table.keys}
    origins.update(dict.fromkeys(reader.seen, where))
    top: dict[str, Any] = values.pop("", {})
    chosen = state_dir.absolute() if state_dir else None
    if chosen is not None:
        top["state_dir"], origins["state_dir"] = chosen, "--state-dir"
    elif environ.get("UPGRADE_GUARD_STATE_DIR"):
        top["state_dir"] = Path(environ["UPGRADE_GUARD_STATE_DIR"]).expanduser().absolute()
        origins["state_dir"] = "UPGRADE_GUARD_STATE_DIR"
    elif "state_dir" not in top:
        top["state_dir"], origins["state_dir"] = default_state_dir(environ, is_root=is_root)
    vault = values.setdefault("vault", {})
    if offsite:
        vault["offsite"] = tuple(_flag("--offsite", url, offsite_url) for url in offsite)
        origins["vault.offsite"] = "--offsite"
    vault.setdefault("path", top["state_dir"] / "vault")
    nodes = values.pop("nodes", {})
    sections = {name: schema(**values.get(name, {})) for name, schema in SECTIONS.items()}
    config = Config(nodes={name: NodeSettings(**entry) for name, entry in nodes.items()}, **top, **sections)
    _check_together(config, where)
    return Settings(config, origins, found)


def _flag(flag: str, value: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except ValueError as problem:
        raise UsageProblem(f"{flag}: {problem}", hint="upgrade-guard run --help") from None


def _check_together(config: Config, where: str) -> None:
    """What each key alone cannot know."""
    vault = config.vault
    if vault.offsite and vault.offsite_required > len(set(vault.offsite)):
        raise UsageProblem(
            f"{where}: vault.offsite_required: {vault.offsite_required} copies are required, but vault.offsite names "
            f"{len(set(vault.offsite))} target(s)",
            hint=f"lower vault.offsite_required to {len(set(vault.offsite))} or add targets to vault.offsite",
        )


def _read_document(path: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    import tomllib

    named = path or (Path(environ["UPGRADE_GUARD_CONFIG"]) if environ.get("UPGRADE_GUARD_CONFIG") else None)
    for candidate in (named,) if named else candidate_paths(environ):
        try:
            with candidate.open("rb") as file:
                content = file.read(_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            if named:
                raise UsageProblem(
                    f"{candidate}: there is no such configuration file", hint=f"upgrade-guard config init {candidate}"
                ) from None
            continue
        except OSError as problem:
            raise UsageProblem(f"{candidate}: cannot be read: {problem.strerror}", hint=f"ls -l {candidate}") from None
        if len(content) > _LIMIT:
            raise UsageProblem(
                f"{candidate}: not a configuration file: it is larger than {_LIMIT >> 20} MiB",
                hint=f"ls -l {candidate}",
            )
        try:
            return candidate, tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise UsageProblem(
                f"{candidate}: not a TOML file: {problem}", hint="upgrade-guard config init --help"
            ) from None
    return None, {}


class _Reader:
    """Walks a document along the schema and refuses what does not fit."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.seen: list[str] = []

    def document(self, document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        tables = {table.name: table for table in SCHEMA}
        names = (*(key.name for key in tables[""].keys), *SECTIONS, "nodes")
        values: dict[str, dict[str, Any]] = {"": {}}
        for name, content in document.items():
            if name not in names:
                raise self.refused(name, "unknown key", f"valid here: {', '.join(names)}{meant(name, names)}")
            if name not in tables and name != "nodes":
                values[""].update(self.table(tables[""], {name: content}, ""))
            elif not isinstance(content, dict):
                raise self.refused(name, f"a table is expected, not {toml_kind(content)}", f"write [{name}]")
            elif name == "nodes":
                values["nodes"] = self.nodes(content)
            else:
                values[name] = self.table(tables[name], content, f"{name}.")
        return values

    def nodes(self, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        entries: dict[str, dict[str, Any]] = {}
        for name, entry in content.items():
            if name != "*" and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
                raise self.refused(f"nodes.{name}", "not a node name", 'give the name kubectl shows, or "*"')
            if not isinstance(entry, dict):
                raise self.refused(f"nodes.{name}", "a table is expected", f"write [nodes.{name}]")
            if name == "*" and "address" in entry:
                raise self.refused(
                    "nodes.*.address", "one address for every node cannot be", "write it in [nodes.NAME]"
                )
            entries[name] = self.table(NODE_TABLE, entry, f"nodes.{name}.")
        shared = entries.get("*", {})
        return {name: {**shared, **entry} for name, entry in entries.items()}

    def table(self, table: Table, content: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        known = {key.name: key for key in table.keys}
        read: dict[str, Any] = {}
        for name, value in content.items():
            if name not in known:
                names = tuple(known)
                choices = f"valid in [{prefix.rstrip('.')}]: {', '.join(names)}{meant(name, names)}"
                raise self.refused(prefix + name, "unknown key", choices)
            try:
                read[name] = known[name].kind.read(value)
            except ValueError as problem:
                raise self.refused(prefix + name, str(problem), f"expected: {known[name].kind.words}") from None
            self.seen.append(prefix + name)
        return read

    def refused(self, key: str, why: str, choices: str) -> UsageProblem:
        return UsageProblem(f"{self.where}: {key}: {why}", hint=choices)
