"""Does a router's answer depend on what it was asked before? A sample is asked again, shuffled.

Whoever answers by the place in the stream (or by what users before have got) is no function of
user and query, and neither shuffled users nor another block size would leave its results alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.choices import read_answers
from personaroute_bench.evaluation.history import frozen

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints
    from personaroute_bench.evaluation.isolation import RemoteRouter
    from personaroute_bench.evaluation.protocol import Requests

SAMPLE = 200


def changed_answers(
    router: RemoteRouter, requests: Requests, choice: Ints, seed: int
) -> tuple[int, int]:
    """Ask some requests again, in another order; return how many answers differ, of how many.

    Args:
        router: has answered everything; what it answers here does not count.
        requests: n, a block that it was asked.
        choice: [n] what it answered, index into the candidates, -1 where invalid.
        seed: of the sample and its order.
    """
    places = np.random.default_rng([seed, 1]).permutation(len(requests))[:SAMPLE]
    again = replace(
        requests,
        user_index=frozen(requests.user_index[places]),
        query_index=frozen(requests.query_index[places]),
        time=None if requests.time is None else frozen(requests.time[places]),
    )
    found = read_answers(router.route(again), len(places), requests.candidates)[0]
    return int((found != choice[places]).sum()), len(places)
