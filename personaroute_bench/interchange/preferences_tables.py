"""The tables of a data set of real people: tasks, queries, llms, responses, users, pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.files import write_table
from personaroute_bench.interchange.preferences_file import Comparison

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.embeddings import Embedder

METRIC = "pairwise_accuracy"
POPULATION = "real people"
Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """What one person thinks of two answers to one query."""

    dataset: str
    user_id: str
    query_id: str
    query: str
    a: str
    b: str
    outcome: str
    """a, b or tie."""
    split: str = ""


@dataclass(frozen=True)
class Tables:
    """What the tables are made from; each property is the columns of one of them."""

    rows: Sequence[Comparison]
    query_ids: Sequence[str]
    """[rows] id of the query as it was answered then."""
    pairs: Sequence[Pair]
    embedder: Embedder

    def write(self, out: Path) -> None:
        """Write all tables into the folder, each file whole or not at all."""
        import pyarrow as pa

        from personaroute_bench.schemas import (
            LLMS,
            PAIRS,
            RESPONSES,
            SPLITS,
            TASKS,
            USERS,
            queries_schema,
        )

        # People have no weights, so their table has no columns for them.
        kept = [USERS.field(name) for name in ("user_id", "population", "cohort")]
        queries = self.queries
        write_table(out / "tasks.parquet", to_table(self.tasks, TASKS), "recorded")
        dimension = queries["embedding"].type.list_size
        write_table(
            out / "queries.parquet", to_table(queries, queries_schema(dimension)), "recorded"
        )
        write_table(out / "llms.parquet", to_table(self.llms, LLMS), "recorded")
        write_table(out / "responses.parquet", to_table(self.responses, RESPONSES), "recorded")
        people = pa.schema(kept, metadata=USERS.metadata)
        write_table(out / "users.parquet", to_table(self.users, people), "recorded")
        for split in SPLITS:
            part = [pair for pair in self.pairs if pair.split == split]
            columns = {name: [getattr(pair, name) for pair in part] for name in PAIRS.names}
            write_table(out / "pairs" / f"{split}.parquet", to_table(columns, PAIRS), "recorded")

    @cached_property
    def answers(self) -> dict[tuple[str, str], str]:
        """(query_id, llm_id) to the text, of what some pair compares; sorted by data set."""
        seen = {(pair.query_id, llm) for pair in self.pairs for llm in (pair.a, pair.b)}
        found = {
            (query_id, llm): text
            for row, query_id in zip(self.rows, self.query_ids, strict=True)
            for llm, text in zip(row.candidates, row.responses, strict=True)
            if (query_id, llm) in seen
        }
        order = sorted(found, key=lambda key: (self.about[key[0]].dataset, key))
        return {key: found[key] for key in order}

    @cached_property
    def about(self) -> dict[str, Pair]:
        """query_id to some pair of it; sorted by data set."""
        found = {pair.query_id: pair for pair in self.pairs}
        return dict(sorted(found.items(), key=lambda item: (item[1].dataset, item[0])))

    @cached_property
    def tasks(self) -> Columns:
        """One task a data set."""
        names = sorted({pair.dataset for pair in self.pairs})
        told: dict[str, tuple[set[str], set[str]]] = {name: (set(), set()) for name in names}
        for row in self.rows:
            if row.dataset in told:
                told[row.dataset][0].add(row.source)
                told[row.dataset][1].add(row.licence)
        return {
            "task_id": names,
            "name": names,
            "description": ["which of two answers a person preferred"] * len(names),
            "metric": [METRIC] * len(names),
            "source": ["; ".join(sorted(told[name][0])) for name in names],
            "licence": ["; ".join(sorted(told[name][1])) for name in names],
        }

    @cached_property
    def queries(self) -> Columns:
        """What people asked."""
        import numpy as np
        import pyarrow as pa

        texts = [pair.query for pair in self.about.values()]
        vectors = np.ascontiguousarray(self.embedder.embed(texts), dtype=np.float32)
        flat = pa.array(vectors.ravel())
        return {
            "query_id": list(self.about),
            "task_id": [pair.dataset for pair in self.about.values()],
            # The split stands in `pairs`: test for one person may be training for another.
            "split": ["pairs"] * len(texts),
            "query": texts,
            "prompt": texts,
            "metric": [METRIC] * len(texts),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            "embedder": [self.embedder.name] * len(texts),
        }

    @cached_property
    def llms(self) -> Columns:
        """The candidates; nothing is known of them but their ids, prices least of all."""
        homes: dict[str, set[str]] = {}
        for query_id, llm in self.answers:
            homes.setdefault(llm, set()).add(self.about[query_id].dataset)
        names = sorted(homes)
        return {
            "llm_id": names,
            "name": names,
            "description": [f"candidate of {', '.join(sorted(homes[name]))}" for name in names],
            "family": [""] * len(names),
            "provider": ["recorded"] * len(names),
            "model": names,
        }

    @cached_property
    def responses(self) -> Columns:
        """What the candidates answered."""
        count = len(self.answers)
        return {
            "query_id": [query_id for query_id, _ in self.answers],
            "llm_id": [llm for _, llm in self.answers],
            "response": list(self.answers.values()),
            "usage_source": ["unknown"] * count,
            "requested_model": [llm for _, llm in self.answers],
            "provenance": ["recorded"] * count,
            "status": ["ok" if text.strip() else "empty" for text in self.answers.values()],
        }

    @cached_property
    def users(self) -> Columns:
        """The people; new are those who are met in test only."""
        names = sorted({pair.user_id for pair in self.pairs})
        known = {pair.user_id for pair in self.pairs if pair.split != "test"}
        return {
            "user_id": names,
            "population": [POPULATION] * len(names),
            "cohort": ["known" if name in known else "new" for name in names],
        }

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says of responses and prices, as for other data sets."""
        statuses = self.responses["status"]
        by_llm: dict[str, Counter[str]] = {llm: Counter() for llm in self.llms["llm_id"]}
        for llm, status in zip(self.responses["llm_id"], statuses, strict=True):
            by_llm[llm][status] += 1
        unscored = {"scored": 0, "performance": None, "priced": 0, "cost_usd": None}
        unknown = dict.fromkeys(("input_price", "output_price", "price_source", "price_date"))
        return {
            "coverage": {
                "statuses": dict(sorted(Counter(statuses).items())),
                "by_llm": {
                    llm: {"rows": count.total(), "ok": count["ok"], **unscored}
                    for llm, count in by_llm.items()
                },
            },
            "prices": [{"llm_id": llm, **unknown} for llm in by_llm],
        }


def to_table(columns: Columns, schema: pa.Schema) -> pa.Table:
    """Return columns [n] as a table of this schema; those not given are null."""
    import pyarrow as pa

    length = len(columns[schema.names[0]])
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(length, field.type))
        elif pa.types.is_dictionary(field.type):
            arrays.append(pa.array(values, field.type.value_type).dictionary_encode())
        else:
            arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    plain = pa.Table.from_arrays(arrays, names=schema.names)
    return plain.cast(schema)
