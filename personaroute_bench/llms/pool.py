"""Pools of candidate LLMs: YAML files, read strictly, with the line of every mistake.

    defaults:                      # optional: fields that every LLM below shares
      provider: openai
      base_url: https://openrouter.ai/api/v1
      api_key_env: OPENROUTER_API_KEY
    llms:
      - id: gpt-4o-mini            # the name in every table; may hold "/"
        model: openai/gpt-4o-mini  # the provider's own id, sent on the wire
        input_price: 0.15          # USD per million tokens; null is unknown, 0 is free
        output_price: 0.60

`id`, `model` and `provider` must be there; every other field of `LLM` may be. docs/pools.md
explains each.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import yaml

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.llms._yaml import YamlFile
from personaroute_bench.llms.types import LLM

_MAX_BYTES = 1_000_000
_REQUIRED = ("id", "model", "provider")
_TOP_LEVEL = ("name", "description", "defaults", "llms")
# Fields of the request body that the client itself decides, or whose answer it could not read.
_RESERVED = ("model", "messages", "stream", "n", "api_key", "api_base", "base_url")
# What only runs a data set and does not define it stays out of the fingerprint.
_DEFINES_DATA = (
    "id",
    "name",
    "model",
    "provider",
    "base_url",
    "input_price",
    "output_price",
    "cached_input_price",
    "price_source",
    "price_date",
    "description",
    "family",
    "parameters_billion",
    "max_tokens",
)


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidate LLMs in the order of their file."""

    name: str
    llms: tuple[LLM, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The LLMs' ids, in order."""
        return tuple(llm.id for llm in self.llms)

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON value of all that defines data.

        The API key's variable, rate limits and the pool's own name are not in it: the same LLMs
        from another file, or asked more slowly, give the same data set.
        """
        return {
            "llms": [
                {field: getattr(llm, field) for field in _DEFINES_DATA}
                | {"resolves_to": list(llm.resolves_to), "parameters": dict(llm.parameters)}
                for llm in self.llms
            ]
        }


def list_pools() -> list[str]:
    """Return the names of the bundled pools, sorted."""
    folder = resources.files("personaroute_bench.llms.pools")
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_pool(name_or_path: str, llms: Sequence[str] | None = None) -> Pool:
    """Read a bundled pool by its name, or a pool file by its path.

    Args:
        name_or_path: a bundled name wins over a file of the same name; ``./NAME`` is a file.
        llms: ids to keep (in the pool's order); None keeps all.

    Raises:
        UsageError: no such pool, a mistake in the file (with its line), an unknown id.
    """
    bundled = list_pools()
    if name_or_path in bundled:
        entry = resources.files("personaroute_bench.llms.pools") / f"{name_or_path}.yaml"
        name, where, raw = name_or_path, f"{name_or_path}.yaml (bundled)", entry.read_bytes()
    else:
        path = Path(name_or_path)
        name, where = path.stem, str(path)
        try:
            raw = path.read_bytes()
        except OSError as error:
            if path.suffix or len(path.parts) > 1:
                reason = error.strerror or str(error)
                raise UsageError(f"cannot read the pool file {where}: {reason}") from error
            hint = did_you_mean(name_or_path, bundled)
            raise UsageError(f"no pool or file is named {name_or_path!r}{hint}") from error
    pool = Pool(name, _read(raw, where))
    return pool if llms is None else select_llms(pool, llms)


def select_llms(pool: Pool, ids: Sequence[str]) -> Pool:
    """Keep the LLMs with these ids, in the pool's order.

    Raises:
        UsageError: an id is not in the pool, or none is given.
    """
    known = pool.ids
    for wanted in ids:
        if wanted not in known:
            raise UsageError(
                f"pool {pool.name!r} has no LLM {wanted!r}{did_you_mean(wanted, known)}"
            )
    if not ids:
        raise UsageError(f"no LLM of pool {pool.name!r} is chosen; name at least one")
    return replace(pool, llms=tuple(llm for llm in pool.llms if llm.id in ids))


def is_loopback(base_url: str | None) -> bool:
    """Tell whether a base URL points at this machine, where no key is needed."""
    host = urlsplit(base_url).hostname if base_url else None
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def api_key(llm: LLM) -> str | None:
    """Return the key of an LLM's endpoint from the environment; None where there is none.

    Raises:
        UsageError: the variable's value cannot stand in an HTTP header. The value is not shown.
    """
    value = os.environ.get(llm.api_key_env, "").strip() if llm.api_key_env else ""
    if not value:
        return None
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(
            f"the key in {llm.api_key_env} (for {llm.id}) holds a space, a line break or another "
            "character that no key has; set the variable again"
        )
    return value


def check_keys(pool: Pool) -> None:
    """Check, before any call, that every key is there that the pool asks for.

    Raises:
        UsageError: names the missing variables and the LLMs that need them.
    """
    missing: dict[str, list[str]] = {}
    for llm in pool.llms:
        needed = llm.api_key_env if llm.provider != "simulated" else None
        if api_key(llm) is None and needed and not is_loopback(llm.base_url):
            missing.setdefault(needed, []).append(llm.id)
    if missing:
        wanted = "; ".join(f"{name} for {', '.join(ids)}" for name, ids in missing.items())
        raise UsageError(
            f"pool {pool.name!r} needs a key that the environment does not have: {wanted}; "
            f"set it (export {next(iter(missing))}=...) or leave these LLMs out with --llms"
        )


# ---------------------------------------------------------------------------------------------
# Fields: each check returns the value to store, or raises ValueError with what was expected.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be text; put it in quotes")
    return value.strip()


def _identifier(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\s,\x00-\x1f\x7f]{1,200}", value):
        raise ValueError("it must be text of 1 to 200 characters without spaces and commas")
    return value


def _provider(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_]+", value):
        raise ValueError(
            "it must be openai (any OpenAI-compatible endpoint), simulated, or litellm's name of "
            "a provider, such as anthropic"
        )
    return value


def _base_url(value: Any) -> str | None:
    if value is None:
        return None
    expected = "it must be a URL such as https://openrouter.ai/api/v1"
    if not isinstance(value, str) or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError(expected)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(expected)
    _ = parts.port  # raises ValueError itself where the port is no number
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{expected}, without a user, a query or a fragment")
    return value.rstrip("/")


def _variable(value: Any) -> str | None:
    # Capitals only: so a key that was pasted here by mistake is refused rather than stored.
    if value is not None and not (
        isinstance(value, str) and re.fullmatch(r"[A-Z_][A-Z0-9_]*", value)
    ):
        raise ValueError(
            "it must be the NAME of an environment variable in capitals, such as "
            "OPENROUTER_API_KEY; the key itself belongs in the environment only"
        )
    return value


def _number(value: Any, *, zero: bool) -> float | None:
    expected = "it must be a number " + (">= 0, or null where unknown" if zero else "> 0, or null")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(expected)
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(expected) from error
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(expected)
    return number


def _price(value: Any) -> float | None:
    return _number(value, zero=True)


def _positive(value: Any) -> float | None:
    return _number(value, zero=False)


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 < value < 10**9):
        raise ValueError("it must be a whole number > 0, or null")
    return value


def _note(value: Any) -> str | None:
    if isinstance(value, datetime.date):  # YAML reads 2025-11-16 as a date
        return value.isoformat()
    return None if value is None else _text(value)


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("it must be a list of patterns, such as [gpt-4o-2024-*]")
    return tuple(value)


def _parameters(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it must be a mapping of request fields, such as {top_p: 0.9}")
    for name in value:
        if name in _RESERVED:
            raise ValueError(f"the client itself sets {name!r}; remove it")
    return value


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "id": _identifier,
    "name": _text,
    "model": _identifier,
    "provider": _provider,
    "base_url": _base_url,
    "api_key_env": _variable,
    "input_price": _price,
    "output_price": _price,
    "cached_input_price": _price,
    "price_source": _note,
    "price_date": _note,
    "description": _text,
    "family": _text,
    "parameters_billion": _positive,
    "resolves_to": _patterns,
    "max_tokens": _count,
    "parameters": _parameters,
    "requests_per_minute": _positive,
    "tokens_per_minute": _positive,
}


# ---------------------------------------------------------------------------------------------
# The file: YAML nodes rather than plain values, since only nodes know their line.


def _read(raw: bytes, where: str) -> tuple[LLM, ...]:
    """Read the bytes of a pool file; `where` names it in messages."""
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{where} has {len(raw):,} bytes; a pool file has at most {_MAX_BYTES:,}")
    file = YamlFile(raw, where)
    top = file.mapping(file.root, "a pool file")
    for key, (key_node, _) in top.items():
        if key not in _TOP_LEVEL:
            file.fail(key_node, f"unknown key {key!r}{did_you_mean(key, _TOP_LEVEL)}")
    if "llms" not in top:
        file.fail(file.root, "there is no list `llms:`; start with `llms:` and `- id: ...`")
    shared = file.mapping(top["defaults"][1], "defaults") if "defaults" in top else {}
    if "id" in shared:
        file.fail(shared["id"][0], "`id` cannot be a default; every LLM has its own")
    seen: dict[str, LLM] = {}
    for node in file.sequence(top["llms"][1], "llms"):
        llm = _llm(file, node, shared)
        if llm.id in seen:
            file.fail(node, f"the id {llm.id!r} stands twice; ids must differ")
        seen[llm.id] = llm
    if not seen:
        file.fail(top["llms"][1], "`llms:` is empty; give at least one LLM")
    return tuple(seen.values())


def _llm(file: YamlFile, node: yaml.Node, shared: dict[str, Any]) -> LLM:
    """Build one LLM from its mapping and the defaults."""
    own = file.mapping(node, "an LLM")
    values: dict[str, Any] = {}
    for key, (key_node, value_node) in (shared | own).items():
        if key in ("api_key", "key", "token"):
            file.fail(key_node, f"{key!r} cannot stand here: give api_key_env, a variable's name")
        if key not in _FIELDS:
            hint = did_you_mean(key, tuple(_FIELDS))
            file.fail(key_node, f"unknown field {key!r} of an LLM{hint}")
        value = file.value(value_node)
        try:
            values[key] = _FIELDS[key](value)
        except ValueError as error:
            _refuse(file, value_node, key, value, str(error))
        _check_leaves(file, value_node, key)
    for key in _REQUIRED:
        if key not in values:
            name = values.get("id", "an LLM")
            file.fail(node, f"{name} has no `{key}`; every LLM needs {', '.join(_REQUIRED)}")
    if values["provider"] == "openai" and values.get("base_url") is None:
        file.fail(
            node,
            f"{values['id']} has provider openai, but no base_url; give one, such as "
            "https://api.openai.com/v1 or http://127.0.0.1:8000/v1",
        )
    values.setdefault("name", values["id"])
    return LLM(**values)


def _check_leaves(file: YamlFile, node: yaml.Node, key: str) -> None:
    """Fail at the line of a value that no file can hold or no request can carry."""
    if isinstance(node, yaml.CollectionNode):
        groups = node.value if isinstance(node, yaml.MappingNode) else [node.value]
        for leaf in itertools.chain.from_iterable(groups):
            _check_leaves(file, leaf, key)
        return
    value = file.value(node)
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        _refuse(file, node, key, value, "it holds half of a character; write the whole one")
    # YAML also knows dates, bytes, .nan and .inf.
    plain = value is None or isinstance(value, str | int)
    finite = isinstance(value, float) and math.isfinite(value)
    if key == "parameters" and not (plain or finite):
        _refuse(file, node, key, value, "a request is JSON, which has no such value; remove it")


def _refuse(file: YamlFile, node: yaml.Node, key: str, value: Any, expected: str) -> NoReturn:
    """Fail for a field's value; what may be a secret is not repeated."""
    shown = "" if key in ("api_key_env", "base_url") else f" {repr(value)[:80]}"
    file.fail(node, f"bad {key}{shown}: {expected}")
