"""YAML that knows its lines: safe values only, no aliases, no repeated keys."""

from __future__ import annotations

from typing import Any, NoReturn

import yaml

from personaroute_bench.errors import UsageError


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases, which could make a small file expand without end."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Build a node; an alias is an error at its place."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed here; write the value out", mark
            )
        return super().compose_node(parent, index)


class YamlFile:
    """One parsed file: nodes, their values, and errors with ``FILE:LINE``."""

    def __init__(self, raw: bytes, where: str):
        """Parse the bytes of a file.

        Args:
            raw: UTF-8 text.
            where: the file's name in messages.

        Raises:
            UsageError: not UTF-8, not YAML, or empty.
        """
        self._where = where
        try:
            self._loader = _Loader(raw.decode("utf-8-sig"))
            root = self._loader.get_single_node()
        except UnicodeDecodeError as error:
            raise UsageError(f"{where} is not UTF-8 text: {error}") from error
        except RecursionError as error:
            raise UsageError(f"{where} is nested too deeply") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{where}{self._describe(error)}") from error
        if root is None:
            raise UsageError(f"{where} is empty")
        self.root: yaml.Node = root

    def fail(self, node: yaml.Node, message: str) -> NoReturn:
        """Raise a UsageError at the line of a node."""
        raise UsageError(f"{self._where}:{node.start_mark.line + 1}: {message}")

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key → (key's node, value's node) of a mapping with text keys."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping of `key: value` lines")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node)
            if not isinstance(key, str):
                self.fail(key_node, f"the key {key!r} is not text; put it in quotes")
            if key in found:
                self.fail(key_node, f"the key {key!r} stands twice; remove one")
            found[key] = (key_node, value_node)
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the items' nodes of a list."""
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"`{what}:` must be a list; start each item with `- `")
        return list(node.value)

    def value(self, node: yaml.Node) -> Any:
        """Return the plain Python value of a node."""
        kind = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.CollectionNode) and kind not in ("map", "seq"):
            self.fail(node, f"the tag {node.tag[:60]!r} is not allowed here; write plain values")
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(v) for key, (_, v) in self.mapping(node, "this").items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            problem = getattr(error, "problem", None) or error
            self.fail(node, f"cannot be read as a value: {problem}")

    @staticmethod
    def _describe(error: yaml.YAMLError) -> str:
        """Return ``:LINE: is not valid YAML: ...`` of a parser's error."""
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f":{mark.line + 1}" if mark is not None else ""
        return f"{line}: this is not valid YAML: {problem}"
