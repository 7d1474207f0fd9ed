"""MonoScore: one pass equals all pairs, shards add up, and what it says of units whose kind is known."""

from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
import world as worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fieldmark.core import layout, store
from fieldmark.core.errors import FieldmarkError
from fieldmark.explain import background_weight, monoscore
from fieldmark.explain._monosemanticity import Sums, accumulate, unit
from fieldmark.explain._units import Units, lifts
from stages import _units, explain
from stages._cell import opened


def by_pairs(activations_NU, embeddings_ND) -> list[float]:
    """The definition, pair by pair."""
    p_ND, a_NU = unit(embeddings_ND), activations_NU - activations_NU.min(0)
    first, second = np.triu_indices(len(p_ND), k=1)
    cosine_P = (p_ND[first] * p_ND[second]).sum(1)
    weight_PU = a_NU[first] * a_NU[second]
    return ((weight_PU * cosine_P[:, None]).sum(0) / weight_PU.sum(0)).tolist()


def drawn(seed: int, n: int = 50, units: int = 6, dims: int = 4):
    """Activations with ties, zeros and negative values; one unit far from zero."""
    random = np.random.default_rng(seed)
    activations_NU = random.normal(size=(n, units)).round(1)
    activations_NU[:, 1] = np.maximum(activations_NU[:, 1], 0)
    activations_NU[:, 2] += 1e6
    return activations_NU, random.normal(size=(n, dims)) * random.uniform(0.1, 10, (n, 1))


# One pass


@pytest.mark.parametrize("seed", range(5))
def test_one_pass_equals_all_pairs(seed):
    activations_NU, embeddings_ND = drawn(seed)
    found = accumulate(activations_NU, embeddings_ND).scores(minimum=1)
    np.testing.assert_allclose(found.score_U, by_pairs(activations_NU, embeddings_ND), atol=1e-9)
    everyone = np.ones((50, 1))
    everyone[0] = 0  # all but one fire alike: of the others, the score is the chance
    score = accumulate(everyone, embeddings_ND).scores(minimum=1).score_U[0]
    assert score == pytest.approx(accumulate(everyone[1:], embeddings_ND[1:]).scores().chance)


def test_the_raw_sums_of_the_paper_give_the_same():
    activations_NU, embeddings_ND = drawn(0)
    a_NU, p_ND, n = np.delete(activations_NU, 2, axis=1), unit(embeddings_ND), 50  # far from zero they cancel
    s1, s2, v_UD, q_D, m = a_NU.sum(0), (a_NU**2).sum(0), a_NU.T @ p_ND, p_ND.sum(0), a_NU.min(0)
    u, v, w_UD = s1 - n * m, s2 - 2 * m * s1 + n * m**2, v_UD - m[:, None] * q_D
    found = accumulate(a_NU, embeddings_ND).scores()
    np.testing.assert_allclose(found.score_U, ((w_UD**2).sum(1) - v) / (u**2 - v), atol=1e-12)
    np.testing.assert_allclose(found.effective_U, u**2 / v)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.csr_matrix])
def test_sparse_and_dense_are_the_same(form):
    activations_NU, embeddings_ND = drawn(1)
    activations_NU[np.abs(activations_NU) < 0.8] = 0  # units with negative values and zeros, or far from zero
    one, other = accumulate(activations_NU, embeddings_ND), accumulate(form(activations_NU), embeddings_ND)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-9)


def test_entries_of_a_sparse_matrix_that_lie_on_each_other_are_one():
    twice = sparse.csr_array(([1.0, 2.0, 3.0], [0, 0, 0], [0, 2, 3]), shape=(2, 1))
    assert accumulate(twice, np.eye(2)).v_U == accumulate(np.array([[3.0], [3.0]]), np.eye(2)).v_U == 0


def test_single_precision_goes_in_and_is_summed_in_double():
    activations_NU, embeddings_ND = (one.astype(np.float32) for one in drawn(2))
    found = accumulate(activations_NU, embeddings_ND).scores(minimum=1)
    exact = by_pairs(activations_NU.astype(np.float64), embeddings_ND.astype(np.float64))
    np.testing.assert_allclose(found.score_U, exact, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 60), st.integers(0, 59), st.booleans())
def test_shards_add_up_in_any_order(draw, n, cuts, as_sparse):
    activations_NU, embeddings_ND = drawn(draw.randint(0, 10**6), n)
    activations_NU = np.delete(activations_NU, 2, axis=1)  # 1e6 in a sum costs digits of the least that it can be told
    order = draw.sample(range(n), n)
    ends = sorted(draw.sample(range(1, n), min(cuts, n - 1)))
    shards = np.split(np.array(order), ends)
    form = sparse.csr_array if as_sparse else np.asarray
    parts = [accumulate(form(activations_NU[rows]), embeddings_ND[rows]) for rows in shards]
    draw.shuffle(parts)
    whole, merged = accumulate(activations_NU, embeddings_ND), reduce(Sums.merge, parts)
    assert merged.n == n
    for a, b in zip(whole.scores(minimum=1.5), merged.scores(minimum=1.5), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_pass_in_small_parts_is_the_same(monkeypatch):
    activations_NU, embeddings_ND = drawn(3)
    whole = accumulate(activations_NU, embeddings_ND).scores()
    monkeypatch.setattr("fieldmark.explain._monosemanticity.CHUNK", 20)  # three examples at a time
    for form in (np.asarray, sparse.csr_array):
        parts = accumulate(form(activations_NU), embeddings_ND).scores()
        np.testing.assert_allclose(parts.score_U, whole.score_U, atol=1e-9)


# Known answers


def two_kinds(each: int = 12):
    """Two kinds of example, at right angles: cosine 1 within, 0 across."""
    kind_N = np.repeat([0, 1], each)
    return kind_N, np.eye(2)[kind_N]


def test_a_unit_of_one_kind_scores_one_and_a_unit_of_all_is_at_chance():
    kind_N, looks_ND = two_kinds()
    n = len(kind_N)
    one_kind, nobody, few = kind_N == 0, np.full(n, 0.7), np.arange(n) < 9
    most = np.arange(n) > 0  # of 23 that fire: 11 of one kind, 12 of the other
    found = accumulate(np.stack([one_kind, nobody, few, most], axis=1) * 3.0, looks_ND).scores()
    np.testing.assert_allclose(found.score_U, [1, np.nan, np.nan, (11 * 10 + 12 * 11) / (23 * 22)])
    assert found.chance == pytest.approx(11 / 23)  # of 23 others, 11 are alike
    np.testing.assert_allclose(found.lift_U[:1], 1)
    np.testing.assert_allclose(found.effective_U, [12, 0, 9, 23])
    assert (found.dead, found.ignored) == (0.25, 0.25)


def test_unequal_activations_weigh_pairs_by_their_product():
    # Pairs: (1, 2) alike with weight 2 * 1; (1, 3) and (2, 3) not, with weights 2 * 3 and 1 * 3. The fourth is silent.
    looks_ND = np.array([[1.0, 0], [1, 0], [0, 1], [1, 1]])
    found = accumulate(np.array([[2.0], [1], [3], [0]]), looks_ND).scores(minimum=1)
    assert found.score_U[0] == pytest.approx(2 / (2 + 6 + 3))
    assert found.effective_U[0] == pytest.approx(36 / 14)


def test_scale_and_offset_of_a_unit_change_nothing():
    activations_NU, embeddings_ND = drawn(4)
    one = accumulate(activations_NU, embeddings_ND).scores()
    other = accumulate(7 * activations_NU - 3, 0.1 * embeddings_ND).scores()
    np.testing.assert_allclose(one.score_U, other.score_U, atol=1e-9)


def test_a_constant_is_dead_however_it_is_stored():
    for form in (np.asarray, sparse.csr_array):
        halves = [accumulate(form(np.full((7, 1), -0.3)), np.random.default_rng(k).normal(size=(7, 3))) for k in (0, 1)]
        assert halves[0].merge(halves[1]).scores().dead == 1


def test_where_all_look_the_same_there_is_nothing_above_chance():
    found = accumulate(drawn(0)[0], np.full((50, 3), 0.3)).scores()
    np.testing.assert_allclose(found.score_U, 1)
    assert np.isnan(found.lift_U).all()


@pytest.mark.parametrize(
    ("activations_NU", "embeddings_ND", "says"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), "activations of 2 and embeddings of 3"),
        (np.ones((0, 3)), np.ones((0, 2)), "activations of 0"),
        (np.ones((2, 3)), np.eye(3)[:2] * [[1], [0]], "1 of 2 embeddings are zero"),
        (np.array([[np.nan]]), np.ones((1, 2)), "an activation is not finite"),
        (sparse.csr_array([[np.inf]]), np.ones((1, 2)), "an activation is not finite"),
    ],
)
def test_a_mistake_is_told(activations_NU, embeddings_ND, says):
    with pytest.raises(FieldmarkError, match=says):
        accumulate(activations_NU, embeddings_ND)


# What one example adds


def test_what_an_example_adds_is_the_derivative_by_its_weight():
    activations_NU, embeddings_ND = drawn(5)
    found, moved_NU = lifts(activations_NU, embeddings_ND, 1)
    a_NU, p_ND = (torch.from_numpy(x) for x in (activations_NU - activations_NU.min(0), unit(embeddings_ND)))
    a_NU = a_NU.double()

    def weighted(times_N: torch.Tensor) -> torch.Tensor:
        """The lift, where an example counts so many times, and never forms a pair with itself."""

        def share(a_NU: torch.Tensor) -> torch.Tensor:
            t_NU = times_N[:, None] * a_NU
            own_U = (t_NU**2).sum(0)
            return (((t_NU.T @ p_ND) ** 2).sum(1) - own_U) / (t_NU.sum(0) ** 2 - own_U)

        chance = share(torch.ones_like(a_NU[:, :1]))
        return (share(a_NU) - chance) / (1 - chance)

    ones_N = torch.ones(50, dtype=torch.float64)
    np.testing.assert_allclose(weighted(ones_N), found.lift_U, atol=1e-9)
    derivative_UN = torch.autograd.functional.jacobian(weighted, ones_N)
    np.testing.assert_allclose(moved_NU, 50 * derivative_UN.T.numpy(), atol=1e-7)
    np.testing.assert_allclose(moved_NU.sum(0), 0, atol=1e-9)


def sample(seed: int, n: int = 120, units: int = 60, dims: int = 6) -> Units:
    """Objects and backgrounds of four kinds each, and units that follow both in part: the same in every sample."""
    fixed, random = np.random.default_rng(99), np.random.default_rng(seed)
    objects_4D, scenes_4D = fixed.normal(size=(2, 4, dims))
    reads_object_4U, reads_scene_4U = fixed.random((2, 4, units))
    mix_U, weight_KU = fixed.random(units), fixed.normal(size=(2, units))
    object_N, scene_N = random.integers(0, 4, (2, n))
    foreground_ND = objects_4D[object_N] + 0.3 * random.normal(size=(n, dims))
    background_ND = scenes_4D[scene_N] + 0.3 * random.normal(size=(n, dims))
    told_NU = mix_U * reads_object_4U[object_N] + (1 - mix_U) * reads_scene_4U[scene_N]
    fires_NU = np.maximum(told_NU - 0.3 + 0.2 * random.normal(size=(n, units)), 0)
    return Units(fires_NU, weight_KU, foreground_ND + background_ND, foreground_ND, background_ND)


def measured(units: Units | None, **options):
    return monoscore.score(units=lambda: units, **options) | background_weight.score(units=lambda: units, **options)


def test_the_spread_between_samples_is_what_the_observations_of_one_say():
    samples = [measured(sample(seed)) for seed in range(150)]
    for metric in ("mono_lift", "mono_fg_minus_bg", "mono_effective_n", "mono_background_weight"):
        spread = np.std([one[metric].value for one in samples])
        said = np.sqrt(np.mean([one[metric].values.var() / len(one[metric].values) for one in samples]))
        assert 0.8 < said / spread < 1.3, metric


def test_the_mean_of_the_observations_is_the_measure():
    units = sample(0)
    found = measured(units)
    whole, object_, scene = (accumulate(units.activations_NU, one).scores() for one in units[2:])
    more_U, weight_U = object_.lift_U - scene.lift_U, np.abs(units.weight_KU).sum(0)
    assert {metric: score.value for metric, score in found.items()} == {
        "mono_lift": pytest.approx(whole.lift_U.mean()),
        "mono_fg_minus_bg": pytest.approx(more_U.mean()),
        "mono_dead": 0,
        "mono_effective_n": pytest.approx(whole.effective_U.mean()),
        "mono_background_weight": pytest.approx(weight_U[more_U < 0].sum() / weight_U.sum()),
    }
    assert found["mono_background_weight"].chance == pytest.approx((more_U < 0).mean())
    for score in found.values():
        assert score.rows.tolist() == [*range(120)]


# The measures


def crossed(weight_KU) -> Units:
    """Two kinds of object on two kinds of background, evenly: two units fire on an object, two on a background."""
    object_N, scene_N = np.divmod(np.arange(60) % 4, 2)
    objects_ND, scenes_ND = np.eye(2)[object_N], np.eye(2)[scene_N]
    whole_ND = np.concatenate([objects_ND, scenes_ND], axis=1)
    return Units(np.concatenate([objects_ND, scenes_ND, np.ones((60, 1))], 1), np.array(weight_KU), *(
        whole_ND, objects_ND, scenes_ND,
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("weight_KU", "expected"),
    [
        ([[3.0, -1, 0, 0, 0], [-3, 1, 0, 0, 0]], 0),  # reads the object alone
        ([[0.0, 0, 2, -2, 0], [0, 0, 1, 1, 0]], 1),  # reads the background alone
        ([[3.0, 0, -1, 0, 9], [-3, 0, 1, 0, 9]], 0.25),  # a dead unit's weight counts nowhere
        ([[0.0, 0, 0, 0, 1], [0, 0, 0, 0, 1]], np.nan),
    ],
)
def test_the_weight_of_a_classifier_whose_reading_is_known(weight_KU, expected):
    found = measured(crossed(weight_KU))
    assert found["mono_background_weight"].value == pytest.approx(expected, nan_ok=True)
    if np.isfinite(expected):
        assert found["mono_background_weight"].chance == 0.5  # two of the four that live


def test_units_of_known_kinds():
    found = measured(crossed(np.ones((2, 5))))
    # A unit fires on the 30 with one object: of 29 others, 14 share the background too and are alike; 15 are half so.
    # Of any 59 others, 14 are alike, 30 half so.
    chance, alike = (14 + 30 / 2) / 59, (14 + 15 / 2) / 29
    assert found["mono_lift"].value == pytest.approx((alike - chance) / (1 - chance))
    assert found["mono_fg_minus_bg"].value == pytest.approx(0, abs=1e-12)  # as many of the one kind as of the other
    assert found["mono_dead"].value == pytest.approx(0.2)
    assert found["mono_effective_n"].value == 30


def test_no_unit_fires_on_enough_examples():
    found = measured(crossed(np.ones((2, 5))), minimum=31)
    for metric in ("mono_lift", "mono_fg_minus_bg", "mono_background_weight"):
        assert np.isnan(found[metric].value)
        assert found[metric].counts() == {"all": 0}
    assert found["mono_effective_n"].value == 30


def test_without_a_last_layer_there_is_nothing_to_say():
    assert measured(None) == {}


# In the flow


def test_explain_reads_the_units_of_each_model(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "copy")
    worlds.write_params(root, explain={"measures": {"monoscore": {"minimum": 5}, "background_weight": {"minimum": 5}}})
    params, told = worlds.load(root), {}
    for model in ("erm", "ersm", "oracle_mask", "zoom_norm"):
        explain.main(params, root, model, 0)
        told[model] = store.read_json(layout.explained(root, model, 0))["test"]
    names = {"mono_lift", "mono_fg_minus_bg", "mono_dead", "mono_effective_n", "mono_background_weight"}
    assert {model: set(one) for model, one in told.items()} == {**dict.fromkeys(told, names), "zoom_norm": set()}
    view, module = opened(params, root, "oracle_mask", 0)
    recipes = view.part("test")
    units = _units.units(view, module, [*view.in_order(recipes)], recipes)()
    assert units is not None
    # shown the object alone, it pools all: what its last layer reads is how the object looks
    np.testing.assert_allclose(units.activations_NU, units.foreground_ND, rtol=1e-5)
    assert np.abs(units.whole_ND - units.foreground_ND).max() > 0.01
    assert np.abs(units.whole_ND - units.background_ND).max() > 0.01
    assert told["oracle_mask"]["mono_lift"]["value"] == pytest.approx(
        np.nanmean(lifts(units.activations_NU, units.whole_ND, 5).found.lift_U)  # the small backbone has dead units
    )
