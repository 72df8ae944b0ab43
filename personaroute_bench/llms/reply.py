"""Reading a stored raw reply: status, text, usage, cost and which model answered.

`read_reply` is pure and total: the same bytes always give the same `Reply`, and no bytes make it
raise. docs/statuses.md lists every case. The order in which a reply is judged:

    HTTP error ► malformed ► model_mismatch ► missing_usage ► broken off ► refused ► truncated
    ► empty ► ok

An HTTP error that a content policy raised is `refused`; every other one is `error`, with its type.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from personaroute_bench.llms.prices import cost_of
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, Reply, Status, UsageSource
from personaroute_bench.tokens import count_message_tokens, count_tokens

ERROR_TYPES = (
    "auth",
    "bad_request",
    "connection",
    "malformed",
    "missing_usage",
    "model_mismatch",
    "not_found",
    "quota",
    "rate_limit",
    "server_error",
    "timeout",
    "too_large",
)
"""Every `error_type`; `connection` and `timeout` of calls without a reply come from the engine."""

MAX_MESSAGE = 300
_MAX_TOKENS = 10_000_000  # more than any context window; beyond it a count is nonsense

_BY_STATUS = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limit",
}
_REFUSAL_CODES = frozenset({"content_filter", "content_policy_violation", "content_policy"})
_MODERATION = re.compile(r"moderation|flagged|content[ _-](?:filter|policy)", re.IGNORECASE)
# The same words that make retry.decide stop the run.
_QUOTA = re.compile(
    r"insufficient[ _-](?:quota|credits?|balance|funds)|billing_hard_limit|per[ _-]?day|daily",
    re.IGNORECASE,
)
_FINISH_REFUSED = frozenset({"content_filter", "content-filter", "safety", "refusal"})
_FINISH_TRUNCATED = frozenset({"length", "max_tokens", "model_length"})
_SECRETS = re.compile(
    r"(?i:bearer\s+\S+)"
    r"|\b(?:(?:sk|pk|gsk|hf|xai|tgp|nvapi|key)[-_]|AIza)[\w*.-]{8,}"
    r"|\b(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{32,}"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_THINKING = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_DATED = re.compile(
    r"[-@](?:20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"|20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call; `completion` is what is billed as output."""

    prompt: int
    completion: int
    reasoning: int | None
    cached: int | None


def read_reply(request: ChatRequest, raw: RawReply, *, estimate_usage: bool = False) -> Reply:
    """Read a raw reply.

    Args:
        request: what was asked; its LLM holds the prices.
        raw: what came back, verbatim.
        estimate_usage: count tokens by `personaroute_bench.tokens` where the provider reports no
            usable usage (`usage_source` says so), instead of the error ``missing_usage``.

    Returns:
        The reply. Lone surrogates in its text, which no file can hold, are replaced by U+FFFD;
        all else is verbatim.
    """
    body = _object(raw.body)
    if not 200 <= raw.http_status < 300:
        return _http_error(raw, raw.http_status, body)
    choice = _first_choice(body)
    if body is None or choice is None:
        hidden = _hidden_status(body)
        if hidden is not None:
            return _http_error(raw, hidden, body)
        return _malformed(request, raw, body, "the body is not a chat completion")
    message = choice.get("message")
    text = _content(message.get("content")) if isinstance(message, dict) else None
    if not isinstance(message, dict) or text is None:
        return _malformed(request, raw, body, "the completion has no readable message")
    refusal = message.get("refusal")
    refusal = _clean(refusal).strip() if isinstance(refusal, str) else ""
    text = text or refusal
    usage = read_usage(body.get("usage"), text)
    source: UsageSource = "provider"
    if usage is None and estimate_usage:
        usage, source = _counted(request, text), "tokenizer"
    resolved, finish = _label(body.get("model")), _label(choice.get("finish_reason"))
    reason = (finish or "").lower()
    error = _error_in(request.llm, resolved, usage, reason, choice)
    status: Status = "error" if error else "refused" if refusal else _status(reason, text)
    kind, explanation = error or (None, None)
    return _billed(
        request.llm,
        usage,
        source,
        status=status,
        text=text,
        error_type=kind,
        error_message=explanation,
        latency_s=raw.latency_s,
        resolved_model=resolved,
        finish_reason=finish,
        simulated=body.get("system_fingerprint") == "simulated",
    )


def _error_in(
    llm: LLM, resolved: str | None, usage: Usage | None, reason: str, choice: dict[str, Any]
) -> tuple[str, str] | None:
    """Return why a completion cannot count as this LLM's answer: type and message, else None."""
    if resolved is not None and not same_model(llm, resolved):
        return (
            "model_mismatch",
            f"asked {llm.model}, answered by {resolved}; if that is right, allow it with "
            "resolves_to in the pool",
        )
    if usage is None:
        return (
            "missing_usage",
            "the provider reports no usable token counts, so the cost is unknown; "
            "--estimate-usage counts them here",
        )
    if reason == "error":
        return "server_error", _error_text(choice) or "the provider broke off with an error"
    return None


def _status(reason: str, text: str) -> Status:
    """Return the status of a completion that is neither an error nor a refusal by name."""
    if reason in _FINISH_REFUSED:
        return "refused"
    if reason in _FINISH_TRUNCATED:
        return "truncated"
    return "ok" if strip_thinking(text).strip() else "empty"


def strip_thinking(text: str) -> str:
    """Return the text after a leading ``<think>`` block; empty where the block never closes.

    Some servers put the opening tag into the prompt, so that only ``</think>`` comes back; what
    stands before it is dropped as well.
    """
    opened = _THINKING.match(text)
    if opened:
        return text[opened.end() :]
    before, closing, after = text.partition("</think>")
    return after if closing and "<think>" not in before else text


def same_model(llm: LLM, resolved: str) -> bool:
    """Tell whether the model that answered is the one that was asked.

    Letter case aside, it is where `resolved`

    - equals `llm.model`, or one is the other with a prefix that ends in "/" (``openai/gpt-4o``);
    - is that with a date appended: ``-YYYY-MM-DD``, ``-YYYYMMDD``, ``-MMDD``, or the same after
      ``@`` (a snapshot; another suffix, such as ``:free`` or ``-turbo``, is another model);
    - matches a pattern of `llm.resolves_to` (fnmatch).
    """
    asked, answered = llm.model.lower(), resolved.lower()
    if answered == asked:
        return True
    undated = [answered]
    # Each form of a date has its own length; only a whole one at the very end is a snapshot.
    for length in (11, 9, 5):
        if _DATED.fullmatch(answered[-length:]):
            undated.append(answered[:-length])
    for name in undated:
        if name == asked or name.endswith(f"/{asked}") or (name and asked.endswith(f"/{name}")):
            return True
    return any(fnmatchcase(answered, pattern.lower()) for pattern in llm.resolves_to)


def read_usage(usage: Any, text: str) -> Usage | None:
    """Read an OpenAI-style usage object; None where it is missing or cannot be true.

    `prompt_tokens` and `completion_tokens` must be whole numbers; no prompt has 0 tokens, and no
    answer with text has 0 tokens. Where a provider counts reasoning beside the completion
    (``total > prompt + completion``, or more reasoning than completion), it is added, since it
    is billed as output.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion = (
        _tokens(usage.get("prompt_tokens")),
        _tokens(usage.get("completion_tokens")),
    )
    if not prompt or completion is None or (completion == 0 and text.strip()):
        return None
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    if cached is not None and cached > prompt:
        cached = None
    total = _tokens(usage.get("total_tokens"))
    if total is not None and total > prompt + completion:
        completion = total - prompt
    elif reasoning is not None and reasoning > completion:
        completion += reasoning
    return Usage(prompt, completion, reasoning, cached)


def redact(text: str) -> str:
    """Return one short line of a server's message: no control characters, nothing like a key."""
    line = _CONTROL.sub(" ", _clean(text[: 20 * MAX_MESSAGE]))
    line = _SECRETS.sub("[redacted]", line).strip()
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _counted(request: ChatRequest, text: str) -> Usage:
    return Usage(count_message_tokens(request.messages), count_tokens(text), None, None)


def _billed(llm: LLM, usage: Usage | None, source: UsageSource, **told: Any) -> Reply:
    """Return a reply with token counts and cost; `source` is ``unknown`` where there are none.

    Made at once rather than copied from part to part, as it is read thousands of times a second.
    """
    if usage is None:
        cost = cost_of(llm, prompt_tokens=None, completion_tokens=None)
        return Reply(**told, cost_usd=cost)
    return Reply(
        **told,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        reasoning_tokens=usage.reasoning,
        cached_tokens=usage.cached,
        usage_source=source,
        cost_usd=cost_of(
            llm,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            cached_tokens=usage.cached,
        ),
    )


def _http_error(raw: RawReply, status: int, body: dict[str, Any] | None) -> Reply:
    """Turn an error status into a reply; providers do not bill these, so the cost is 0."""
    code, detail = _error_code(body), _error_text(body)
    if detail is None:
        detail = redact(raw.body[: 20 * MAX_MESSAGE].decode("utf-8", "replace"))
    message = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    if (400 <= status < 500 and status not in (401, 429) and code in _REFUSAL_CODES) or (
        status == 403 and _MODERATION.search(detail)
    ):
        return Reply("refused", "", None, message, cost_usd=0.0, latency_s=raw.latency_s)
    kind = _BY_STATUS.get(status) or ("bad_request" if 300 <= status < 500 else "server_error")
    if status == 429 and _QUOTA.search(f"{code} {detail}"):
        kind = "quota"
    return Reply("error", "", kind, message, cost_usd=0.0, latency_s=raw.latency_s)


def _malformed(
    request: ChatRequest, raw: RawReply, body: dict[str, Any] | None, problem: str
) -> Reply:
    """Report a 200 that holds no completion; it costs what its usage says, else unknown."""
    start = redact(raw.body[: 20 * MAX_MESSAGE].decode("utf-8", "replace"))
    return _billed(
        request.llm,
        read_usage(body.get("usage"), "") if body else None,
        "provider",
        status="error",
        text="",
        error_type="malformed",
        error_message=f"{problem}: {start}"[:MAX_MESSAGE],
        latency_s=raw.latency_s,
        resolved_model=_label(body.get("model")) if body else None,
    )


def _object(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the bytes, or None."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _first_choice(body: dict[str, Any] | None) -> dict[str, Any] | None:
    choices = body.get("choices") if body else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _content(content: Any) -> str | None:
    """Return a message's text: a string, or the text parts of a list joined; None if neither."""
    if content is None:
        return ""
    if isinstance(content, str):
        return _clean(content)
    if not isinstance(content, list):
        return None
    texts = (
        part.get("text") if isinstance(part, dict) else part
        for part in content
        if not isinstance(part, dict) or part.get("type", "text") in ("text", "output_text")
    )
    return _clean("".join(text for text in texts if isinstance(text, str)))


def _clean(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates by U+FFFD, so that UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _label(value: Any) -> str | None:
    """Return a short identifier from a provider (model, finish reason), or None."""
    if not isinstance(value, str) or not value.strip():
        return None
    if len(value) <= MAX_MESSAGE and value.isascii() and value.isprintable():
        return value.strip()
    return _CONTROL.sub(" ", _clean(value[:MAX_MESSAGE])).strip() or None


def _tokens(value: Any) -> int | None:
    # type(), since bool is an int
    return value if type(value) is int and 0 <= value <= _MAX_TOKENS else None


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return _tokens(details.get(name)) if isinstance(details, dict) else None


def _error_code(body: dict[str, Any] | None) -> str:
    """Return the `code` or else the `type` of an error object, lower case; "" if none."""
    error = body.get("error") if body else None
    if isinstance(error, dict):
        for value in (error.get("code"), error.get("type")):
            if isinstance(value, str) and value:
                return value.lower()
    return ""


def _error_text(body: dict[str, Any] | None) -> str | None:
    """Return the provider's message in an error body, made safe to show; None if none."""
    if not body:
        return None
    error = body.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    found = error or body.get("message") or body.get("detail")
    if not found:
        return None
    return redact(found if isinstance(found, str) else json.dumps(found)[: 20 * MAX_MESSAGE])


def _hidden_status(body: dict[str, Any] | None) -> int | None:
    """Return the error status that some gateways put inside a 200, or None."""
    error = body.get("error") if body else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int and 400 <= code <= 599 else None
