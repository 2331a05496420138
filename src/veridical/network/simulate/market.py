"""The market over many epochs: each validator's history is scored by a rule, and Yuma settles the weights.

Challenges and answers are drawn once and are the same under every rule and reveal period, so that what differs
is the rule's doing. Weights count `reveal_period` epochs after they were set, and nobody sees them before; with
0 they are set in the open, and the copier, who sets last, sees those of this very epoch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from veridical.network.chain import OPEN_COMMITS, yuma
from veridical.network.simulate.miners import TEMPO, Floats, SimulatedMiner, population
from veridical.network.simulate.validators import VALIDATORS, Media, SimulatedValidator, copied, record_history
from veridical.network.validator.scoring import RULES, Scoring
from veridical.network.validator.settlement import ClosedChallenge, settle_epochs

# The last is the longest for which a validator that commits in every epoch has no more than ten open.
REVEAL_PERIODS = (0, 1, 3, OPEN_COMMITS)

# Bittensor's default, and the ledger's.
USUAL_REVEAL_PERIOD = 1


@dataclass(frozen=True, eq=False)
class Market:
    """Pay under one rule and reveal period.

    `incentive` is (epochs, miners), `dividends` (epochs, validators).
    """

    miners: Sequence[SimulatedMiner]
    validators: Sequence[SimulatedValidator]
    incentive: Floats
    dividends: Floats

    @functools.cached_property
    def earnings(self) -> dict[str, float]:
        """Each miner's share of all that miners were paid."""
        paid = self.incentive.sum(axis=0)
        total = paid.sum()
        shares = paid / total if total > 0 else paid
        return dict(zip((miner.name for miner in self.miners), shares.tolist(), strict=True))

    @property
    def spearman(self) -> float:
        """Spearman's correlation of the honest miners' true skill and earnings; 0 if nobody earned."""
        honest = [miner for miner in self.miners if miner.kind == "honest"]
        earned = [self.earnings[miner.name] for miner in honest]
        if len(set(earned)) < 2:
            return 0.0
        return float(spearmanr([miner.skill for miner in honest], earned).statistic)

    @property
    def weakest_honest(self) -> float:
        """The share of the honest miner that earned least; all of them are better than chance."""
        return min(self.earnings[miner.name] for miner in self.miners if miner.kind == "honest")

    @property
    def paying_cheats(self) -> tuple[str, ...]:
        """Cheats that earned something, and as much as the weakest honest miner or more."""
        cheats = [miner.name for miner in self.miners if miner.kind == "cheat"]
        return tuple(name for name in cheats if 0 < self.earnings[name] >= self.weakest_honest)

    @property
    def dividend_ratios(self) -> dict[str, float]:
        """Dividends for each unit of stake in the second half of all epochs; 1 is the honest mean."""
        late = self.dividends[len(self.dividends) // 2 :].sum(axis=0)
        stakes = np.array([validator.stake for validator in self.validators])
        is_honest = np.array([validator.kind == "honest" for validator in self.validators])
        honest = late[is_honest].sum() / stakes[is_honest].sum()
        ratios = late / stakes / honest if honest > 0 else np.zeros(len(late))
        return dict(zip((validator.name for validator in self.validators), ratios.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Simulation:
    """All markets of a run: by rule, then by reveal period."""

    epochs: int
    seed: int
    media: Media
    miners: Sequence[SimulatedMiner]
    validators: Sequence[SimulatedValidator]
    markets: Mapping[str, Mapping[int, Market]]


def simulate(
    epochs: int, seed: int, *, media: Media | None = None, settings: Scoring | None = None
) -> Simulation:
    """Every rule under every reveal period; the same seed gives the same numbers.

    `settings` are those of all validators, but for the rule.
    """
    media = media or Media()
    settings = settings or Scoring()
    rng = np.random.default_rng(seed)
    miners = population(epochs, rng)
    histories = {
        validator.name: record_history(validator, miners, epochs, media, rng)
        for validator in VALIDATORS
        if validator.challenges_per_epoch
    }
    markets = {}
    for rule in RULES:
        rows = _rows(histories, miners, epochs, dataclasses.replace(settings, rule=rule))
        markets[rule] = {period: paid_market(miners, rows, period) for period in REVEAL_PERIODS}
    return Simulation(epochs, seed, media, miners, VALIDATORS, markets)


def paid_market(miners: Sequence[SimulatedMiner], rows: Floats, reveal_period: int) -> Market:
    """Yuma over all epochs; `rows`, (epochs, validators, miners), is what each set, the copier nothing yet."""
    counted = _counted(rows, reveal_period)
    stakes = np.array([validator.stake for validator in VALIDATORS])
    epochs, first = len(rows), len(VALIDATORS)
    n = first + len(miners)
    incentive, dividends = np.zeros((epochs, len(miners))), np.zeros((epochs, first))
    bonds = np.zeros((n, n))
    stake = np.concatenate([np.round(stakes * 1e12), np.zeros(len(miners))]).astype(np.int64)
    for epoch in range(epochs):
        weights = np.zeros((n, n))
        weights[:first, first:] = counted[epoch]
        block = (epoch + 1) * TEMPO
        ended = yuma.run_epoch(
            yuma.Subnet(
                block=block,
                stake=stake,
                last_update=np.full(n, block - 1),
                registered=np.array([0] * first + [_registered(miner, epoch) for miner in miners]),
                permit=stake > 0,
                weights=weights,
                entries=weights > 0,
                bonds=bonds,
                bonded_until=epoch * TEMPO + 1,
                committed=np.full(n, block - 1 - reveal_period * TEMPO),
            ),
            yuma.YumaRules(),
        )
        incentive[epoch], dividends[epoch] = ended.incentive[first:], ended.dividends[:first]
        bonds = ended.bonds
    return Market(miners, VALIDATORS, incentive, dividends)


def _rows(
    histories: Mapping[str, Sequence[ClosedChallenge]],
    miners: Sequence[SimulatedMiner],
    epochs: int,
    settings: Scoring,
) -> Floats:
    rows = np.zeros((epochs, len(VALIDATORS), len(miners)))
    hotkeys = [[miner.hotkey(epoch) or "" for miner in miners] for epoch in range(epochs)]
    for place, validator in enumerate(VALIDATORS):
        history = histories.get(validator.name, ())
        for epoch, settled in settle_epochs(history, settings, registered=lambda epoch: set(hotkeys[epoch])):
            rows[epoch, place] = [settled.weights.get(hotkey, 0.0) for hotkey in hotkeys[epoch]]
    return rows


def _registered(miner: SimulatedMiner, epoch: int) -> int:
    """The block at which the hotkey registered; for none the epoch's last, so that no weight is its own."""
    registered = miner.registered(epoch)
    return (epoch + 1) * TEMPO if registered is None else registered * TEMPO + 1 if registered else 0


def _counted(rows: Floats, reveal_period: int) -> Floats:
    """The weights that count in each epoch, with those that the copier made of what it then could see.

    A copier that commits in epoch e sees what counts in e, set in e - p; its copy counts in e + p, beside what
    the others set in e.
    """
    stakes = np.array([validator.stake for validator in VALIDATORS])
    counted = _delayed(rows, reveal_period)
    copies = np.array([copied(visible, stakes) for visible in counted])
    place = next(i for i, validator in enumerate(VALIDATORS) if not validator.challenges_per_epoch)
    counted[:, place] = _delayed(copies, reveal_period)
    return counted


def _delayed(rows: Floats, epochs: int) -> Floats:
    """Rows that were set so many epochs before; zeros in the first ones."""
    delayed = np.zeros_like(rows)
    delayed[epochs:] = rows[: max(0, len(rows) - epochs)]
    return delayed
