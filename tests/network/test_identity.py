from __future__ import annotations

import json
from pathlib import Path

import pytest

from veridical.errors import NetworkError
from veridical.network.chain import WeightVector
from veridical.network.chain.ledger import LocalLedger
from veridical.network.identity import (
    WalletName,
    account_id,
    coldkey_of,
    create_wallet,
    development_wallet,
    is_signed,
    open_wallet,
)

pytest.importorskip("bittensor", reason="needs the extra 'network'")

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def test_development_keys_are_those_that_everybody_knows() -> None:
    assert development_wallet("//Alice").hotkey.ss58_address == ALICE
    assert account_id(ALICE).hex() == "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"


def test_a_signature_holds_for_its_bytes_and_its_key_alone() -> None:
    signer = development_wallet("//Alice").hotkey
    signature = signer.sign(b"this")
    assert is_signed(b"this", signature, ALICE)
    assert not is_signed(b"that", signature, ALICE)
    assert not is_signed(b"this", signature, development_wallet("//Bob").hotkey.ss58_address)
    assert not is_signed(b"this", signature[:-1], ALICE)
    assert not is_signed(b"this", signature, "nobody")


def test_a_wallet_is_made_once_and_read_by_bittensors_own_code(tmp_path: Path) -> None:
    import bittensor

    name = WalletName("cold", "hot", tmp_path)
    made = create_wallet(name)
    again = create_wallet(name)
    theirs = bittensor.Wallet("cold", "hot", path=str(tmp_path))
    for wallet in (again, open_wallet(name), theirs):
        assert wallet.hotkey.ss58_address == made.hotkey.ss58_address
        assert wallet.coldkeypub.ss58_address == made.coldkeypub.ss58_address
    assert (tmp_path / "cold" / "hotkeys" / "hot").stat().st_mode & 0o077 == 0
    assert is_signed(b"x", theirs.hotkey.sign(b"x"), made.hotkey.ss58_address)


def test_a_wallet_that_is_not_there_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no keyfile") as raised:
        open_wallet(WalletName("cold", "hot", tmp_path))
    assert raised.value.code == "no_wallet"
    assert "btcli wallet create --wallet cold --wallet-hotkey hot" in (raised.value.hint or "")


def test_to_register_takes_the_coldkey_and_to_work_does_not(tmp_path: Path) -> None:
    wallet = create_wallet(WalletName("cold", "hot", tmp_path))
    assert coldkey_of(wallet).ss58_address == wallet.coldkeypub.ss58_address
    (tmp_path / "cold" / "coldkey").unlink()
    hot = open_wallet(WalletName("cold", "hot", tmp_path))
    with LocalLedger.create(tmp_path / "ledger") as ledger:
        with pytest.raises(NetworkError, match="The coldkey cannot be opened") as raised:
            ledger.register(hot)
        assert raised.value.code == "no_wallet"
        ledger.register(wallet)
        ledger.stake(hot, 5)
        assert ledger.metagraph().neurons[0].stake == 5


def test_a_keyfile_that_holds_no_key_is_told(tmp_path: Path) -> None:
    create_wallet(WalletName("cold", "hot", tmp_path))
    (tmp_path / "cold" / "hotkeys" / "hot").write_text(json.dumps({"secret": "none"}))
    with pytest.raises(NetworkError) as raised:
        open_wallet(WalletName("cold", "hot", tmp_path))
    assert raised.value.code == "bad_wallet"


def test_a_commitment_hashes_the_scale_encoding_of_all_of_it() -> None:
    import hashlib

    weights = WeightVector((1, 300), (65535, 7), version_key=9)
    encoded = (
        "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"  # Alice
        "0200"  # netuid 2
        "08"
        "0100"
        "2c01"  # two uids
        "08"
        "ffff"
        "0700"  # two values
        "0c"
        "0500"
        "0600"
        "0700"  # three numbers of salt
        "0900000000000000"  # version key
    )
    expected = hashlib.blake2b(bytes.fromhex(encoded), digest_size=32).digest()
    assert weights.commitment(ALICE, 2, [5, 6, 7]) == expected


def test_long_vectors_have_longer_lengths_in_scale() -> None:
    from veridical.network.chain import _scale_u16s

    assert _scale_u16s([1] * 63)[:1] == b"\xfc"
    assert _scale_u16s([1] * 64)[:2] == b"\x01\x01"
    assert _scale_u16s([1] * 16384)[:4] == b"\x02\x00\x01\x00"


@pytest.mark.parametrize("shares", [{}, {1: 0.0}, {1: -0.1, 2: 1.0}, {1: float("nan")}, {1: float("inf")}])
def test_weights_that_are_no_proportions_are_refused(shares: dict[int, float]) -> None:
    with pytest.raises(NetworkError) as raised:
        WeightVector.from_shares(shares)
    assert raised.value.code == "bad_weights"
