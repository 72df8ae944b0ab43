"""The sealed evaluation: a router sees the past, answers requests, and only then is scored.

history ──► router.fit          what training users did, as far as feedback and tier disclose it
requests ──► router.route ──► choices ──► hashed, written
                                             │
                             test outcomes ──┴──► metrics, intervals ──► Evaluation

`protocol` is what a router author reads, `runner.evaluate` what everybody calls.
"""
