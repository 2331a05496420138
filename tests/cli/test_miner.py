"""A miner in a process of its own, and what its command line and the proxy's refuse."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from veridical.models.bundle import read_bundle, write_bundle
from veridical.network.chain import Neuron
from veridical.network.chain.ledger import LocalLedger
from veridical.network.client import Answer, ask, open_client
from veridical.network.identity import Wallet, WalletName, create_wallet
from veridical.network.protocol import ChallengeMessage

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def wallets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where wallets are; everything else that could be configured is in the test's own folder."""
    for variable in ("BT_NETWORK", "BT_NETUID", "BT_WALLET", "BT_WALLET_HOTKEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BTCLI_CONFIG", str(tmp_path / "btcli.json"))
    monkeypatch.setenv("BT_WALLET_PATH", str(tmp_path / "wallets"))
    monkeypatch.setenv("VERIDICAL_LEDGER", str(tmp_path / "subnet.ledger"))
    return tmp_path / "wallets"


@pytest.fixture
def ledger(tmp_path: Path) -> LocalLedger:
    return LocalLedger.create(tmp_path / "subnet.ledger")


def ask_miner(by: Wallet, neuron: Neuron, body: bytes) -> Answer:
    async def asked() -> Answer:
        async with open_client(local=True) as client:
            return await ask(client, by.hotkey, neuron, ChallengeMessage("0" * 32), body, timeout=20)

    return asyncio.run(asked())


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_miner_answers_from_another_process_swaps_its_bundle_and_ends_well(
    ledger: LocalLedger, wallets: Path, tmp_path: Path, bundle: Path, pictures: Path
) -> None:
    validator, miner = (create_wallet(WalletName(name, "default", wallets)) for name in ("validator", "miner"))
    ledger.register(validator)
    ledger.stake(validator, 10**9)
    uid = ledger.register(miner)
    ledger.advance(20)
    served = tmp_path / "served"
    shutil.copytree(bundle, served)
    state = tmp_path / "state"
    command = ["miner", "--wallet", "miner", "--detector", served, "--port", "0", "--state", state]
    with subprocess.Popen(
        [sys.executable, "-m", "veridical", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout
        said = process.stdout.readline()
        neuron = ledger.metagraph().neurons[uid]
        assert said == f"{neuron.hotkey} answers at {neuron.address} with tiny.\n"
        white = (pictures / "white.png").read_bytes()
        before = ask_miner(validator, neuron, white)
        assert before.error == ""
        assert before.score == pytest.approx(0.994, abs=1e-3)

        old = read_bundle(served)
        card = dataclasses.replace(old.card, version="2.0")
        new = write_bundle(served, card, {"model.onnx": old.graph})
        after = ask_miner(validator, neuron, white)
        assert before.model
        assert after.model
        assert (before.model.version, after.model.version) == ("1.0", "2.0")
        assert (before.model.sha256, after.model.sha256) == (old.sha256, new.sha256)
        assert old.sha256 != new.sha256

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [path.name for path in state.glob("*.sqlite")] == [f"nonces-{neuron.hotkey}.sqlite"]
    ledger.close()


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_unregistered_hotkey_is_told_how_to_register(
    run: Run, ledger: LocalLedger, wallets: Path, bundle: Path, tmp_path: Path
) -> None:
    create_wallet(WalletName("stranger", "default", wallets))
    options = ("--port", "0", "--state", tmp_path, "--detector", bundle)
    ran = run("miner", "--wallet", "stranger", *options)
    assert ran.returncode == 3
    assert "is not registered on subnet 1" in ran.stderr
    assert "veridical network register" in ran.stderr
    ran = run("miner", "--wallet", "stranger", *options, "--host", "0.0.0.0")
    assert ran.returncode == 3
    assert "--external-ip" in ran.stderr
    ledger.close()


def test_a_miner_without_ledger_or_wallet_is_told_what_to_do(run: Run, wallets: Path, tmp_path: Path) -> None:
    ran = run("miner")
    assert ran.returncode == 3
    assert "veridical network init" in ran.stderr
    LocalLedger.create(tmp_path / "subnet.ledger").close()
    ran = run("miner")
    assert ran.returncode == 3
    assert "btcli wallet create" in ran.stderr


def test_a_proxy_makes_keys_and_needs_them(run: Run, wallets: Path, tmp_path: Path) -> None:
    LocalLedger.create(tmp_path / "subnet.ledger").close()
    create_wallet(WalletName("validator", "default", wallets))
    ran = run("proxy", "--wallet", "validator", "--keys", tmp_path / "keys")
    assert ran.returncode == 3
    assert "--new-key" in ran.stderr
    ran = run("proxy", "--keys", tmp_path / "keys", "--new-key", "newsroom")
    assert ran.returncode == 0
    assert ran.stdout.startswith("vk_")
    assert (tmp_path / "keys").read_text().startswith("newsroom ")
