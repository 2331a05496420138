"""Every exception that Veridical raises on purpose; each has a stable code.

::

    VeridicalError
    ├── MediaError            bytes that cannot be judged as a picture
    ├── SourceError           a path, list or URL that gives no bytes
    ├── ModelError            a bundle, checkpoint or detector that cannot be used
    │   └── UnknownModelError no detector or bundle of that name
    ├── DataError             a training or benchmark set that cannot be used as it is
    ├── NetworkError          a chain, ledger, wallet or peer that refuses or cannot be used
    ├── WebError              a server that cannot listen, keys that cannot be read, a request that is refused
    ├── MissingExtraError     an optional dependency that is not installed
    └── UsageError            a value that the caller can correct
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from veridical.extras import install_command


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data, in the same shape for the terminal, a file, REST and the network."""

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False


class VeridicalError(Exception):
    """An error with a stable `code`, what happened, and a `hint` that says what to do."""

    code = "error"

    def __init__(
        self, message: str, *, code: str | None = None, hint: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.retryable = retryable

    @property
    def info(self) -> ErrorInfo:
        """The exception as data."""
        return ErrorInfo(code=self.code, message=self.message, hint=self.hint, retryable=self.retryable)


class MediaError(VeridicalError):
    """Bytes that cannot be judged.

    Codes: `empty_file`, `unsupported_format`, `malformed`, `truncated`, `too_large`, `too_small`,
    `body_too_large`, `decode_timeout`, `decode_oom`, `decode_crashed`.
    """

    code = "malformed"


class SourceError(VeridicalError):
    """A source that gives no bytes.

    Codes: `not_found`, `permission_denied`, `unreadable`, `is_a_directory`, `url_not_supported`, `no_matches`,
    `offline`, `no_credentials`, `body_too_large`, `hash_mismatch`, `download_failed`, `no_caption`, `blocked`.
    """

    code = "unreadable"


class ModelError(VeridicalError):
    """A bundle or checkpoint that cannot be used.

    Codes: `malformed_bundle`, `hash_mismatch`, `unsafe_checkpoint`, `malformed_checkpoint`,
    `checkpoint_mismatch`, `unsafe_graph`, `non_finite_parameters`, `self_test_failed`, `offline`,
    `missing_backbone`, `export_mismatch`, `unsupported_export`, `gate_failed`, `missing_index`,
    `malformed_index`, `malformed_recipe`, `out_of_memory`, `data_mismatch`, `diverged`.
    """

    code = "malformed_bundle"


class UnknownModelError(ModelError):
    """No detector, bundle or experiment of that name; names the known ones and the nearest."""

    code = "unknown_model"


class DataError(VeridicalError):
    """A data set that cannot be used as it is.

    Codes: `bad_manifest`, `not_found`, `unreadable_sample`, `too_small`, `empty_split`, `one_class`,
    `bad_predictions`, `unknown_source`, `bad_batch`, `bad_download`, `shortcuts`, `kept_back`,
    `not_audited`, `too_few_samples`, `overlapping_splits`.
    """

    code = "bad_manifest"


class NetworkError(VeridicalError):
    """A chain, a ledger, a wallet or a peer that refuses, or that cannot be used.

    Codes: `no_ledger`, `ledger_exists`, `ledger_corrupt`, `ledger_unusable`, `ledger_version`, `ledger_busy`,
    `ledger_clock`, `bad_rules`, `no_wallet`, `bad_wallet`, `no_epoch`, `bad_weights`, `unreachable`,
    `nonces_unusable`, `store_corrupt`, `store_version`, `store_unusable`, `no_media`, `no_miners`,
    `state_in_use`, `no_history`, and the chain's own in `veridical.network.chain.errors`.
    """

    code = "network"


class WebError(VeridicalError):
    """A server that cannot begin, or a request that it refuses.

    Codes: `cannot_listen`, `bad_keys`; of requests `malformed_request`, `incomplete_body`, `malformed_auth`,
    `wrong_receiver`, `stale_request`, `bad_signature`, `replayed_request`, `bad_key`, `not_registered`,
    `no_permit`, `not_enough_stake`, `blacklisted`, `not_found`, `method_not_allowed`, `body_too_slow`,
    `length_required`, `body_too_large`, `unsupported_modality`, `rate_limited`, `internal_error`,
    `model_failed`, `no_answers`, `no_metagraph`, `no_nonces`, `queue_full`, `deadline_passed`, and those of
    files that cannot be judged (`MediaError`). `veridical.web.refusals` has their statuses.
    """

    code = "malformed_request"


class MissingExtraError(VeridicalError):
    """An optional dependency is missing; the hint is the command that installs it."""

    code = "missing_extra"

    def __init__(self, needed_for: str, *, extra: str, code: str | None = None) -> None:
        super().__init__(
            f"The extra '{extra}' is not installed; it is needed for {needed_for}.",
            code=code,
            hint=install_command(extra),
        )


class UsageError(VeridicalError):
    """An argument or setting that the caller can correct.

    Code: `usage`.
    """

    code = "usage"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence that lists the known names, the nearest first.

    >>> did_you_mean("npr_shard", ["npr_shared", "constant"])
    "Did you mean 'npr_shared'? Known: constant, npr_shared."
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"Known: {', '.join(names)}." if names else "None are known."
    return f"Did you mean '{near[0]}'? {listed}" if near else listed
