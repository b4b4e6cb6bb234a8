"""Commands that start quickly.

typer 0.29 imports pydantic, which takes longer than typer itself, as soon as an option is looked at whose value is not
a boolean. Its own --help is one of them, being None where it is not given. With False there, commands whose options
are all flags need no pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    _Base = TyperCommand
else:
    _Base = object


class _BooleanHelp(_Base):
    def get_help_option(self, ctx: Any) -> Any:
        """typer's --help, with False where it says nothing."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


class QuickCommand(_BooleanHelp, TyperCommand):
    """A command whose --help needs no pydantic."""


class QuickGroup(_BooleanHelp, TyperGroup):
    """A group whose --help needs no pydantic."""
