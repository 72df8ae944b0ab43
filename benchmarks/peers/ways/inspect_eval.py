"""inspect_ai: a task that generates only, `max_connections` and `max_samples` as wanted.

inspect.aisi.org.uk, "Parallelism": raise `max_connections`; `max_samples` follows it. Display and
the log for live viewing are off, the final log is written (it is where the answers are).
"""

from __future__ import annotations

import os

from common import KEY, MAX_TOKENS, MODEL, order, tell

if __name__ == "__main__":
    told = order()
    os.environ |= {
        "LOOPBACK_API_KEY": KEY,
        "LOOPBACK_BASE_URL": told.url,
        "XDG_DATA_HOME": str(told.work),
        "XDG_CACHE_HOME": str(told.work),
    }
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.solver import generate

    (log,) = eval(
        Task(dataset=[Sample(input=prompt) for prompt in told.prompts()], solver=generate()),
        model=f"openai-api/loopback/{MODEL}",
        max_connections=told.concurrency,
        max_samples=told.concurrency,
        max_tokens=MAX_TOKENS,
        temperature=0.0,
        display="none",
        log_realtime=False,
        log_dir=str(told.work),
    )
    tell(sample.output.completion for sample in log.samples or [])
