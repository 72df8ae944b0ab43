"""Croissant metadata: what the tables and their columns are, for programs.

Version 1.0 of the format (mlcommons.org/croissant). One RecordSet a table (interactions and
pairs: one a split), one Field a column, with the meaning and unit of our Arrow schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.publishing.licences import hub_licences
from personaroute_bench.publishing.tables import table_of

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_PARQUET = "application/x-parquet"
_REPOSITORY = "repository"


def croissant(
    repo_id: str,
    endpoint: str,
    manifest: Mapping[str, Any],
    files: Mapping[str, Path],
    tasks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the description as JSON-LD.

    Args:
        repo_id: ``org/name`` on the Hub.
        endpoint: the Hub's address, without a slash at the end.
        manifest: of what is published; its ``files`` give size and SHA-256.
        files: name to local Parquet file, whose schema is read.
        tasks: rows of the table, for the licences.
    """
    url = f"{endpoint}/datasets/{repo_id}"
    groups: dict[str, list[str]] = {}
    for name in sorted(files):
        groups.setdefault(_record_set(name), []).append(name)
    sharded = any(len(names) > 1 for names in groups.values())
    kinds = ", ".join(manifest.get("provenance", ()))
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": repo_id.rpartition("/")[2],
        "description": (
            f"Personalised LLM routing data ({kinds} responses): queries, LLMs with prices, "
            "responses, users, and what every user thinks of every response. Made with "
            "PersonaRoute-Bench."
        ),
        "url": url,
        "license": [
            name if name == "other" else f"https://spdx.org/licenses/{name}"
            for name in hub_licences(task["licence"] for task in tasks)
        ],
        "keywords": ["llm routing", "personalisation", *manifest.get("provenance", ())],
        "datePublished": str(manifest.get("created", ""))[:10],
        "version": f"{manifest.get('schema_version', 0)}.0.0",
        "citeAs": (
            "PersonalizedRouter, arXiv:2511.16883 (the idea); PersonaRoute-Bench, an independent "
            f"implementation (the toolkit); {url} (the data)."
        ),
        "distribution": [
            *([_repository(url)] if sharded else []),
            *(
                part
                for group, names in groups.items()
                for part in _distribution(group, names, url, manifest["files"])
            ),
        ],
        "recordSet": [_records(group, names, files) for group, names in groups.items()],
    }


def _record_set(name: str) -> str:
    """Return which RecordSet a file is part of: ``users``, ``mixed-train``, ``pairs-test``."""
    parts = name.split("/")
    if parts[0] == "interactions":
        return "-".join(parts[1:3])
    if parts[0] == "pairs":
        return f"pairs-{parts[1].removesuffix('.parquet')}"
    return table_of(name)


def _repository(url: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _REPOSITORY,
        "name": _REPOSITORY,
        "description": "The Hub's git repository.",
        "contentUrl": url,
        "encodingFormat": "git+https",
        "sha256": "main",
    }


def _distribution(
    group: str, names: Sequence[str], url: str, listed: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the file, or for shards the set of files, that a RecordSet reads."""
    if len(names) > 1:
        return [
            {
                "@type": "cr:FileSet",
                "@id": f"{group}-files",
                "name": f"{group}-files",
                "containedIn": {"@id": _REPOSITORY},
                "encodingFormat": _PARQUET,
                "includes": f"{names[0].rpartition('/')[0]}/*.parquet",
            }
        ]
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"{group}-file",
            "name": names[0].replace("/", "-"),
            "contentUrl": f"{url}/resolve/main/{names[0]}",
            "contentSize": f"{listed[names[0]]['bytes']} B",
            "encodingFormat": _PARQUET,
            "sha256": listed[names[0]]["sha256"],
        }
    ]


def _records(group: str, names: Sequence[str], files: Mapping[str, Path]) -> dict[str, Any]:
    schema = pq.read_schema(files[names[0]])
    source = (
        {"fileSet": {"@id": f"{group}-files"}}
        if len(names) > 1
        else {"fileObject": {"@id": f"{group}-file"}}
    )
    fields = []
    for column in schema:
        entry: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"{group}/{column.name}",
            "name": column.name,
            "description": _meaning(column),
            "dataType": _data_type(column.type),
            "source": {**source, "extract": {"column": column.name}},
        }
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            entry["repeated"] = True
        fields.append(entry)
    return {"@type": "cr:RecordSet", "@id": group, "name": group, "field": fields}


def _meaning(column: pa.Field) -> str:
    told = {key.decode(): value.decode() for key, value in (column.metadata or {}).items()}
    text = told.get("meaning", column.name)
    return f"{text} ({told['unit']})" if "unit" in told else text


def _data_type(kind: pa.DataType) -> str:
    """Return schema.org's name of an Arrow type; of its items for a list."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _data_type(kind.value_type)
    if pa.types.is_dictionary(kind):
        return _data_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
