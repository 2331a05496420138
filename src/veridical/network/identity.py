"""Identities in the network: sr25519 key pairs, and the wallets that hold them.

A wallet has a coldkey, which owns, and hotkeys, which sign what miners and validators do. Files are those of
Bittensor (`btcli wallet create`), so that one wallet works on the local ledger, on testnet and on mainnet.
Needs the extra `network`; nothing here touches the internet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from veridical.errors import MissingExtraError, NetworkError

SR25519 = 1

Value = TypeVar("Value")


class PublicKey(Protocol):
    """An account by its address."""

    @property
    def ss58_address(self) -> str:
        """The address, as in `5F...`."""


class Signer(PublicKey, Protocol):
    """A key pair that signs; `bittensor.sp_core.Keypair` is one."""

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes; another each time."""


class Wallet(Protocol):
    """A hotkey that signs and the address of its owner; `bittensor.Wallet` is one.

    To register, and to pay on a real chain, the `coldkey` signs too (`coldkey_of`).
    """

    @property
    def hotkey(self) -> Signer:
        """Signs requests, weights, addresses."""

    @property
    def coldkey(self) -> Signer:
        """The owner's keys; reading them may ask for a password."""

    @property
    def coldkeypub(self) -> PublicKey:
        """The owner's address."""


@dataclass(frozen=True)
class WalletName:
    """A wallet's name, in the words of `btcli`: `--wallet`, `--wallet-hotkey`, `--wallet-path`."""

    wallet: str = "default"
    hotkey: str = "default"
    path: Path = Path("~/.bittensor/wallets")

    def __str__(self) -> str:
        return f"{self.wallet}/{self.hotkey} in {self.path}"


@dataclass(frozen=True)
class DevelopmentWallet:
    """Key pairs that live in memory: for tests and simulations, never for anything of value."""

    hotkey: Signer
    coldkey: Signer

    @property
    def coldkeypub(self) -> PublicKey:
        """The owner."""
        return self.coldkey


def choose_wallet(wallet: str | None, hotkey: str | None, path: str | None) -> WalletName:
    """The wallet that flags or BT_* variables name; what they leave open is `btcli config`'s, or `default`."""
    _needs_bittensor("wallets")
    from bittensor import config

    fallback = WalletName()
    return WalletName(
        wallet or str(config.get("wallet", fallback.wallet)),
        hotkey or str(config.get("wallet_hotkey", fallback.hotkey)),
        Path(path or config.get("wallet_path", fallback.path)),
    )


def open_wallet(name: WalletName) -> Wallet:
    """The wallet of that name, its hotkey readable; raises `NetworkError` (`no_wallet`, `bad_wallet`).

    An encrypted hotkey asks for its password on the terminal, or takes it from where `btcli` does.
    """
    wallet: Wallet = _bittensor_wallet(name)
    hint = f"Create one with 'btcli wallet create --wallet {name.wallet} --wallet-hotkey {name.hotkey}'."
    _read(lambda: wallet.hotkey, f"The hotkey {name} cannot be opened", hint)
    _read(lambda: wallet.coldkeypub, f"The public coldkey of {name} cannot be opened", hint)
    return wallet


def coldkey_of(wallet: Wallet) -> Signer:
    """The owner's keys, by which it consents; raises `NetworkError` (`no_wallet`, `bad_wallet`).

    An encrypted coldkey asks for its password on the terminal, or takes it from where `btcli` does.
    """
    hint = "Register where the coldkey is; to mine or validate it is not needed."
    return _read(lambda: wallet.coldkey, "The coldkey cannot be opened", hint)


def create_wallet(name: WalletName) -> Wallet:
    """Write new keys of that name, without a password; keys that are there stay as they are.

    For a local network, where nothing is at stake. For a real one use `btcli wallet create`, which encrypts the
    coldkey and shows the words that restore it.
    """
    wallet = _bittensor_wallet(name)
    try:
        if not wallet.coldkeypub_file.exists_on_device():
            wallet.create_new_coldkey(use_password=False, suppress=True)
        if not wallet.hotkey_file.exists_on_device():
            wallet.create_new_hotkey(use_password=False, suppress=True)
    except OSError as error:
        raise NetworkError(
            f"The wallet {name} cannot be written: {error.strerror or error}.", code="bad_wallet"
        ) from error
    return open_wallet(name)


def development_wallet(uri: str) -> DevelopmentWallet:
    """A wallet by a well-known secret, such as `//Alice`: the same keys each time, and known to everybody."""
    _needs_bittensor("key pairs")
    from bittensor_core import Keypair

    return DevelopmentWallet(
        hotkey=Keypair.create_from_uri(uri), coldkey=Keypair.create_from_uri(f"{uri}//coldkey")
    )


def is_signed(data: bytes, signature: bytes, address: str) -> bool:
    """True for an sr25519 signature of `data` by the key of `address`, false for anything else."""
    _needs_bittensor("signatures")
    from bittensor_core import verify

    try:
        return bool(verify(data, signature, address, SR25519))
    except ValueError:  # Not an address, or not as long as a signature.
        return False


def account_id(address: str) -> bytes:
    """The 32 bytes that an address stands for; raises `NetworkError` (`bad_wallet`) if it is none."""
    _needs_bittensor("addresses")
    from bittensor_core import ss58_decode

    try:
        return bytes(ss58_decode(address))
    except ValueError as error:
        raise NetworkError(f"{address!r} is not an SS58 address.", code="bad_wallet") from error


def _bittensor_wallet(name: WalletName) -> Any:  # bittensor's types need the extra
    _needs_bittensor("wallets")
    from bittensor import Wallet as BittensorWallet

    return BittensorWallet(name.wallet, name.hotkey, path=str(name.path.expanduser()))


def _read(key: Callable[[], Value], what: str, hint: str) -> Value:
    from bittensor.keyfiles import KeyfileError

    try:
        return key()
    except FileNotFoundError as error:
        raise NetworkError(f"{what}: there is no keyfile.", code="no_wallet", hint=hint) from error
    except (KeyfileError, OSError, ValueError) as error:
        raise NetworkError(f"{what}: {error}.", code="bad_wallet") from error


def _needs_bittensor(what: str) -> None:
    # Its import runs each time, but costs nothing once it is loaded.
    try:
        import bittensor_core  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, extra="network") from error
