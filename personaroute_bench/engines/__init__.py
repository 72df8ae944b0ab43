"""Engines: where blocks of work run.

=========  =====================================================  ==============================
engine     works                                                  asked for with
=========  =====================================================  ==============================
local      in this process, one block after the other             nothing
dask       on the workers of a Dask cluster, several at a time    ``--engine dask``
=========  =====================================================  ==============================

An engine only says where: the tables are the same, row for row. Calls to LLMs are divided into
shards (`calls`), each with its part of the money, of the rates and a ledger of its own (`shard`).
"""

from personaroute_bench.engines.engine import Engine, LocalEngine, Watch, open_engine

__all__ = ["Engine", "LocalEngine", "Watch", "open_engine"]
