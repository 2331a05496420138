"""The market pays for skill, and cheats earn less than the weakest honest miner."""

import html.parser

import numpy as np
import pytest
from scipy.stats import rankdata

from veridical.network.chain import Hyperparameters
from veridical.network.simulate import market as markets
from veridical.network.simulate.market import Simulation, paid_market, simulate
from veridical.network.simulate.miners import Answers, Challenges, Floats, Others, SimulatedMiner, population
from veridical.network.simulate.page import render
from veridical.network.simulate.validators import VALIDATORS, Media, copied, record_history
from veridical.network.validator.scoring import RULES

COPIER = [validator.name for validator in VALIDATORS].index("weight_copier")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(40, 1)


@pytest.mark.parametrize("rule", RULES)
def test_pay_follows_skill(simulation: Simulation, rule: str) -> None:
    for market in simulation.markets[rule].values():
        honest = [miner for miner in market.miners if miner.kind == "honest"]
        by_skill = rankdata([miner.skill for miner in honest])
        by_pay = rankdata([market.earnings[miner.name] for miner in honest])
        assert market.spearman == pytest.approx(np.corrcoef(by_skill, by_pay)[0, 1])
        assert market.spearman >= 0.9
        assert sum(market.earnings.values()) == pytest.approx(1)


@pytest.mark.parametrize("rule", RULES)
def test_no_cheat_earns_as_much_as_the_weakest_honest_miner(simulation: Simulation, rule: str) -> None:
    for market in simulation.markets[rule].values():
        assert market.paying_cheats == ()
        assert market.earnings["copies_neighbour"] == market.earnings["extra_hotkey_1"] == 0


def test_who_launders_its_history_has_a_new_hotkey_and_waits_for_it() -> None:
    miners = population(100, np.random.default_rng(0))
    launderer = next(miner for miner in miners if miner.name == "launders_history")
    hotkeys = [launderer.hotkey(epoch) for epoch in range(100)]
    rules = Hyperparameters()
    assert hotkeys[0] is not None
    immune = hotkeys.count(hotkeys[0])
    assert immune == rules.immunity_period // rules.tempo
    waits = hotkeys[immune:].index(next(hotkey for hotkey in hotkeys[immune:] if hotkey))
    assert waits * rules.tempo >= rules.coldkey_penalty_period > (waits - 1) * rules.tempo
    assert len({hotkey for hotkey in hotkeys if hotkey}) == 5
    history = record_history(VALIDATORS[0], [launderer], 100, Media(asked=1.0), np.random.default_rng(0))
    assert [set(challenge.answers) for challenge in history] == [
        {hotkeys[challenge.epoch]} - {None} for challenge in history
    ]


def test_a_new_hotkey_has_nothing_of_the_weights_and_bonds_of_the_last() -> None:
    def unasked(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        raise AssertionError("weights are given here")

    always = SimulatedMiner("always", "honest", "", unasked)
    again = SimulatedMiner("again", "honest", "", unasked, stays=4, away=1)
    rows = np.zeros((12, len(VALIDATORS), 2))
    rows[:, :, 0], rows[:, :, 1] = 0.5, 0.5
    for period in (0, 2):
        paid = paid_market([always, again], rows, period).incentive[:, 1]
        for epoch in range(12):
            registered = again.registered(epoch)
            is_paid = registered is not None and epoch - period >= registered
            assert paid[epoch] == (pytest.approx(0.5) if is_paid else 0), (period, epoch)


def test_without_canaries_it_pays_to_look_known_media_up() -> None:
    rng = np.random.default_rng(0)
    miners = [m for m in population(20, rng) if m.name in ("honest_0.55", "looks_up_hashes")]
    right: dict[float, float] = {}
    for canaries in (0.0, 0.5):
        history = record_history(VALIDATORS[0], miners, 20, Media(asked=1.0, known=0.3, canaries=canaries), rng)
        scores = np.array([c.answers["looks_up_hashes"] for c in history], float)
        right[canaries] = float(np.mean((scores > 0.5) == [c.label == 1 for c in history]))
    assert right[0.0] == pytest.approx(0.65, abs=0.07)
    assert right[0.5] == pytest.approx(0.5, abs=0.07)


def test_honest_scores_are_calibrated_and_of_their_auroc() -> None:
    rng = np.random.default_rng(0)
    miner = next(m for m in population(400, rng) if m.name == "honest_0.80")
    history = record_history(VALIDATORS[0], [miner], 400, Media(asked=1.0), rng)
    scores = np.array([c.answers[miner.name] for c in history], float)
    labels = np.array([c.label for c in history])
    wins = scores[labels == 1][:, None] > scores[labels == 0][None, :]
    assert wins.mean() == pytest.approx(miner.skill, abs=0.02)
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (scores >= low) & (scores < low + 0.2)
        assert labels[inside].mean() == pytest.approx(scores[inside].mean(), abs=0.05)


def test_a_copier_sees_this_epochs_weights_in_the_open_and_old_ones_under_commit_reveal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    miners = population(12, np.random.default_rng(0))[:3]
    rows = np.random.default_rng(1).random((12, len(VALIDATORS), 3))
    rows[:, COPIER] = 0
    seen = []

    def watched(visible: Floats, stake: Floats) -> Floats:
        seen.append(visible.copy())
        return copied(visible, stake)

    monkeypatch.setattr(markets, "copied", watched)
    paid_market(miners, rows, 0)
    assert np.array_equal(seen, rows)
    seen.clear()
    paid_market(miners, rows, 3)
    assert np.array_equal(seen[3:], rows[:-3])
    assert not np.any(seen[:3])


def test_the_longer_the_reveal_period_the_less_copying_pays(simulation: Simulation) -> None:
    ratios = {p: m.dividend_ratios["weight_copier"] for p, m in simulation.markets["mcc_acc"].items()}
    assert ratios[0] > 1
    assert ratios[0] >= ratios[1] >= ratios[3] >= ratios[10]


def test_asking_little_makes_worse_weights(simulation: Simulation) -> None:
    for market in (simulation.markets[rule][1] for rule in RULES):
        assert market.dividend_ratios["lazy"] < market.dividend_ratios["honest_1"]


def test_a_market_in_which_nobody_is_paid_has_no_numbers_made_up() -> None:
    miners = population(2, np.random.default_rng(0))
    market = paid_market(miners, np.zeros((2, len(VALIDATORS), len(miners))), 3)
    assert set(market.earnings.values()) == {0.0}
    assert market.spearman == 0.0
    assert set(market.dividend_ratios.values()) == {0.0}


def test_the_page_loads_nothing_and_describes_every_figure(simulation: Simulation) -> None:
    text = render(simulation)
    assert text == render(simulation)
    reader = _Reader()
    reader.feed(text)
    assert reader.addresses == []
    assert len(reader.described) == text.count("<svg") == 2 * len(RULES) + 1
    assert all(len(alt) > 50 for alt in reader.described)
    assert "Cheating pays" not in text


class _Reader(html.parser.HTMLParser):
    """What a page would load, and the descriptions of its figures."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.described: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name in ("src", "href", "xlink:href"):
            address = values.get(name)
            if address and not address.startswith("#"):
                self.addresses.append(address)
        if tag == "script":
            self.addresses.append("script")
        if values.get("role") == "img":
            self.described.append(values.get("aria-label") or "")
