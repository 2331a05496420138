"""The validator's loop on a real ledger, with miners in this process, and under kills."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import NetworkError
from veridical.network.chain import RAO, Address, Chain, CommitReveal, Neuron
from veridical.network.chain.ledger import QUICK, LocalLedger
from veridical.network.identity import DevelopmentWallet
from veridical.results import Label

pytest.importorskip("bittensor_core", reason="needs the extra 'network'")

from veridical.media import open_media
from veridical.network.client import Answer
from veridical.network.protocol import ChallengeMessage
from veridical.network.validator import loop as validating
from veridical.network.validator.challenges import ChallengeRecipe
from veridical.network.validator.history import History, IntentState
from veridical.network.validator.loop import Validator, ValidatorSettings, run
from veridical.network.validator.media_cache import CacheLimits, MediaCache
from veridical.network.validator.offers import Offer
from veridical.network.validator.scoring import NoWeightsError, Scoring
from veridical.network.validator.settlement import settle

MakeWallet = Callable[[str], DevelopmentWallet]
Oracle = Callable[[str, bytes], Answer]

SETTINGS = ValidatorSettings(
    scoring=Scoring(minimum=4, decay=0.2),
    recipe=ChallengeRecipe(side=64, variants=0),
    sample_size=3,
    least_rounds=3,
)
NAMES = ("validator", "good", "fair", "bad")


def offer(number: int, label: Label) -> Offer:
    """Fakes are bright, reals dark, and no two are alike."""
    level = (170 if label else 30) + number % 50
    return Offer(
        f"{label.name}{number}", label, "g", "s", lambda: np.full((80, 80, 3), level, np.uint8) - number % 3
    )


def brightness(body: bytes) -> float:
    return float(open_media(body).pixels.mean())


def knows(share: float) -> Callable[[bytes], float]:
    """A detector that is right on that share of pictures, always the same ones."""

    def score(body: bytes) -> float:
        drawn = hashlib.sha256(body + bytes([round(share * 100)])).digest()
        is_right = int.from_bytes(drawn[:4], "big") / 2**32 < share
        confidence = 0.7 + 0.25 * drawn[4] / 255
        return confidence if (brightness(body) > 120) is is_right else 1 - confidence

    return score


MINERS = {"good": knows(1.0), "fair": knows(0.8), "bad": knows(0.5)}


@pytest.fixture
def subnet(tmp_path: Path, wallet: MakeWallet) -> Iterator[LocalLedger]:
    with LocalLedger.create(tmp_path / "ledger") as ledger:
        populate(ledger, wallet)
        yield ledger


def populate(ledger: LocalLedger, wallet: MakeWallet) -> None:
    """A validator with a permit, and three miners; an epoch is behind them."""
    for port, name in enumerate(NAMES):
        ledger.register(wallet(name))
        if name != "validator":
            ledger.serve(wallet(name), Address("127.0.0.1", 9000 + port))
    ledger.stake(wallet("validator"), 9000 * RAO)
    ledger.advance(20)


@pytest.fixture
def start(tmp_path: Path, subnet: LocalLedger, wallet: MakeWallet) -> Iterator[Callable[..., Validator]]:
    """Start the validator, again if it ran before, on the files that it left."""
    opened: list[History | MediaCache] = []

    def make(
        settings: ValidatorSettings = SETTINGS,
        *,
        chain: Chain | None = None,
        miners: dict[str, Callable[[bytes], float | None]] | None = None,
        state: str = "state",
        clock: Callable[[], float] = lambda: 1000.0,
    ) -> Validator:
        for each in opened:
            each.close()
        opened[:] = [
            History(tmp_path / state / "history.sqlite", clock=clock),
            MediaCache(tmp_path / state, CacheLimits(least_side=64, private=0, ready=99), random.Random(0)),
        ]
        history, cache = opened
        assert isinstance(history, History)
        assert isinstance(cache, MediaCache)
        for number in range(70):
            for label in Label:
                cache.add(offer(number, label))
        return Validator(
            chain=chain or subnet,
            wallet=wallet("validator"),
            cache=cache,
            history=history,
            ask=asking(wallet, {**MINERS, **(miners or {})}),
            settings=settings,
            rng=random.Random(5),
        )

    yield make
    for each in opened:
        each.close()


def asking(wallet: MakeWallet, miners: dict[str, Callable[[bytes], float | None]]) -> validating.Ask:
    by_hotkey = {wallet(name).hotkey.ss58_address: miner for name, miner in miners.items()}

    def ask(message: ChallengeMessage, questions: Sequence[tuple[Neuron, bytes]]) -> list[Answer]:
        return [Answer(neuron.hotkey, by_hotkey[neuron.hotkey](body)) for neuron, body in questions]

    return ask


def hotkey(wallet: MakeWallet, name: str) -> str:
    return wallet(name).hotkey.ss58_address


def history_of(tmp_path: Path, state: str = "state") -> History:
    return History(tmp_path / state / "history.sqlite")


Start = Callable[..., Validator]


def test_weights_follow_skill_and_reach_the_chain(
    start: Start, subnet: LocalLedger, wallet: MakeWallet, tmp_path: Path
) -> None:
    validator = start()
    for _ in range(40):
        validator.round()
    weights = validator.weights()
    skill = [weights.get(hotkey(wallet, name), 0.0) for name in ("good", "fair", "bad")]
    assert skill[0] > skill[1] > skill[2] >= 0
    assert sum(weights.values()) == pytest.approx(1)
    validator.publish()
    assert subnet.weights() == {}
    assert len(subnet.open_commits(hotkey(wallet, "validator"))) == 1
    subnet.advance(20)
    validator.publish()
    revealed = subnet.weights()[0]
    assert revealed == pytest.approx({uid + 1: share for uid, share in enumerate(skill) if share}, abs=1e-4)
    with history_of(tmp_path) as history:
        assert [intent.state for intent in history.intents()] == [IntentState.SET, IntentState.COMMITTED]
        assert history.scores() == pytest.approx(settle(history.closed(), SETTINGS.scoring).scores)


def test_weights_are_set_once_for_each_epoch(start: Start, subnet: LocalLedger, tmp_path: Path) -> None:
    validator = start()
    for _ in range(20):
        validator.round()
        validator.publish()
    with history_of(tmp_path) as history:
        assert len(history.intents()) == 1
    subnet.advance(20)
    validator.publish()
    validator.publish()
    with history_of(tmp_path) as history:
        assert len(history.intents()) == 2


def test_without_commit_reveal_weights_are_set_in_the_open(
    tmp_path: Path, start: Start, wallet: MakeWallet
) -> None:
    rules = dataclasses.replace(QUICK, commit_reveal=CommitReveal.OFF)
    with LocalLedger.create(tmp_path / "open", hyperparameters=rules) as ledger:
        populate(ledger, wallet)
        validator = start(chain=ledger)
        for _ in range(20):
            validator.round()
        validator.publish()
        assert max(ledger.weights()[0], key=ledger.weights()[0].__getitem__) == 1


def test_a_validator_without_state_sets_no_weights_for_some_rounds(
    start: Start, subnet: LocalLedger, tmp_path: Path
) -> None:
    now = [1000.0]
    settings = dataclasses.replace(SETTINGS, least_rounds=15)
    validator = start(settings, clock=lambda: now[0])
    for closed in range(1, 18):
        validator.round()
        validator.publish()
        with history_of(tmp_path) as history:
            assert bool(history.intents()) is (closed >= 15)
    subnet.advance(20)
    now[0] += 2 * settings.stale_after
    validator = start(settings, clock=lambda: now[0])
    validator.publish()
    with history_of(tmp_path) as history:
        assert len(history.intents()) == 1, "a stale history counts as none"


def test_a_restart_goes_on_where_the_last_run_stopped(
    start: Start, subnet: LocalLedger, tmp_path: Path
) -> None:
    validator = start()
    for _ in range(20):
        validator.round()
    before = validator.weights()
    subnet.advance(5)
    validator = start()
    assert validator.weights() == before
    validator.publish()
    with history_of(tmp_path) as history:
        assert len(history.intents()) == 1


def test_no_weights_are_sent_when_nobody_answers(
    start: Start, subnet: LocalLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = dict.fromkeys(MINERS, lambda body: None)
    validator = start(miners=silent)
    for _ in range(10):
        validator.round()
        validator.publish()
    with pytest.raises(NoWeightsError):
        validator.weights()
    assert "nobody answered" in caplog.text
    assert "no weights in epoch 1" in caplog.text
    with history_of(tmp_path) as history:
        assert history.intents() == []


def test_nan_and_nonsense_move_nothing_but_their_sender(start: Start, wallet: MakeWallet) -> None:
    validator = start(miners={"fair": lambda body: float("nan"), "bad": lambda body: 1e308})
    for _ in range(20):
        validator.round()
    assert validator.weights() == {
        hotkey(wallet, "good"): 1.0,
        hotkey(wallet, "fair"): 0,
        hotkey(wallet, "bad"): 0,
    }


def test_guesses_are_below_the_floor(start: Start, wallet: MakeWallet) -> None:
    settings = dataclasses.replace(SETTINGS, scoring=Scoring(minimum=10))
    validator = start(settings, miners={"bad": knows(0.5), "fair": lambda body: 0.999})
    for _ in range(60):
        validator.round()
    weights = validator.weights()
    assert weights[hotkey(wallet, "good")] == 1.0


def test_one_model_behind_two_hotkeys_has_one_reward(start: Start, wallet: MakeWallet) -> None:
    validator = start(miners={"fair": MINERS["good"]})
    for _ in range(20):
        validator.round()
    weights = validator.weights()
    assert sorted(weights[hotkey(wallet, name)] for name in ("good", "fair")) == [
        0.0,
        pytest.approx(1, abs=0.3),
    ]


def test_answers_that_are_passed_on_are_seen_by_variants(start: Start, wallet: MakeWallet) -> None:
    settings = dataclasses.replace(SETTINGS, recipe=ChallengeRecipe(side=64, variants=1))
    same_model = start(settings, miners={"fair": MINERS["good"]})
    for _ in range(20):
        same_model.round()
    assert same_model.weights()[hotkey(wallet, "fair")] > 0.2, "variants say nothing of one model"

    last: list[float] = []

    def leading(body: bytes) -> float:
        last[:] = [MINERS["good"](body)]
        return last[0]

    relay = start(settings, miners={"good": leading}, state="another")
    ask = relay._ask
    relay._ask = lambda message, questions: [
        dataclasses.replace(answer, score=last[0]) if answer.hotkey == hotkey(wallet, "fair") else answer
        for answer in ask(message, questions)
    ]
    for _ in range(20):
        relay.round()
    weights = relay.weights()
    assert 0 in (weights[hotkey(wallet, "good")], weights[hotkey(wallet, "fair")])


def test_history_survives_a_new_registration(tmp_path: Path, start: Start, wallet: MakeWallet) -> None:
    rules = dataclasses.replace(QUICK, max_uids=4, immunity_period=0)
    with LocalLedger.create(tmp_path / "small", hyperparameters=rules) as ledger:
        populate(ledger, wallet)
        validator = start(chain=ledger)
        for _ in range(20):
            validator.round()
        before = validator.weights()
        taken = ledger.register(wallet("newcomer"))
        loser = NAMES[taken]
        assert hotkey(wallet, loser) not in validator.weights()
        ledger.advance()
        ledger.register(wallet(loser))
        again = validator.weights()
        for name in set(MINERS) - {loser}:
            if hotkey(wallet, name) not in again:
                del before[hotkey(wallet, name)]
        assert again[hotkey(wallet, loser)] == pytest.approx(
            before[hotkey(wallet, loser)] / sum(before.values()) if sum(before.values()) else 0
        )


def test_validators_of_stake_are_never_asked_nor_is_it_itself(
    start: Start, subnet: LocalLedger, wallet: MakeWallet, tmp_path: Path
) -> None:
    subnet.serve(wallet("validator"), Address("127.0.0.1", 1))
    other = wallet("other validator")
    subnet.register(other)
    subnet.stake(other, 5000 * RAO)
    subnet.serve(other, Address("127.0.0.1", 2))
    subnet.advance(20)
    validator = start(dataclasses.replace(SETTINGS, sample_size=2))
    asked = {answer.hotkey for _ in range(12) for answer in validator.round().answers}
    assert asked == {hotkey(wallet, name) for name in MINERS}


def test_no_miner_sees_a_picture_twice(start: Start, tmp_path: Path) -> None:
    validator = start(dataclasses.replace(SETTINGS, sample_size=2))
    for _ in range(30):
        validator.round()
    with history_of(tmp_path) as history:
        rows = history._connection.execute(
            "SELECT origin, hotkey, count(*) FROM answers JOIN challenges ON number = challenge GROUP BY 1, 2"
        ).fetchall()
    assert {row[2] for row in rows} == {1}


def test_the_log_says_nothing_of_labels(start: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    validator = start()
    rounds = [validator.round() for _ in range(12)]
    validator.publish()
    said = caplog.text + repr([dataclasses.replace(each, answers=(), rewards={}) for each in rounds])
    assert all(each.challenge in caplog.text for each in rounds)
    assert not {"real", "fake", "label", "generator"} & set(said.lower().replace("=", " ").split())
    with history_of(tmp_path) as history:
        labels = [closed.label for closed in history.closed()]
    assert 0 < sum(labels) < 12, "though both kinds were sent"


def test_the_loop_goes_on_after_what_passes_and_stops_when_told(
    start: Start, subnet: LocalLedger, wallet: MakeWallet
) -> None:
    class Flaky(LocalLedger):
        calls = 0

        def metagraph(self):  # type: ignore[no-untyped-def]
            Flaky.calls += 1
            if Flaky.calls % 3 == 0:
                raise NetworkError("the chain is away", code="unreachable", retryable=True)
            return super().metagraph()

    stop = threading.Event()
    with Flaky(subnet.path) as chain:
        validator = start(chain=chain)
        assert len(list(run(validator, interval=0, stop=stop, rounds=8))) == 8
        for count, _ in enumerate(run(validator, interval=0, stop=stop)):
            if count == 2:
                stop.set()
        assert count == 2


def test_it_ends_when_there_is_nothing_left_to_send(start: Start) -> None:
    validator = start()
    validator._cache.dry |= set(Label)
    with pytest.raises(NetworkError) as raised:
        for _ in run(validator, interval=0, stop=threading.Event(), publishes=False):
            pass
    assert raised.value.code == "no_media"


# Forks a child that runs a round and publishes, killed before or after its nth commit to any of its files, for
# n = 1, 2, ...: those are all the states that it can leave behind. A second child, that is not killed, goes on
# from there, and the parent checks what they left.
KILLED_AT_EACH_COMMIT = """
import os, random, shutil, signal, sys
from pathlib import Path
from tests_of_the_validator import *
from veridical.network.identity import development_wallet

base, mode = Path(sys.argv[1]), sys.argv[2]
wallet = lambda name: development_wallet(f"//{name}")
me = wallet("validator").hotkey.ss58_address

def go(folder, kill_at):
    ledger = LocalLedger(folder / "ledger")
    history = History(folder / "state" / "history.sqlite", clock=lambda: 1000.0)
    cache = MediaCache(folder / "state", CacheLimits(least_side=64, private=0), random.Random(0))
    seen, last = 0, ""
    def count(statement):
        nonlocal seen, last
        seen += "COMMIT" in (statement, last)
        last = statement
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    for store in (ledger, history, cache):
        store._connection.set_trace_callback(count)
    validator = Validator(chain=ledger, wallet=wallet("validator"), cache=cache, history=history,
                          ask=asking(wallet, MINERS), settings=SETTINGS, rng=random.Random(kill_at))
    validator.publish()
    validator.round()
    validator.publish()
    os._exit(0)

def in_child(*arguments):
    child = os.fork()
    if not child:
        go(*arguments)
    _, status = os.waitpid(child, 0)
    return status

kills = 0
kill_at = 1
while True:
    folder = base.with_name("killed")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    status = in_child(folder, kill_at)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, status
    assert in_child(folder, -1) == 0
    with LocalLedger(folder / "ledger") as ledger, History(folder / "state" / "history.sqlite") as history:
        calls = ledger._connection.execute(
            "SELECT kind, count(*) FROM operations WHERE error IS NULL AND hotkey = ? AND kind IN "
            "('set_weights', 'commit_weights', 'reveal_weights') GROUP BY 1", [me]).fetchall()
        expected = {"open": {"set_weights": 1}, "commit": {"commit_weights": 1},
                    "reveal": {"commit_weights": 2, "reveal_weights": 1}}[mode]
        assert {row[0]: row[1] for row in calls} == expected, (kill_at, [tuple(row) for row in calls])
        states = [intent.state.value for intent in history.intents()]
        finished = {"open": ["set"], "commit": ["committed"], "reveal": ["set", "committed"]}
        assert states == finished[mode], states
        scores = settle(history.closed(), SETTINGS.scoring).scores
        assert history.scores() == scores, kill_at
        rows = history._connection.execute("SELECT state, count(*) FROM challenges GROUP BY 1").fetchall()
        counts = {row[0]: row[1] for row in rows}
        done = counts["closed"] - int(sys.argv[3])
        assert done in (1, 2) and counts.get("void", 0) <= 1 and "open" not in counts, counts
        sent = history._connection.execute("SELECT count(DISTINCT origin), count(*) FROM challenges").fetchone()
        assert sent[0] == sent[1], "no picture was sent twice"
    if not killed:
        break
    kills += 1
    kill_at += 1
print(kills)
"""


@pytest.mark.parametrize("mode", ["open", "commit", "reveal"])
def test_a_kill_at_any_commit_loses_and_doubles_nothing(
    tmp_path: Path, wallet: MakeWallet, start: Start, mode: str
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    rules = QUICK if mode != "open" else dataclasses.replace(QUICK, commit_reveal=CommitReveal.OFF)
    with LocalLedger.create(base / "ledger", hyperparameters=rules) as ledger:
        populate(ledger, wallet)
        validator = start(chain=ledger, state="base/state")
        rounds = 12
        for _ in range(rounds):
            validator.round()
        if mode == "reveal":
            validator.publish()
            ledger.advance(20)
        validator._history.close()
        validator._cache.close()
    (tmp_path / "tests_of_the_validator.py").symlink_to(Path(__file__))
    ran = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_COMMIT, *map(str, (base, mode, rounds))],
        capture_output=True,
        text=True,
        timeout=170,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 10, "so many states were tried"
