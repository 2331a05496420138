"""Every reason for which a request is not answered, with its status in HTTP, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import ceil

import msgspec
from fastapi import Response

from veridical.errors import WebError

# The codes are stable. Those of 422 are a file's own, as in `MediaError`.
_CODES: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_request", "incomplete_body"),
    401: ("malformed_auth", "wrong_receiver", "stale_request", "bad_signature", "replayed_request", "bad_key"),
    403: ("not_registered", "no_permit", "not_enough_stake", "blacklisted"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("body_too_slow",),
    411: ("length_required",),
    413: ("body_too_large",),
    415: ("unsupported_modality", "missing_extra"),
    422: (
        *("empty_file", "unsupported_format", "malformed", "truncated", "too_large", "too_small"),
        *("decode_timeout", "decode_oom", "decode_crashed"),
    ),
    429: ("rate_limited",),
    500: ("internal_error", "model_failed"),
    502: ("no_answers",),
    503: ("no_metagraph", "no_nonces", "queue_full"),
    504: ("deadline_passed",),
}
STATUS_OF: Mapping[str, int] = {code: status for status, codes in _CODES.items() for code in codes}


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
