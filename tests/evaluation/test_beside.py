import threading

import pytest

from personaroute_bench.evaluation.beside import Beside


def test_calls_run_in_order_in_another_thread_and_all_are_done() -> None:
    seen: list[tuple[int, bool]] = []
    here = threading.get_ident()
    with Beside() as beside:
        for number in range(20):
            beside(lambda n: seen.append((n, threading.get_ident() != here)), number)
    assert seen == [(number, True) for number in range(20)]


def test_an_error_is_raised_here_by_the_next_call_or_at_the_end() -> None:
    def fail() -> None:
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"), Beside() as beside:
        beside(fail)
        beside(print)
    with pytest.raises(ValueError, match="lost"), Beside() as beside:
        beside(fail)
