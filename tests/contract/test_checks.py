"""A/A pairs, planted handicaps and ratios: what a claim must stand beside its controls."""

import math

import pytest

from maquette.core.errors import UserError
from maquette.lab.evidence import read_evidence
from maquette.lab.runner import run_study
from maquette.lab.study import Better, Ratio
from maquette.lab.verdicts import Verdict


def test_an_arm_again_is_the_arm_on_other_seeds(bent):
    bent.write(("+ offset + draw}", '+ offset + draw, "seed": float(seed)}')).do(run_study, "tour")
    trials = bent.trials("tour")
    near, again = trials["near.0"], trials["near again.0"]
    assert near.config == again.config
    assert (near.measures["seed"], again.measures["seed"]) == (0, 1_000_000)
    assert near.measures["height"] != again.measures["height"]


def test_a_pair_that_does_not_tie_and_a_handicap_that_is_not_found_make_the_claim_unsound(bent):
    bent.do(run_study, "laptop")
    for check, came_out, verdict in (
        ('Tie("height", "near", "near again", within=0.1', Verdict.REPRODUCED, Verdict.REPRODUCED),
        ('Tie("height", "near", "near again", within=0.001', Verdict.UNDECIDED, Verdict.UNDECIDED),
        ('Tie("height", "near", "farther", within=0.1', Verdict.REFUTED, Verdict.UNSOUND),
        ('Better("height", "near", than="farther", by=0.1', Verdict.REPRODUCED, Verdict.REPRODUCED),
        ('Better("height", "near", than="near again", by=0.1', Verdict.REFUTED, Verdict.UNSOUND),
    ):
        study = bent.write(('Tie("height", "near", "near again", within=0.1', check)).load()
        evidence = read_evidence(study, "laptop", bent.directory / "laptop")
        (judgement,) = evidence.judgements
        assert judgement.test.verdict is Verdict.REPRODUCED
        assert judgement.checks[0].verdict is came_out, check
        assert evidence.verdict is verdict, check


@pytest.mark.parametrize(
    ("factor", "direction", "high", "region"),
    [(0.5, "lower", 0.25, (-math.inf, 0.5)), (2.0, "higher", 0.25, (2.0, math.inf))],
)
def test_a_ratio_is_a_quotient(factor, direction, high, region):
    claim = Better("tokens", "latent", than="words", by=Ratio(factor), direction=direction, text="Shorter", control="c")
    assert claim.effect({"latent": {"tokens": 14.0}, "words": {"tokens": 56.0}}, "latent") == high
    assert claim.region == region
    with pytest.raises(UserError, match="'Shorter' is about a ratio, but tokens of 'words' is 0"):
        claim.effect({"latent": {"tokens": 14.0}, "words": {"tokens": 0.0}}, "latent")
    for latent, words, which in ((-1.0, 1.0, "'latent' is -1"), (-1.0, -2.0, "'words' is -2"), (1.0, -2.0, "-2")):
        with pytest.raises(UserError, match=f"is about a ratio, but tokens of .*{which}; claim a difference"):
            claim.effect({"latent": {"tokens": latent}, "words": {"tokens": words}}, "latent")
