"""The wire over litellm, for providers that do not speak OpenAI's protocol.

litellm parses replies itself, so what is stored is its own JSON of a reply, not the provider's
bytes, and a reply that it cannot read arrives as the error it raised. It needs the extra
``personaroute-bench[litellm]``; importing it takes seconds, and it must not ask the network then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from time import perf_counter
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.types import ChatRequest, RawReply, WireError
from personaroute_bench.llms.wires import scrub


def import_litellm() -> Any:
    """Import litellm with its network look-ups, telemetry and debug output off.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError as error:
        raise UsageError(
            "this provider (or --client litellm) needs litellm: "
            "pip install 'personaroute-bench[litellm]'"
        ) from error
    # Its background logger warns when the event loop changes, which ours does between runs.
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    litellm.turn_off_message_logging = True
    litellm.drop_params = False
    return litellm


class LitellmWire:
    """Sends through ``litellm.acompletion`` as ``PROVIDER/MODEL``, its retries off.

    Raises:
        UsageError: litellm is not installed or does not know the provider.
    """

    def __init__(self, provider: str, base_url: str | None, key: str | None):
        self._litellm = import_litellm()
        known = [str(getattr(name, "value", name)) for name in self._litellm.provider_list]
        if provider not in known:
            raise UsageError(f"litellm knows no provider {provider!r}; see docs.litellm.ai")
        self._provider = provider
        self._base_url = base_url
        self._key = key

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        """Send one request, once. See `Wire.send`."""
        litellm = self._litellm
        body = request.payload()
        options: dict[str, Any] = {}
        if self._base_url is not None:
            options["api_base"] = self._base_url
        if self._key is not None:
            options["api_key"] = self._key
        elif self._provider == "openai":
            options["api_key"] = "none"  # else it would send OPENAI_API_KEY to this base_url
        start = perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await litellm.acompletion(
                    **body | {"model": f"{self._provider}/{body['model']}"},
                    **options,
                    timeout=timeout_s,
                    num_retries=0,
                    max_retries=0,
                )
            status, text, retry_after = 200, _reply_json(answer), None
        except (TimeoutError, litellm.Timeout) as error:
            raise WireError(
                "timeout", f"no reply from {self._provider} within {timeout_s:g} s", True
            ) from error
        except litellm.APIConnectionError as error:
            raise self._lost(error) from error
        except Exception as error:
            code = getattr(error, "status_code", None)
            if type(code) is not int:
                raise
            if code >= 500 and getattr(error, "litellm_response_headers", None) is None:
                # litellm's own 500: the connection broke off, or it could not read the reply.
                raise self._lost(error) from error
            status, text, retry_after = code, _error_json(litellm, error), _retry_after(error)
        return RawReply(
            http_status=status,
            body=scrub(text.encode("utf-8", "surrogatepass"), self._key),
            latency_s=perf_counter() - start,
            retry_after=retry_after,
        )

    def _lost(self, error: Exception) -> WireError:
        """Return the error of a call without a reply; litellm does not tell whether it was sent."""
        problem = scrub(str(error).encode("utf-8", "replace"), self._key).decode("utf-8", "replace")
        return WireError("connection", f"{self._provider}: {problem[:300]}", True)

    async def close(self) -> None:
        """Close the clients that litellm caches."""
        close = getattr(self._litellm, "close_litellm_async_clients", None)
        if close is not None:
            await close()


def _reply_json(answer: Any) -> str:
    """Return litellm's reply as JSON, the refusal put back where OpenAI has it."""
    body = answer.model_dump(mode="json")
    for choice in body.get("choices", ()):
        message = choice.get("message") or {}
        refusal = (message.get("provider_specific_fields") or {}).get("refusal")
        if refusal:
            message["refusal"] = refusal
    return json.dumps(body)


def _error_json(litellm: Any, error: Exception) -> str:
    """Return an OpenAI-style error body for an exception of litellm."""
    body = getattr(error, "body", None)  # the provider's own error object, where it was kept
    code = body.get("code") or body.get("type") if isinstance(body, dict) else None
    if isinstance(error, litellm.ContentPolicyViolationError):
        code = "content_policy_violation"
    fields = {"message": str(error), "code": code if isinstance(code, str) else None}
    return json.dumps({"error": fields})


def _retry_after(error: Exception) -> str | None:
    """Return the Retry-After header that came with an error, if litellm kept it."""
    for headers in (
        getattr(error, "litellm_response_headers", None),
        getattr(getattr(error, "response", None), "headers", None),
    ):
        value = headers.get("retry-after") if headers is not None else None
        if value is not None:
            return str(value)
    return None
