"""Reads the words and sentences that the generators draw from: YAML files beside this one."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any


@lru_cache(maxsize=8)
def bank(name: str) -> dict[str, Any]:
    """Return the content of ``NAME.yaml`` with lists as tuples, so that nobody changes it."""
    import yaml

    # libyaml is ten times as fast; both loaders are safe ones.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    frozen: dict[str, Any] = _freeze(loader(text).get_single_data())
    return frozen


def _freeze(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_freeze(part) for part in value)
    if isinstance(value, dict):
        return {str(key): _freeze(part) for key, part in value.items()}
    return value
