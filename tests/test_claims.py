"""The ledger judges claims by their numbers, and says what it takes to judge the others."""

from types import SimpleNamespace

import pytest
from reported import ROOT, UNKNOWN, Measured, ledger

from fieldmark.core import params, plugins
from fieldmark.report import claims, leaderboard, verdicts
from fieldmark.report._claim import Claim, needed


@pytest.mark.parametrize(
    ("mean", "low", "high", "threshold", "expected"),
    [
        (0.18, 0.12, 0.24, 0.1, "supported"),
        (0.06, 0.02, 0.12, 0.1, "partly"),
        (0.12, -0.01, 0.25, 0.1, "inconclusive"),
        (-0.05, -0.09, -0.01, 0.1, "refuted"),
        (0.02, 0.0, 0.04, 0.0, "inconclusive"),  # the end of the interval touches zero
        (-0.004, -0.009, 0.001, -0.01, "supported"),  # at most a point is lost
        (-0.004, -0.02, 0.01, -0.01, "inconclusive"),
        (-0.03, -0.05, -0.02, -0.01, "refuted"),
        (UNKNOWN, UNKNOWN, UNKNOWN, 0.0, "inconclusive"),
    ],
)
def test_verdicts(mean, low, high, threshold, expected):
    assert claims.verdict(SimpleNamespace(mean=mean, low=low, high=high), threshold) == expected


@pytest.mark.parametrize(
    ("mean", "low", "high", "bar", "expected"),
    [
        (1.05, 0.9, 1.2, verdicts.Bar(1.0, floor=0.85), "supported"),
        (1.05, 0.8, 1.3, verdicts.Bar(1.0, floor=0.85), "partly"),  # too uncertain
        (0.95, 0.9, 1.0, verdicts.Bar(1.0, floor=0.85), "partly"),  # too little
        (0.3, -0.1, 0.7, verdicts.Bar(1.0, floor=0.85), "inconclusive"),
        (0.0, -0.03, 0.01, verdicts.Bar(0.02, at_most=True), "supported"),
        (0.01, -0.03, 0.03, verdicts.Bar(0.02, at_most=True), "inconclusive"),
        (0.05, 0.03, 0.07, verdicts.Bar(0.02, at_most=True), "refuted"),
    ],
)
def test_verdicts_of_shares_and_of_little_gains(mean, low, high, bar, expected):
    assert claims.verdict(SimpleNamespace(mean=mean, low=low, high=high), *bar) == expected


def test_every_claim_is_in_the_ledger_and_says_what_it_takes():
    nothing = claims.ledger(Measured({}))
    assert [entry["name"] for entry in nothing] == [claim.name for claim in claims.CLAIMS]
    assert {entry["verdict"] for entry in nothing} == {"not run"}
    assert all(entry["needs"] for entry in nothing)
    half = {entry["name"]: entry for entry in ledger()}
    assert half["E5"]["verdict"] == "supported"
    assert half["E5 norm"]["needs"] == ["token_auc of token_norm"]
    assert set(half["Z1"]) == set(half["E5"]), "what was run and what was not have the same keys"


def test_claims_have_names_of_their_own_and_say_no_word_twice():
    assert len({claim.name for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    assert len({claim.claim for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    assert len({claim[3:] for claim in claims.CLAIMS}) == len(claims.CLAIMS), (
        "two claims are decided by the same numbers"
    )


def test_every_claim_is_run_by_a_preset_and_names_measures_there_are():
    presets = [params.load(path) for path in sorted((ROOT / "params").glob("papers*.yaml"))]
    own = {
        metric for name in plugins.names("models") for metric in getattr(plugins.find("models", name), "MEANINGS", {})
    }
    for claim in claims.CLAIMS:
        models = {model for model, _, _ in needed(claim)}
        assert any(models <= set(preset.models) for preset in presets), f"no preset runs {claim.name}: {models}"
        metrics = {metric for _, metric, _ in needed(claim)}
        assert metrics <= own | set(leaderboard._TITLES), f"{claim.name} names a measure that nothing measures"


def test_a_share_is_judged_by_the_share():
    claim = Claim("Z", "Closes half.", "ours", ("zoom", "w"), ("erm", "w"), 0.5, full=("truth", "w"), floor=0.4)
    entry = claims.entry(claim, Measured({("zoom", "w"): 0.8, ("erm", "w"): 0.6, ("truth", "w"): 1.0}))
    assert entry["difference"]["mean"] == pytest.approx(0.5)
    assert entry["verdict"] == "supported"
    assert claims.evidence(entry) == (
        "w of zoom: share of the way from erm to truth: 0.500 [0.460, 0.540], claimed: at least 0.500,"
        " lower end at least 0.400"
    )


def test_of_several_models_validation_chooses_and_test_judges():
    claim = Claim("K", "Something helps.", "ours", (("a", "b"), "w"), ("erm", "w"))
    means = {("a", "w"): 0.9, ("b", "w"): 0.7, ("erm", "w"): 0.6, ("a", "w", "val"): 0.5, ("b", "w", "val"): 0.8}
    entry = claims.entry(claim, Measured(means))
    assert entry["models"] == ["b", "erm"]
    assert entry["difference"]["mean"] == pytest.approx(0.1)
    assert "b: best on validation" in claims.evidence(entry)
    del means["a", "w", "val"]
    assert claims.entry(claim, Measured(means))["needs"] == ["w of a on validation"]


def test_a_model_unknown_on_validation_is_not_chosen():
    claim = Claim("K", "Something helps.", "ours", (("a", "b"), "w"))
    means = {(m, "w", part): 0.5 for m in "ab" for part in ("test", "val")} | {("a", "w", "val"): UNKNOWN}
    assert claims.entry(claim, Measured(means))["models"] == ["b"]
