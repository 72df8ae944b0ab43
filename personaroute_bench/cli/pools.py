"""`bench pools`."""

from __future__ import annotations

import typer


def pools(
    name: str | None = typer.Argument(None, help="A bundled pool, or a YAML file."),
) -> None:
    """List the bundled pools, or show the LLMs and prices of one."""
    from personaroute_bench.cli.screen import number, print_table
    from personaroute_bench.llms.pool import list_pools, load_pool

    names = [name] if name else list_pools()
    if not name:
        print_table(
            "Bundled pools (bench pools NAME shows one; copy it and pass the file as --pool)",
            ("pool", "LLMs", "provider"),
            [
                (
                    each,
                    str(len(load_pool(each).llms)),
                    ", ".join(sorted({llm.provider for llm in load_pool(each).llms})),
                )
                for each in names
            ],
        )
        return
    pool = load_pool(name)
    print_table(
        f"{pool.name}: USD per million tokens",
        ("llm", "model", "input", "output", "key from", "price source"),
        [
            (
                llm.id,
                llm.model,
                number(llm.input_price, "{:g}"),
                number(llm.output_price, "{:g}"),
                llm.api_key_env or "none needed",
                f"{llm.price_source or 'unknown'} {llm.price_date or ''}",
            )
            for llm in pool.llms
        ],
    )
