"""Names that end in an argv or a file name must not be options or carry control characters."""

from __future__ import annotations

from upgrade_guard.errors import UsageProblem

_SHOWN = 200  # characters of a name that is refused


def check_name(name: str, what: str = "host name") -> str:
    """The name itself. Raises UsageProblem when it is empty, looks like an option or has white space in it."""
    if not name or name.startswith("-") or any(letter.isspace() or not letter.isprintable() for letter in name):
        raise UsageProblem(
            f"{name[:_SHOWN]!r} cannot be used as a {what}",
            hint="Give it without white space or control characters, and not beginning with '-'.",
        )
    return name
