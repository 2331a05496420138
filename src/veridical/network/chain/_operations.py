"""Operations that a hotkey asks of the local ledger: named, signed, good once and on one ledger."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from veridical.network.identity import Signer, is_signed


@dataclass(frozen=True)
class Operation:
    """A signed request; `arguments` is canonical JSON, `ledger` the ledger's identity, `nonce` is random."""

    ledger: str
    kind: str
    arguments: str
    hotkey: str
    nonce: str
    signature: bytes

    @property
    def payload(self) -> bytes:
        """The bytes that are signed: all of the above, a line each (JSON in one line has no line break)."""
        return _payload(self.ledger, self.kind, self.arguments, self.hotkey, self.nonce)

    def is_genuine(self) -> bool:
        """True if `hotkey` signed exactly this."""
        return is_signed(self.payload, self.signature, self.hotkey)


def sign_operation(signer: Signer, ledger: str, kind: str, arguments: Mapping[str, object]) -> Operation:
    """The operation, signed, with a nonce of its own."""
    # object: what JSON holds
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), allow_nan=False)
    nonce = secrets.token_hex(16)
    hotkey = signer.ss58_address
    signature = bytes(signer.sign(_payload(ledger, kind, text, hotkey, nonce)))
    return Operation(ledger, kind, text, hotkey, nonce, signature)


def sign_ownership(coldkey: Signer, ledger: str, hotkey: str) -> bytes:
    """The coldkey's word that `hotkey` is one of its own, on one ledger."""
    return bytes(coldkey.sign(_payload(ledger, "own", hotkey)))


def is_owned(hotkey: str, coldkey: str, signature: bytes, ledger: str) -> bool:
    """True if `coldkey` signed exactly that."""
    return is_signed(_payload(ledger, "own", hotkey), signature, coldkey)


def _payload(*lines: str) -> bytes:
    return "\n".join(("veridical-ledger/1", *lines)).encode()
