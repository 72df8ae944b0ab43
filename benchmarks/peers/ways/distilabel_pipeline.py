"""distilabel: LoadDataFromDicts >> TextGeneration(OpenAILLM), one batch as large as wanted.

Its LLM asks the rows of one batch concurrently, so `input_batch_size` is the concurrency. Its
cache is off and its working folder new.
"""

from __future__ import annotations

import os

from common import KEY, MAX_TOKENS, MODEL, order, tell

if __name__ == "__main__":
    told = order()
    os.environ |= {"HF_HUB_OFFLINE": "1", "DISTILABEL_LOG_LEVEL": "WARNING"}
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="peers", cache_dir=told.work) as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": prompt} for prompt in told.prompts()],
            batch_size=told.concurrency,
        )
        generate = TextGeneration(
            llm=OpenAILLM(
                model=MODEL,
                base_url=told.url,
                api_key=KEY,
                generation_kwargs={"max_new_tokens": MAX_TOKENS, "temperature": 0.0},
            ),
            input_batch_size=told.concurrency,
            add_raw_output=False,
            add_raw_input=False,
        )
        load >> generate
    tell(pipeline.run(use_cache=False)["default"]["train"]["generation"])
