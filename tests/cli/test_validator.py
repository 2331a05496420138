from __future__ import annotations

import fcntl
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from veridical.network.client import Answer
from veridical.network.validator import loop as validating
from veridical.network.validator.scoring import RULES

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def subnet(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ledger with a validator and two miners, and a folder of pictures; gives the folder."""
    for variable in ("BT_NETWORK", "BT_NETUID", "BT_WALLET", "BT_WALLET_HOTKEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BTCLI_CONFIG", str(tmp_path / "btcli.json"))
    monkeypatch.setenv("BT_WALLET_PATH", str(tmp_path / "wallets"))
    monkeypatch.setenv("VERIDICAL_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert run("network", "init", "--manual").returncode == 0
    for name in ("validator", "good", "dead"):
        assert run("network", "register", "--wallet", name, "--create").returncode == 0
    run("network", "stake", "100", "--wallet", "validator")
    run("network", "epoch")
    for kind, level in (("real/camera", 40), ("fake/sdxl", 200)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(40):
            pixels = np.full((80, 80, 3), level + number, np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "set" / kind / f"{number}.png")
    before = list(logging.root.handlers), logging.root.level
    yield tmp_path
    logging.root.handlers[:], logging.root.level = before


@pytest.fixture
def miners(run: Run, subnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published addresses; in place of HTTP one miner that always says fake, and one that never answers."""
    from veridical.network.chain import Address
    from veridical.network.chain.ledger import LocalLedger
    from veridical.network.identity import WalletName, open_wallet

    with LocalLedger(subnet / "ledger") as ledger:
        for port, name in enumerate(("good", "dead"), start=9000):
            ledger.serve(
                open_wallet(WalletName(name, "default", subnet / "wallets")), Address("127.0.0.1", port)
            )

    async def ask(client, signer, neuron, message, body, *, timeout):  # type: ignore[no-untyped-def]
        if neuron.address.port == 9001:
            return Answer(neuron.hotkey, error="unreachable")
        level = float(np.asarray(PIL.Image.open(io.BytesIO(body))).mean())
        return Answer(neuron.hotkey, 0.9 if level > 120 else 0.1)

    monkeypatch.setattr(validating, "ask", ask)


VALIDATOR = ("validator", "--wallet", "validator", "--interval", "0", "--side", "64")


def lines(ran: CompletedProcess[str]) -> list[dict[str, Any]]:  # Any: JSON
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.usefixtures("miners")
def test_rounds_are_told_as_json_and_weights_by_a_dry_run(run: Run, subnet: Path) -> None:
    ran = run(
        *VALIDATOR, "--data", subnet / "set", "--rounds", "45", "--state", subnet / "v", "--dry-run", "--json"
    )
    *rounds, last = lines(ran)
    assert [told["round"] for told in rounds] == list(range(1, 46))
    assert {(told["asked"], told["answered"]) for told in rounds} == {(2, 1)}
    assert {error for told in rounds for error in told["errors"].values()} == {"unreachable"}
    assert "label" not in ran.stdout
    assert sorted(last["weights"].values()) == [0, 1]
    status = json.loads(run("network", "weights", "--json").stdout)
    assert (status["weights"], status["commits"]) == ({}, {}), "a dry run sets none"

    for rule in RULES:
        told = json.loads(
            run("network", "replay", subnet / "v" / "history.sqlite", "--rule", rule, "--json").stdout
        )
        assert sorted(told["weights"].values()) == [0, 1]
    assert "SCORE" in run("network", "replay", subnet / "v" / "history.sqlite").stdout

    ran = run(*VALIDATOR, "--data", subnet / "set", "--rounds", "1", "--state", subnet / "v")
    assert ran.stdout == "1: 1 of 2 answered, in epoch 1.\n"
    status = json.loads(run("network", "weights", "--json").stdout)
    assert len(status["commits"]["0"]) == 1, "it goes on with the scores it had"


@pytest.mark.usefixtures("miners")
def test_state_is_in_the_users_data_by_default_and_belongs_to_one_process(run: Run, subnet: Path) -> None:
    ran = run(*VALIDATOR, "--data", subnet / "set", "--rounds", "1", "--dry-run")
    assert "No weights" in ran.stdout
    (folder,) = (subnet / "data" / "veridical").iterdir()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = run(*VALIDATOR, "--data", subnet / "set", "--rounds", "1", "--json")
    assert ran.returncode == 3
    assert json.loads(ran.stderr)["error"]["code"] == "state_in_use"


def test_what_is_missing_is_said(run: Run, subnet: Path) -> None:
    (subnet / "empty").mkdir()
    reals = subnet / "reals.csv"
    reals.write_text("path,label\nset/real/camera/0.png,real\n")
    expected = {
        (): "need real pictures and fakes",
        ("--data", reals): "need real pictures and fakes",
        ("--data", subnet / "nothing"): "is not a data set",
        ("--data", subnet / "set", "--fakes", subnet / "empty"): "no pictures in",
        ("--data", subnet / "set", "--known", subnet / "set"): "Canaries need",
        ("--data", subnet / "set", "--video", "0.5"): "video cannot be made yet",
        ("--data", subnet / "set", "--wallet", "nobody"): "no keyfile",
    }
    for options, message in expected.items():
        ran = run(*VALIDATOR, *options)
        assert ran.returncode == 3, options
        assert message in ran.stderr, options
    assert run("network", "replay", subnet / "nothing").returncode == 3
    ran = run(*VALIDATOR, "--data", subnet / "set", "--upscale", "x9")
    assert ran.returncode == 4
    assert "no upscaler 'x9'" in ran.stderr


@pytest.mark.usefixtures("miners")
def test_fakes_may_come_from_folders(run: Run, subnet: Path) -> None:
    reals = subnet / "reals.csv"
    rows = [f"set/real/camera/{number}.png,real" for number in range(40)]
    reals.write_text("\n".join(["path,label", *rows]))
    fakes = ("--fakes", subnet / "set" / "fake")
    ran = run(*VALIDATOR, "--data", reals, *fakes, "--rounds", "3", "--state", subnet / "v", "--json")
    assert len(lines(ran)) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--generate", "mochi"), "makes videos"),
        (("--generate", "sdx"), "Did you mean 'sdxl'?"),
        (("--generate", "sdxl", "--prompts", "lama"), "OWNER/NAME"),
        (("--generate", "sdxl"), "need real pictures"),
    ],
)
def test_generators_that_cannot_be_used_are_refused_before_anything_is_loaded(
    run: Run, subnet: Path, options: tuple[str, ...], words: str
) -> None:
    pytest.importorskip("diffusers", reason="needs the extra 'generate'")
    ran = run(*VALIDATOR, "--fakes", subnet / "set" / "fake", *options)
    assert ran.returncode != 0
    assert words in ran.stderr
