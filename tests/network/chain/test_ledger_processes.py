"""The ledger under several processes, and under processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.network.chain import RAO
from veridical.network.chain.ledger import LocalLedger
from veridical.network.identity import DevelopmentWallet

MakeWallet = Callable[[str], DevelopmentWallet]

pytest.importorskip("bittensor_core", reason="needs the extra 'network'")

# Forks a child that does one thing to the ledger and is killed at its nth statement, for n = 1, 2, ...; ends
# with the first child that survives. Prints how many there were.
KILLED_AT_EACH_STATEMENT = """
import os, signal, sys
from pathlib import Path
from veridical.network.chain import RAO, WeightVector
from veridical.network.identity import development_wallet
from veridical.network.chain.ledger import LocalLedger

path, what = Path(sys.argv[1]), sys.argv[2]
validator, miner, newcomer = [development_wallet(f"//{name}") for name in ("validator", "miner", "newcomer")]
salt = list(range(8))
weights = WeightVector((1,), (65535,))

def act(ledger):
    if what == "advance":
        ledger.advance(25)
    elif what == "register":
        ledger.register(newcomer)
    elif what == "commit":
        ledger.commit_weights(validator, weights.commitment(validator.hotkey.ss58_address, 1, salt))
    elif what == "reveal":
        ledger.reveal_weights(validator, weights, salt)

n = 0
while True:
    n += 1
    child = os.fork()
    if not child:
        ledger = LocalLedger(path)
        seen = 0
        def count(statement):
            global seen
            seen += 1
            if seen == n:
                os.kill(os.getpid(), signal.SIGKILL)
        ledger._connection.set_trace_callback(count)
        act(ledger)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with LocalLedger(path) as ledger:  # Checks the file.
        connection = ledger._connection
        (earned,) = connection.execute("SELECT sum(earned) FROM accounts").fetchone()
        (paid,) = connection.execute("SELECT coalesce(sum(emission), 0) FROM epochs").fetchone()
        epochs = [row[0] for row in connection.execute("SELECT epoch FROM epochs ORDER BY epoch")]
        ends = [row[0] for row in connection.execute("SELECT block FROM epochs ORDER BY epoch")]
        assert earned == paid, (earned, paid)
        assert epochs == list(range(ledger.epoch()))
        assert ends == [21 + 20 * i for i in range(len(ends))]
        assert [row.uid for row in ledger.metagraph().neurons] == list(range(len(ledger.metagraph().neurons)))
        state = (ledger.block(), ledger.epoch(), len(ledger.metagraph().neurons),
                 len(ledger.open_commits(validator.hotkey.ss58_address)), ledger.weights())
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    states = globals().setdefault("states", [])
    states.append(state)
    if state != states[0]:  # Killed after the commit, while it read what it had done.
        break
print(n)
"""

REGISTERS_AND_ADVANCES = """
import sys
from pathlib import Path
from veridical.network.identity import development_wallet
from veridical.network.chain.ledger import LocalLedger

with LocalLedger(Path(sys.argv[1])) as ledger:
    for number in range(8):
        ledger.register(development_wallet(f"//{sys.argv[2]}/{number}"))
        ledger.advance(3)
"""


def python(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def busy(ledger: LocalLedger, wallet: MakeWallet) -> LocalLedger:
    """A validator with a permit, a miner, and one epoch behind them."""
    ledger.register(wallet("validator"))
    ledger.stake(wallet("validator"), 10 * RAO)
    ledger.register(wallet("miner"))
    ledger.advance(20)
    return ledger


@pytest.mark.parametrize("what", ["advance", "register", "commit", "reveal"])
def test_a_kill_between_any_two_statements_leaves_all_or_nothing(
    busy: LocalLedger, wallet: MakeWallet, what: str
) -> None:
    from veridical.network.chain import WeightVector

    if what == "reveal":
        validator = wallet("validator")
        weights = WeightVector((1,), (65535,))
        busy.advance(5)
        busy.commit_weights(validator, weights.commitment(validator.hotkey.ss58_address, 1, range(8)))
        busy.advance(20)
    before = (busy.block(), busy.epoch())
    busy.close()
    ran = python(KILLED_AT_EACH_STATEMENT, busy.path, what)
    out, err = ran.communicate(timeout=120)
    assert ran.returncode == 0, err
    assert int(out) > 8, "it was killed at that many statements"
    with LocalLedger(busy.path) as after:
        done = {
            "advance": (after.block(), after.epoch()) == (before[0] + 25, before[1] + 1),
            "register": len(after.metagraph().neurons) == 3,
            "commit": len(after.open_commits(wallet("validator").hotkey.ss58_address)) == 1,
            "reveal": after.weights() == {0: {1: 1.0}},
        }
        assert done[what], "the last one was not killed, and did it once"


def test_processes_share_a_ledger(ledger: LocalLedger) -> None:
    running = [python(REGISTERS_AND_ADVANCES, ledger.path, name) for name in ("a", "b", "c", "d")]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    neurons = ledger.metagraph().neurons
    assert [neuron.uid for neuron in neurons] == list(range(32))
    assert len({neuron.hotkey for neuron in neurons}) == 32
    assert ledger.block() == 1 + 4 * 8 * 3
    assert [record.block for record in ledger.history()] == [21, 41, 61, 81]


def test_a_process_that_dies_in_a_transaction_does_not_hold_up_the_others(
    ledger: LocalLedger, wallet: MakeWallet
) -> None:
    script = """
import os, sys
from pathlib import Path
from veridical.network.chain.ledger import LocalLedger
connection = LocalLedger(Path(sys.argv[1]))._connection
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE subnet SET block = 999")
print("in it", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(ledger.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in it\n"
        assert ledger.block() == 1, "who reads is not held up, and sees nothing of it"
        process.send_signal(signal.SIGKILL)
        process.wait()
    ledger.register(wallet("miner"))
    assert ledger.block() == 1
