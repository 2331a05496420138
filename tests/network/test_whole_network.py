"""A whole network of processes on loopback: a ledger, two validators, four miners; one validator is killed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import PIL.Image
import pytest
from onnx import TensorProto, helper

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from veridical.models.bundle import write_bundle
from veridical.models.card import Card, Paper, PixelInput
from veridical.network.chain import RAO
from veridical.network.chain.ledger import QUICK, LocalLedger
from veridical.network.identity import Wallet, WalletName, create_wallet
from veridical.network.validator.history import History, IntentState
from veridical.network.validator.scoring import Scoring
from veridical.network.validator.settlement import settle

# Of 20 pictures, in how many the colour agrees with the label: that is the skill of who looks at it alone.
AGREES = {"red": 20, "green": 17, "blue": 13}
MINERS = {"red": 1.0, "green": 0.85, "blue": 0.65, "random": 0.5}
ROUNDS = 100  # of each validator, at least


class Process:
    """`veridical` with these arguments; what it says on stdout comes line by line."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        # A file, which never blocks whoever writes into it, however late it is read.
        self.errors = (folder / f"{arguments[0]}-{os.urandom(4).hex()}.log").open("w+")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BT_WALLET_PATH": str(folder / "wallets"),
            "BTCLI_CONFIG": str(folder / "btcli.json"),
            "VERIDICAL_LEDGER": str(folder / "ledger"),
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "veridical", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        return line

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-3000:]

    def end(self, number: int = signal.SIGTERM) -> list[str]:
        """What it still said."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        rest = self.process.stdout.read().splitlines()
        assert self.process.wait(60) == (0 if number == signal.SIGTERM else -number), self.said()
        return rest


@contextlib.contextmanager
def ended(processes: list[Process]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in processes:
            if each.process.poll() is None:
                each.process.kill()
            each.process.wait()
            for stream in (each.process.stdout, each.errors):
                if stream is not None:
                    stream.close()


def make_pictures(folder: Path, each: int) -> None:
    """Bright in a colour means fake, dark means real; green and blue are wrong in their share of pictures."""
    rng = np.random.default_rng(0)
    for label, kind in enumerate(("real/camera", "fake/model")):
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            colours = []
            # Different multipliers, so that green and blue are not wrong together.
            for (_, right), factor in zip(AGREES.items(), (1, 3, 7), strict=True):
                agrees = number * factor % 20 < right
                colours.append(190 if bool(label) is agrees else 60)
            pixels = np.array(colours) + rng.normal(0, 12, (80, 80, 3))
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{number}.png")


def make_detector(folder: Path, channel: int) -> Path:
    """A bundle that looks at the mean of one colour."""
    ends = {"starts": [channel], "ends": [channel + 1], "axis": [3], "all": [1, 2, 3]}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "starts", "ends", "axis"], ["colour"]),
        helper.make_node("ReduceMean", ["colour", "all"], ["means"], keepdims=0),
        helper.make_node("Sub", ["means", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["logits"]),
    ]
    parameters = [
        *(onnx.numpy_helper.from_array(np.array(values), name) for name, values in ends.items()),
        onnx.numpy_helper.from_array(np.array(125.0, np.float32), "middle"),
        onnx.numpy_helper.from_array(np.array(0.04, np.float32), "scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    graph = helper.make_graph(nodes, "colour", [pixels], [logits], parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    card = Card(
        name=folder.name,
        version="1.0",
        architecture="mean",
        description="The mean of one colour.",
        licence="MIT",
        paper=Paper(authors="Us", title="On means", venue="Here", url="https://example.org"),
        input=PixelInput(kind="crops", size=64),
        parameters=2,
        files={},
    )
    return write_bundle(folder, card, {"model.onnx": bytes(model.SerializeToString())}).folder


def make_ledger(folder: Path) -> dict[str, Wallet]:
    """Two validators with a permit, and four miners; epochs of a few seconds."""
    names = ("one", "two", *MINERS)
    wallets = {name: create_wallet(WalletName(name, "default", folder / "wallets")) for name in names}
    rules = dataclasses.replace(QUICK, tempo=8)
    with LocalLedger.create(folder / "ledger", hyperparameters=rules, block_seconds=0.4) as ledger:
        for name, wallet in wallets.items():
            ledger.register(wallet)
            if name not in MINERS:
                ledger.stake(wallet, 100 * RAO)
        ledger.wait_for_epoch(60)
    return wallets


def start_validator(folder: Path, name: str) -> Process:
    options = ("--interval", "0.1", "--side", "64", "--variants", "0", "--json")
    where = ("--data", folder / "set", "--state", folder / name)
    return Process(folder, "validator", "--wallet", name, *where, *options)


def test_the_ranking_follows_skill_and_a_killed_validator_loses_and_doubles_nothing(tmp_path: Path) -> None:
    make_pictures(tmp_path / "set", 200)
    wallets = make_ledger(tmp_path)
    hotkeys = {name: wallet.hotkey.ss58_address for name, wallet in wallets.items()}
    detectors = {name: make_detector(tmp_path / name, channel) for channel, name in enumerate(AGREES)}
    running: list[Process] = []
    with ended(running), LocalLedger(tmp_path / "ledger") as ledger:
        for name in MINERS:
            options = ("--port", "0", "--rate", "100", "--state", tmp_path / "miners")
            detector = detectors.get(name, name)
            running.append(Process(tmp_path, "miner", "--wallet", name, "--detector", detector, *options))
        for miner in running:
            assert "answers at" in miner.line()

        validators = {name: start_validator(tmp_path, name) for name in ("one", "two")}
        running += validators.values()
        told = {"one": [], "two": [validators["two"].line() for _ in range(45)]}
        told["two"] += validators["two"].end(signal.SIGKILL)
        validators["two"] = start_validator(tmp_path, "two")
        running.append(validators["two"])
        while min(map(len, told.values())) < ROUNDS or not any(incentives(ledger, hotkeys).values()):
            for name, validator in validators.items():
                told[name].append(validator.line())
        for name, validator in validators.items():
            told[name] += validator.end()
        for miner in running[: len(MINERS)]:
            miner.end()

        for lines in told.values():
            rounds = [json.loads(line) for line in lines]
            assert [each["errors"] for each in rounds if each["errors"]] == []
            assert {(each["asked"], each["answered"]) for each in rounds} == {(4, 4)}
        earned = incentives(ledger, hotkeys)
        assert earned["red"] > earned["green"] > earned["blue"] >= earned["random"]
        for name, lines in told.items():
            # A kill may come between the end of a round and its line.
            most = len(lines) + (name == "two")
            check_history(tmp_path / name, ledger, hotkeys, name, range(len(lines), most + 1))


def incentives(ledger: LocalLedger, hotkeys: dict[str, str]) -> dict[str, float]:
    neurons = {neuron.hotkey: neuron for neuron in ledger.metagraph().neurons}
    return {name: neurons[hotkeys[name]].incentive for name in MINERS}


def check_history(
    folder: Path, ledger: LocalLedger, hotkeys: dict[str, str], name: str, expected: range
) -> None:
    with History(folder / "history.sqlite") as history:
        closed = list(history.closed())
        assert len(closed) in expected
        scores = history.scores()
        assert scores == settle(closed, Scoring()).scores, "nothing was scored twice, or not"
        assert sorted(MINERS, key=lambda miner: -scores[hotkeys[miner]]) == list(MINERS)
        intents = history.intents()
        connection = history._connection
        sent = connection.execute("SELECT count(*), count(DISTINCT origin) FROM challenges").fetchone()
        assert sent[0] == sent[1], "no picture was sent twice"
    written = [intent.commitment for intent in intents if intent.state is not IntentState.INTENDED]
    accepted = [
        bytes.fromhex(json.loads(row["arguments"])["hash"])
        for row in ledger._connection.execute(
            "SELECT arguments FROM operations WHERE hotkey = ? AND kind = 'commit_weights' AND error IS NULL "
            "ORDER BY rowid",
            [hotkeys[name]],
        )
    ]
    assert accepted
    assert accepted == written, "what the ledger took is what was written down, each once"
