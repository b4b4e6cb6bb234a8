"""The configuration as text: the commented sample file and the reference page, made from the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from upgrade_guard.config.kinds import DURATION, DURATION_OR_NONE
from upgrade_guard.config.schema import SCHEMA, Config, Key, Table

_INTRODUCTION = """\
# Configuration of upgrade-guard.
# Every key is optional and stands here with its default or an example; remove the "#" before a key to set it.
# Check it with: upgrade-guard config show
"""


def toml(value: Any, *, is_duration: bool = False) -> str:
    """A value as TOML writes it; a duration in the largest unit that keeps it whole."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_duration and not value:
        return '""'
    if is_duration:
        seconds = int(value)
        for unit, length in (("h", 3600), ("m", 60)):
            if seconds % length == 0:
                return f'"{seconds // length}{unit}"'
        return f'"{seconds}s"'
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _is_duration(key: Key) -> bool:
    return key.kind in (DURATION, DURATION_OR_NONE)


def default_of(key: Key) -> str:
    """The default as TOML, or the words that describe one that depends on the machine."""
    return key.shown or toml(key.default, is_duration=_is_duration(key))


def sample() -> str:
    """The commented file that `config init` writes."""
    parts = [_INTRODUCTION]
    for table in SCHEMA:
        # A table of defaults may stand open; an entry for a node would already say something.
        head = "# [nodes.w1]" if table.name.startswith("nodes.") else f"[{table.name}]"
        lines = [f"# {table.meaning}", head] if table.name else []
        for key in table.keys:
            lines += ["", f"# {key.meaning}", f"#   {key.kind.words}; default: {default_of(key)}"]
            lines += [f"# {key.name} = {_example(key)}"]
        parts.append("\n".join(lines).lstrip("\n") + "\n")
    return "\n".join(parts)


def _example(key: Key) -> str:
    if key.sample:
        return key.sample
    if key.name == "address":
        return toml("root@w1.internal")
    if isinstance(key.default, Path):
        return toml("/var/lib/upgrade-guard" + ("/vault" if key.name == "path" else ""))
    return toml(key.default, is_duration=_is_duration(key))


def reference_markdown() -> str:
    """docs/reference/configuration.md below its title."""
    return "\n".join(_section(table) for table in SCHEMA)


def _section(table: Table) -> str:
    head = f"## `[{table.name}]`" if table.name else "## Top level"
    lines = [head, "", table.meaning, "", "| key | value | default | meaning |", "|---|---|---|---|"]
    for key in table.keys:
        default = key.shown or f"`{default_of(key)}`"
        lines.append(f"| `{key.name}` | {_cell(key.kind.words)} | {_cell(default)} | {_cell(key.meaning)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def effective(config: Config) -> dict[str, str]:
    """Every key with its effective value as TOML, in the order of the schema."""
    values: dict[str, str] = {}
    for table in SCHEMA:
        if table.name.startswith("nodes."):
            for name, node in config.nodes.items():
                values |= {f"nodes.{name}.{key.name}": toml(getattr(node, key.name)) for key in table.keys}
            continue
        section = getattr(config, table.name) if table.name else config
        for key in table.keys:
            values[f"{table.name}.{key.name}".lstrip(".")] = toml(
                getattr(section, key.name), is_duration=_is_duration(key)
            )
    return values
