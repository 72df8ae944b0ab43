"""RouterBench: one row a prompt, and for each LLM a score, a response and a cost beside it.

Columns: ``sample_id, prompt, eval_name, MODEL, MODEL|model_response, MODEL|total_cost, …,
oracle_model_to_route_to``. It is published as pickles of pandas. A pickle is a program: reading
it runs what it says, and a reader that allows only the constructors of pandas and NumPy still
hands them whatever arguments and states the file holds, which their C code does not check. So a
pickle is never opened here; docs/exchange.md tells how to convert one in a place with nothing to
lose.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.interchange.response_file import RECORDED, Origin, Source

_COST, _RESPONSE = "|total_cost", "|model_response"
_PICKLES = (".pkl", ".pickle")
_MAX_LITERAL = 1_000_000


def open_routerbench(path: Path) -> Source:
    """Open a converted file, Parquet or CSV.

    Raises:
        UsageError: a pickle, another layout.
    """
    if path.suffix.lower() in _PICKLES:
        raise UsageError(
            f"{path} is a pickle, which runs code when it is read, so it is never opened; convert "
            'it to Parquet where nothing can be harmed: docs/exchange.md, "RouterBench"'
        )
    file = TableFile(path)
    file.need("sample_id", "prompt", "eval_name")
    llms = [
        name.removesuffix(_COST)
        for name in file.columns
        if name.endswith(_COST) and name.removesuffix(_COST) in file.columns
    ]
    if not llms:
        raise UsageError(
            f"{path} has no column 'MODEL' beside a column 'MODEL{_COST}'; is it RouterBench data?"
        )
    return Source("RouterBench", path, _rows(file, llms))


def _rows(file: TableFile, llms: list[str]) -> Iterator[Origin]:
    said = [llm + _RESPONSE for llm in llms if llm + _RESPONSE in file.columns]
    texts = ["sample_id", "prompt", "eval_name", *said]
    for first, block in file.blocks(texts, [*llms, *(llm + _COST for llm in llms)]):
        count = len(block["sample_id"])
        prompt = _joined(block["prompt"])
        for llm in llms:
            known = block[llm].is_valid()
            response = pa.nulls(count, pa.string())
            if llm + _RESPONSE in block:
                response = _joined(block[llm + _RESPONSE])
            yield Origin(
                file.path,
                first,
                pa.table(
                    {
                        "task_id": block["eval_name"].cast(pa.string()),
                        "query_id": block["sample_id"].cast(pa.string()),
                        "query": prompt,
                        "metric": pa.repeat(RECORDED, count),
                        "llm_id": pa.repeat(llm, count),
                        "response": response,
                        "score": block[llm],
                        "cost_usd": block[llm + _COST],
                        "status": pa.array(["ok" if k else "error" for k in known.to_pylist()]),
                        "error_type": pa.array(
                            [None if k else "missing_score" for k in known.to_pylist()], pa.string()
                        ),
                    }
                ),
            )


def _joined(column: pa.DictionaryArray) -> pa.Array:
    """Return texts; a printed list of texts (``['a', 'b']``) becomes its lines."""
    texts = pa.array([_text(text) for text in column.dictionary.to_pylist()], pa.string())
    return texts.take(column.indices)


def _text(printed: str | None) -> str | None:
    if printed is None or not printed.startswith("[") or len(printed) > _MAX_LITERAL:
        return printed
    try:  # reads constants only; it calls and looks up nothing
        value = ast.literal_eval(printed)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return printed
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return printed
