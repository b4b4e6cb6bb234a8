"""The configuration: one schema as data, read from a TOML file, refused with file, key and the valid choices.

The dataclasses below are the schema: each field carries its kind, its default and its meaning. Validation, the
commented sample file and the reference page are made from them (`SCHEMA`), so they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.node import NodeSettings

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SET_BY_LOAD = Path()  # defaults that depend on the state directory
OFFSITE_SCHEMES = ("file://", "ssh://")


@dataclass(frozen=True)
class Kind:
    """What a value may be: `words` for people, `read` turns the TOML value into ours or raises ValueError(why)."""

    words: str
    read: Callable[[Any], Any]


def duration(value: Any) -> float:
    """Seconds of `90s`, `30m`, `2h` or `7d`. Raises ValueError for anything else, and for zero."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('give a duration such as "90s", "30m", "2h" or "7d"')
    return float(int(match[1]) * _SECONDS[match[2]])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"give a text in quotes, not {_toml_kind(value)}")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("control characters are not allowed")
    return value


def _destination(value: Any) -> str:
    text = _text(value)
    if not text or text.startswith("-") or "@-" in text or any(character.isspace() for character in text):
        raise ValueError('give "local", a host, or user@host; it must not begin with "-" or contain spaces')
    return text


def _path(value: Any) -> Path:
    path = Path(_text(value)).expanduser()
    if not path.is_absolute():
        raise ValueError("give an absolute path, or one that begins with ~/")
    return path


def _node_path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError("give an absolute path on that node")
    return text


def _file(value: Any) -> str:
    return str(_path(value)) if _text(value) else ""


def _at_least(least: int) -> Kind:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"give a whole number, not {_toml_kind(value)}")
        if value < least:
            raise ValueError(f"give {least} or more")
        return value

    return Kind(f"whole number, {least} or more", read)


def _one_of(*choices: str) -> Kind:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError("give one of: " + ", ".join(f'"{choice}"' for choice in choices) + _meant(value, choices))
        return str(value)

    return Kind("one of " + ", ".join(f'"{choice}"' for choice in choices), read)


def _list_of(words: str, item: Callable[[Any], Any]) -> Kind:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"give a list in brackets, not {_toml_kind(value)}")
        return tuple(item(entry) for entry in value)

    return Kind(f"list of {words}", read)


def offsite_url(value: Any) -> str:
    """An off-site target. Raises ValueError for another scheme, a missing path or host, or a password in it."""
    text = _text(value)
    if not text.startswith(OFFSITE_SCHEMES):
        raise ValueError(f"{text!r} is not an off-site target: give one of " + ", ".join(OFFSITE_SCHEMES))
    scheme, rest = text.split("://", 1)
    host, slash, path = rest.partition("/")
    if not slash or not path.strip("/") or (scheme == "ssh") != bool(host):
        raise ValueError(f"{text!r}: write file:///absolute/path or ssh://user@host/absolute/path")
    if ":" in host.rpartition("@")[0]:
        raise ValueError("an off-site target carries no password: use an ssh key")
    if host:
        _destination(host)
    return text


def _preflight_name(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", _text(value)):
        raise ValueError(f'{value!r} is not the name of a kubeadm preflight check, such as "CoreDNSMigration"')
    return str(value)


def _ssh_option(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z]+=\S.*", _text(value)):
        raise ValueError(f'{value!r} is not an ssh option: write "Name=value"')
    return str(value)


def _recipient(value: Any) -> str:
    _text(value)
    raise ValueError("this version cannot encrypt copies yet, and will not send them in the clear: leave it empty")


def _toml_kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date")


def _meant(given: object, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(given), known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


TEXT = Kind("text", _text)
USER = Kind("user name", _destination)
DESTINATION = Kind('"local", host or user@host', _destination)
PATH = Kind("absolute path", _path)
NODE_PATH = Kind("absolute path on that node", _node_path)
DURATION = Kind('duration such as "90s", "30m", "2h"', duration)


def _key(kind: Kind, default: object, meaning: str, *, sample: str = "", shown: str = "") -> Any:
    """One key. `sample` is TOML for the sample file where the default says too little; `shown` words for a default."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "sample": sample, "shown": shown})


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster, and how it is reached."""

    name: str = _key(
        TEXT, "", "What you call the cluster; asked for before losing writes.", shown="the name kubeadm gave"
    )
    control_plane: str = _key(
        DESTINATION, "local", 'The control plane through which every other node is found: "local" or user@host.'
    )
    node: str = _key(TEXT, "", "The name of that node in the cluster.", shown="found by asking the cluster")


@dataclass(frozen=True)
class SshSettings:
    """OpenSSH does the work: ~/.ssh/config, agents and jump hosts are honoured."""

    user: str = _key(USER, "root", "The user on nodes that are reached at their InternalIP.")
    identity_file: str = _key(
        Kind("absolute path", _file), "", "The private key.", sample='"~/.ssh/id_ed25519"', shown="what ssh itself uses"
    )
    options: tuple[str, ...] = _key(
        _list_of('"Name=value"', _ssh_option), (), "Handed to ssh with -o.", sample='["StrictHostKeyChecking=yes"]'
    )


@dataclass(frozen=True)
class VaultSettings:
    """Where bundles are kept on this machine, and where copies of them go."""

    path: Path = _key(PATH, _SET_BY_LOAD, "The vault on this machine.", shown="vault/ in the state directory")  # noqa: RUF009 - immutable
    keep_days: int = _key(_at_least(1), 7, "Bundles younger than this many days are kept.")
    keep_last: int = _key(_at_least(1), 3, "This many of the newest bundles are kept whatever their age.")
    offsite: tuple[str, ...] = _key(
        _list_of("URLs: " + ", ".join(OFFSITE_SCHEMES), offsite_url),
        (),
        "Targets off the control plane; each copy is read back before the gate opens.",
        sample='["ssh://backup@nas/srv/etcd", "file:///mnt/nfs/etcd"]',
    )
    offsite_required: int = _key(_at_least(1), 1, "How many of these copies must have read back equal.")
    recipients: tuple[str, ...] = _key(
        _list_of("age public keys", _recipient), (), "Reserved for encryption; must be empty in this version."
    )
    separate_storage: tuple[str, ...] = _key(
        _list_of("absolute paths", lambda value: str(_path(value))),
        (),
        "Local paths whose storage survives the loss of this machine (SAN, DRBD), so that file:// below them counts.",
        sample='["/mnt/san"]',
    )


@dataclass(frozen=True)
class UpgradeSettings:
    """How an upgrade proceeds, and what answers a failure."""

    # Durations are texts in the file and seconds here.

    snapshot_max_age: float = _key(DURATION, 1800.0, "The gate closes on a proof that is older.")
    ignore_preflight_errors: tuple[str, ...] = _key(
        _list_of("names of kubeadm preflight checks", _preflight_name),
        (),
        "Handed to kubeadm; our own checks cannot be ignored.",
        sample='["CoreDNSUnsupportedPlugins"]',
    )
    drain_timeout: float = _key(DURATION, 300.0, "How long pods of one node may take to leave.")
    max_unavailable: int = _key(_at_least(1), 1, "How many workers are upgraded at the same time.")
    on_node_failure: str = _key(
        _one_of("rollback-node", "pause", "rollback-cluster"),
        "rollback-node",
        "When a worker fails: put that worker back and ask, ask at once, or take the whole cluster back.",
    )
    on_verify_failure: str = _key(
        _one_of("rollback-cluster", "pause"),
        "rollback-cluster",
        "When the upgraded cluster differs from its baseline: take it back, or ask.",
    )
    apply_timeout: float = _key(DURATION, 900.0, "How long `kubeadm upgrade apply` or `node` may take.")
    ready_timeout: float = _key(DURATION, 300.0, "How long a node, the API or etcd may take to be ready again.")


@dataclass(frozen=True)
class Config:
    """Everything an operator may set. Build it with `load`; nodes carry the "*" entry's values already."""

    state_dir: Path = _key(  # noqa: RUF009 - immutable
        PATH,
        _SET_BY_LOAD,
        "Journal, logs and lock.",
        shown="/var/lib/upgrade-guard as root, else the XDG state directory",
    )
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    ssh: SshSettings = field(default_factory=SshSettings)
    nodes: Mapping[str, NodeSettings] = field(default_factory=dict)
    vault: VaultSettings = field(default_factory=VaultSettings)
    upgrade: UpgradeSettings = field(default_factory=UpgradeSettings)

    def node(self, name: str) -> NodeSettings:
        """The settings of that node: its own entry over the "*" entry over kubeadm's defaults."""
        return self.nodes.get(name) or self.nodes.get("*") or NodeSettings()

    @property
    def journal_path(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "journal.sqlite"

    @property
    def lock_path(self) -> Path:
        """The file whose lock a run holds."""
        return self.state_dir / "run.lock"

    def log_path(self, run_id: str) -> Path:
        """Where every command of a run and its output are written."""
        return self.state_dir / "logs" / f"{run_id}.log"


@dataclass(frozen=True)
class Settings:
    """The effective configuration, and for each key where its value came from. `path` is None without a file."""

    config: Config
    origins: Mapping[str, str]
    path: Path | None


@dataclass(frozen=True)
class Key:
    """One key of the schema, as validation, the sample and the reference see it."""

    name: str
    kind: Kind
    default: Any
    meaning: str
    sample: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Table:
    """One table of the file; `name` is "" for the top, and "nodes.NAME" for the one that repeats."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


_NODE_KEYS = {
    "address": (DESTINATION, '"local" or user@host, for a node that is not reached at its InternalIP.'),
    "kubernetes_dir": (NODE_PATH, "Where kubeadm keeps its files."),
    "kubelet_dir": (NODE_PATH, "Where kubelet keeps its files."),
    "work_dir": (NODE_PATH, "Where upgrade-guard keeps its own files on the node."),
    "path": (TEXT, "PATH of every command on the node; empty leaves it alone."),
    "package_source": (NODE_PATH, "The apt source that names the Kubernetes package repository."),
    "kubelet_unit": (TEXT, "The systemd unit of kubelet."),
    "host_files": (
        _list_of("absolute paths on that node", _node_path),
        "Files and directories outside of the two directories that belong to the node's bundle when they exist.",
    ),
}


def _keys(schema: type) -> tuple[Key, ...]:
    return tuple(Key(f.name, default=f.default, **f.metadata) for f in dataclasses.fields(schema) if f.metadata)


_SECTIONS: dict[str, type] = {
    "cluster": ClusterSettings,
    "ssh": SshSettings,
    "vault": VaultSettings,
    "upgrade": UpgradeSettings,
}
NODE_TABLE = Table(
    "nodes.NAME",
    'How one node differs from what kubeadm sets up; NAME is its name in the cluster, or "*" for every node.',
    tuple(
        Key(f.name, _NODE_KEYS[f.name][0], f.default, _NODE_KEYS[f.name][1]) for f in dataclasses.fields(NodeSettings)
    ),
)
SCHEMA = (
    Table("", "At the top of the file, before the first table.", _keys(Config)),
    *(Table(name, (schema.__doc__ or "").strip(), _keys(schema)) for name, schema in _SECTIONS.items()),
    NODE_TABLE,
)


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
    sections = {name: schema(**values.get(name, {})) for name, schema in _SECTIONS.items()}
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
            content = candidate.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if named:
                raise UsageProblem(
                    f"{candidate}: there is no such configuration file", hint=f"upgrade-guard config init {candidate}"
                ) from None
            continue
        except OSError as problem:
            raise UsageProblem(f"{candidate}: cannot be read: {problem.strerror}", hint=f"ls -l {candidate}") from None
        try:
            return candidate, tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
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
        names = (*(key.name for key in tables[""].keys), *_SECTIONS, "nodes")
        values: dict[str, dict[str, Any]] = {"": {}}
        for name, content in document.items():
            if name not in names:
                raise self.refused(name, "unknown key", f"valid here: {', '.join(names)}{_meant(name, names)}")
            if name not in tables and name != "nodes":
                values[""].update(self.table(tables[""], {name: content}, ""))
            elif not isinstance(content, dict):
                raise self.refused(name, f"a table is expected, not {_toml_kind(content)}", f"write [{name}]")
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
            entries[name] = self.table(NODE_TABLE, entry, f"nodes.{name}.")
        shared = entries.get("*", {})
        return {name: {**shared, **entry} for name, entry in entries.items()}

    def table(self, table: Table, content: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        known = {key.name: key for key in table.keys}
        read: dict[str, Any] = {}
        for name, value in content.items():
            if name not in known:
                names = tuple(known)
                choices = f"valid in [{prefix.rstrip('.')}]: {', '.join(names)}{_meant(name, names)}"
                raise self.refused(prefix + name, "unknown key", choices)
            try:
                read[name] = known[name].kind.read(value)
            except ValueError as problem:
                raise self.refused(prefix + name, str(problem), f"expected: {known[name].kind.words}") from None
            self.seen.append(prefix + name)
        return read

    def refused(self, key: str, why: str, choices: str) -> UsageProblem:
        return UsageProblem(f"{self.where}: {key}: {why}", hint=choices)
