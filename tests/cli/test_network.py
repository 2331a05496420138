from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from veridical.network.chain import WeightVector
from veridical.network.chain.ledger import LocalLedger
from veridical.network.identity import WalletName, open_wallet

pytest.importorskip("bittensor", reason="needs the extra 'network'")

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger is to be; wallets are beside it, and nothing else is configured."""
    for variable in ("BT_NETWORK", "BT_NETUID", "BT_WALLET", "BT_WALLET_HOTKEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BTCLI_CONFIG", str(tmp_path / "btcli.json"))
    monkeypatch.setenv("BT_WALLET_PATH", str(tmp_path / "wallets"))
    monkeypatch.setenv("VERIDICAL_LEDGER", str(tmp_path / "subnet.ledger"))
    return tmp_path / "subnet.ledger"


def told(ran: CompletedProcess[str]) -> Any:  # Any: JSON
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_a_local_network_from_the_command_line(run: Run, path: Path, tmp_path: Path) -> None:
    made = run("network", "init", "--manual", "--set", "tempo=10", "--set", "commit_reveal=off")
    assert made.stdout == f"{path}: subnet 1, a block by 'veridical network epoch', an epoch every 10.\n"
    uids = [
        told(run("network", "register", "--wallet", name, "--create", "--json"))["uid"]
        for name in ("validator", "good", "bad")
    ]
    assert uids == [0, 1, 2]
    staked = told(run("network", "stake", "100.5", "--wallet", "validator", "--json"))
    assert staked["stake"] == 100_500_000_000
    assert "No weights are in force." in run("network", "weights").stdout
    run("network", "epoch")

    with LocalLedger(path) as ledger:
        wallet = open_wallet(WalletName("validator", "default", tmp_path / "wallets"))
        ledger.set_weights(wallet, WeightVector.from_shares({1: 0.75, 2: 0.25}))
    weights = told(run("network", "weights", "--json"))
    assert weights["weights"]["0"] == pytest.approx({"1": 0.75, "2": 0.25}, abs=1e-4)
    (record,) = told(run("network", "epoch", "--json"))["epochs"]
    assert [row["incentive"] for row in record["neurons"]] == pytest.approx([0, 0.75, 0.25], abs=1e-4)
    assert record["emission"] == 10_000_000_000

    status = told(run("network", "status", "--json"))
    assert (status["block"], status["epoch"], status["hyperparameters"]["tempo"]) == (21, 2, 10)
    assert [neuron["permit"] for neuron in status["neurons"]] == [True, False, False]
    table = run("network", "status").stdout
    assert table.startswith("Subnet 1 (local), block 21, epoch 2 of 10 blocks.\nWeights: set in the open")
    assert status["neurons"][0]["hotkey"] in table
    history = run("network", "history").stdout
    assert "Epoch 0, ended in block 11: 10.0000 paid." in history
    assert "Epoch 1, ended in block 21: 10.0000 paid." in history


def test_commitments_show_while_they_wait(run: Run, path: Path, tmp_path: Path) -> None:
    run("network", "init", "--manual")
    run("network", "register", "--wallet", "validator", "--create")
    run("network", "stake", "1", "--wallet", "validator")
    run("network", "epoch")
    with LocalLedger(path) as ledger:
        ledger.commit_weights(open_wallet(WalletName("validator", "default", tmp_path / "wallets")), bytes(32))
    assert "0 committed to others in block 21, for epoch 2." in run("network", "weights").stdout
    (commit,) = told(run("network", "weights", "--json"))["commits"]["0"]
    assert commit == {"hash": "00" * 32, "block": 21, "reveal_epoch": 2}


def test_a_flag_goes_before_the_environment_and_that_before_btclis_configuration(
    run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("network", "init", "--manual")
    (tmp_path / "btcli.json").write_text(json.dumps({"wallet": "configured", "wallet_hotkey": "worker"}))
    run("network", "register", "--create")
    assert (tmp_path / "wallets" / "configured" / "hotkeys" / "worker").is_file()
    monkeypatch.setenv("BT_WALLET", "environment")
    run("network", "register", "--create")
    assert (tmp_path / "wallets" / "environment" / "hotkeys" / "worker").is_file()
    run("network", "register", "--create", "-w", "flag", "-H", "other")
    assert (tmp_path / "wallets" / "flag" / "hotkeys" / "other").is_file()
    (tmp_path / "btcli.json").write_text(json.dumps({"network": "test"}))
    assert "Which subnet of test?" in run("network", "status").stderr
    monkeypatch.setenv("BT_NETWORK", "finney")
    assert "Which subnet of finney?" in run("network", "status").stderr
    assert run("network", "status", "--network", "local").returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["init", "--set", "tempi=3"], "Did you mean 'tempo'?"),
        (["init", "--set", "tempo=soon"], "tempo is a whole number"),
        (["init", "--set", "yuma3_enabled=maybe"], "true, false"),
        (["init", "--set", "commit_reveal=timelock"], "cannot reveal by itself"),
        (["status"], "There is no ledger"),
        (["register", "--network", "test", "--netuid", "3", "--create"], "btcli wallet create"),
        (["history", "--network", "ws://127.0.0.1:9", "--netuid", "3"], "Only the local ledger"),
    ],
)
def test_mistakes_are_told_with_what_to_do(run: Run, path: Path, words: list[str], says: str) -> None:
    ran = run("network", *words)
    assert ran.returncode == 3
    assert says in ran.stderr


def test_a_coldkey_in_its_penalty_window_shows(run: Run, path: Path, tmp_path: Path) -> None:
    changes = ("max_uids=2", "immunity_period=2", "coldkey_penalty_period=100")
    run("network", "init", "--manual", *(word for change in changes for word in ("--set", change)))
    wallets = {name: WalletName(name, "default", tmp_path / "wallets") for name in ("validator", "bad", "new")}
    for name in ("validator", "bad"):
        run("network", "register", "--create", "-w", name)
    run("network", "stake", "1", "-w", "validator")
    run("network", "epoch")
    assert "Penalty" not in run("network", "status").stdout
    run("network", "register", "--create", "-w", "new")
    coldkey = open_wallet(wallets["bad"]).coldkeypub.ss58_address
    assert told(run("network", "status", "--json"))["penalties"] == {coldkey: 121}
    told_in_words = f"Penalty: {coldkey} may register no new hotkey before block 121."
    assert told_in_words in run("network", "status").stdout
    run("network", "epoch")
    refused = run("network", "register", "--create", "-w", "bad", "-H", "clean", "--json")
    assert json.loads(refused.stderr)["error"]["code"] == "ColdKeyInPenaltyWindow"


def test_mistakes_on_a_ledger_are_told_as_json(run: Run, path: Path) -> None:
    run("network", "init", "--manual")
    run("network", "register", "--wallet", "w", "--create")
    codes = {
        ("register", "--wallet", "w"): "HotKeyAlreadyRegisteredInSubNet",
        ("stake", "abc", "--wallet", "w"): "usage",
        ("stake", "0.0000000001", "--wallet", "w"): "usage",
        ("stake", "0", "--wallet", "w"): "AmountTooLow",
        ("stake", "1", "--wallet", "nobody"): "no_wallet",
        ("status", "--netuid", "2"): "SubnetNotExists",
    }
    for words, code in codes.items():
        ran = run("network", *words, "--json")
        assert ran.returncode == 3
        assert json.loads(ran.stderr)["error"]["code"] == code, words
    assert "There is a ledger at" in run("network", "init").stderr
