"""How often our score of a recorded response equals the recorded score.

    python benchmarks/scoring_agreement.py RESPONSES.parquet [--differences TASK]

Columns: task, metric, rows, share of rows that agree (to 1e-6), share that only the record and
that only we score higher, mean recorded and own score, rows scored per second. Tasks whose scores
can only be recorded are left out.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from personaroute_bench.scoring import RECORDED_ONLY, score_many

COLUMNS = ["task_id", "query_id", "metric", "llm", "response", "ground_truth", "score"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("responses")
    parser.add_argument("--differences", metavar="TASK", help="show rows that differ")
    args = parser.parse_args()
    table = pq.read_table(args.responses, columns=COLUMNS)
    heads = ("rows", "agree", "rec>our", "our>rec", "recorded", "ours", "rows/s")
    print(f"{'task':<20}{'metric':<11}" + "".join(f"{head:>9}" for head in heads))
    for task in sorted(table["task_id"].unique().to_pylist()):
        rows = table.filter(pc.equal(table["task_id"], task)).sort_by("query_id")
        metric = rows["metric"][0].as_py()
        if metric in RECORDED_ONLY:
            print(f"{task:<20}{metric:<11}{rows.num_rows:>9}   recorded only")
            continue
        responses, truths = rows["response"].to_pylist(), rows["ground_truth"].to_pylist()
        start = time.perf_counter()
        ours = score_many(metric, responses, truths)
        rate = rows.num_rows / (time.perf_counter() - start)
        recorded = rows["score"].to_numpy()
        same = np.abs(ours - recorded) < 1e-6
        print(
            f"{task:<20}{metric:<11}{rows.num_rows:>9}{same.mean():>9.4f}"
            f"{np.mean(recorded > ours + 1e-6):>9.4f}{np.mean(ours > recorded + 1e-6):>9.4f}"
            f"{recorded.mean():>9.4f}{ours.mean():>9.4f}{rate:>9.0f}"
        )
        if task == args.differences:
            for i in np.flatnonzero(~same):
                print(f"  ours {ours[i]:g}: {truths[i][-60:]!r} <- {responses[i][-200:]!r}")


if __name__ == "__main__":
    main()
