"""curator: `curator.LLM` on its openai backend, as many requests as wanted, rate limits raised.

docs.bespokelabs.ai, "Online processing": `max_concurrent_requests`, `max_requests_per_minute` and
`max_tokens_per_minute` in `backend_params`. Its working folder is new in every run, so nothing
comes from its cache. It counts tokens with tiktoken, whose encoding is read from the files that
litellm, which it needs anyway, carries; otherwise it would be downloaded.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from common import KEY, MAX_TOKENS, MODEL, order, tell

if __name__ == "__main__":
    told = order()
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None and litellm.origin is not None
    encodings = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ |= {
        "OPENAI_API_KEY": KEY,
        "CURATOR_CACHE_DIR": str(told.work),
        "TELEMETRY_ENABLED": "false",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "CURATOR_VIEWER": "0",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TIKTOKEN_CACHE_DIR": str(encodings),
        "HF_HUB_OFFLINE": "1",
    }
    from bespokelabs import curator

    llm = curator.LLM(
        model_name=MODEL,
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS, "temperature": 0.0},
        backend_params={
            "base_url": told.url,
            "max_concurrent_requests": told.concurrency,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
        },
    )
    tell(llm(told.prompts()).dataset["response"])
