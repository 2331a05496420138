"""Every reason for which a request is not answered, with its status in HTTP, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import ceil

import msgspec
from fastapi import Response

from veridical.errors import WebError

# The codes are stable. Those of 422 are a file's own, as in `MediaError`.
STATUS_OF: Mapping[str, int] = {
    "malformed_request": 400,
    "incomplete_body": 400,
    "malformed_auth": 401,
    "wrong_receiver": 401,
    "stale_request": 401,
    "bad_signature": 401,
    "replayed_request": 401,
    "bad_key": 401,
    "not_registered": 403,
    "no_permit": 403,
    "not_enough_stake": 403,
    "blacklisted": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_too_slow": 408,
    "length_required": 411,
    "body_too_large": 413,
    "unsupported_modality": 415,
    "missing_extra": 415,
    "empty_file": 422,
    "unsupported_format": 422,
    "malformed": 422,
    "truncated": 422,
    "too_large": 422,
    "too_small": 422,
    "decode_timeout": 422,
    "decode_oom": 422,
    "decode_crashed": 422,
    "rate_limited": 429,
    "internal_error": 500,
    "model_failed": 500,
    "no_answers": 502,
    "no_metagraph": 503,
    "no_nonces": 503,
    "queue_full": 503,
    "deadline_passed": 504,
}


class Refusal(WebError):
    """A request or an answer that is not accepted; its `code` is one of `STATUS_OF`.

    `retry_after`: seconds after which it may be tried again; None if that would change nothing.
    """

    def __init__(
        self, code: str, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint, retryable=retry_after is not None)
        self.status = STATUS_OF[code]
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer that tells it: JSON of its `ErrorInfo`."""
        headers = {} if self.retry_after is None else {"Retry-After": str(ceil(self.retry_after))}
        if self.status == 401:
            # Keys are shown by their bearer; all else is about signatures.
            headers["WWW-Authenticate"] = "Bearer" if self.code == "bad_key" else "Bittensor"
        content = msgspec.json.encode({"error": asdict(self.info)})
        return Response(content, self.status, headers, media_type="application/json")
