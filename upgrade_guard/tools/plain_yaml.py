"""YAML that other people edit, as plain values."""

from __future__ import annotations

from typing import Any

_SIZE = 256 << 10  # characters; a manifest of kubeadm has some thousand
_VALUES = 20_000
_DEPTH = 100


def plain_yaml(text: str) -> Any:
    """The one document in `text`. Raises ValueError for what is no YAML, is too large or too deep, or has aliases.

    Aliases make a text of a few lines into lists that no memory holds once they are written out, and nothing that we
    read needs them. It is not the faster loader of libyaml: deeply nested text ends the whole process there. The loader
    that it is needs a minute for some hundred kilobytes, so that there are limits that nothing of kubeadm's comes near.
    """
    import yaml

    if len(text) > _SIZE:
        raise ValueError(f"it is larger than {_SIZE >> 10} KiB")

    class Loader(yaml.SafeLoader):
        values = depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases")
            self.values += 1
            self.depth += 1
            if self.values > _VALUES:
                raise yaml.YAMLError(f"it has more than {_VALUES} values")
            if self.depth > _DEPTH:
                raise yaml.YAMLError(f"it nests more than {_DEPTH} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader with one restriction more
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(str(problem) or type(problem).__name__) from problem
