"""YAML that other people edit, as plain values."""

from __future__ import annotations

from typing import Any


def plain_yaml(text: str) -> Any:
    """The one document in `text`. Raises ValueError for what is no YAML, nests too deeply, or has aliases.

    Aliases make a text of a few lines into lists that no memory holds once they are written out, and nothing that we
    read needs them. It is not the faster loader of libyaml: deeply nested text ends the whole process there.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader with one restriction more
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(str(problem) or type(problem).__name__) from problem
