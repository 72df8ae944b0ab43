"""This project: the command `bench generate`, with its ledger on disk, up to the whole data set.

One user, so that the calls are what is done; default client (aiohttp).
"""

from __future__ import annotations

import json
import subprocess
import sys

from common import MAX_TOKENS, MODEL, order, tell

if __name__ == "__main__":
    told = order()
    pool = told.work / "pool.yaml"
    llm = {"id": MODEL, "name": MODEL, "model": MODEL, "provider": "openai", "base_url": told.url}
    pool.write_text(json.dumps({"llms": [llm | {"input_price": 1.0, "output_price": 2.0}]}))
    data = told.work / "data"
    command = [sys.executable, "-m", "personaroute_bench.cli", "generate"]
    command += ["--tasks", str(told.queries), "--pool", str(pool), "--users", "1"]
    command += ["--max-tokens", str(MAX_TOKENS), "--concurrency", str(told.concurrency)]
    subprocess.run([*command, "--out", str(data), "--quiet"], check=True)

    import pyarrow.parquet as pq

    tell(pq.read_table(data / "responses.parquet", columns=["response"])[0].to_pylist())
