"""What judges are asked: Jinja templates, installed as `personaroute_bench.prompts`.

The first line of a template gives its version; raise it with every change that a judge could see.
`personaroute_bench.judging.prompts` reads and renders them, and its hash of the text is stored
with every judgment. Text of others (queries, answers) only ever enters as a value.
"""
