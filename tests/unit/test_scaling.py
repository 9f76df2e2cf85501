import numpy as np
import pytest
from scipy.optimize import check_grad, minimize_scalar

from maquette.core.errors import UserError
from maquette.lab.frontiers import bootstrap_frontier, fit_envelope, fit_isoflop
from maquette.lab.laws import (
    CHINCHILLA_OMEGA,
    PUBLISHED,
    Hoffmann,
    Kaplan,
    non_embedding_budget,
    non_embedding_exponent,
    published,
)
from maquette.lab.scaling import _FORMS, _descend, _logs, bootstrap_law, fit_law, grid_starts
from maquette.lab.scaling_runs import Run, planted_runs, read_runs

BESIROGLU = PUBLISHED["besiroglu"].law
LAPTOP = Hoffmann(E=1.2, A=60.0, B=150.0, alpha=0.35, beta=0.40)
"""Losses of 1.7 to 3.9 nats over the sizes and token counts of a study on two cores."""


def measured(law, parameters, tokens, noise=0.0, seed=0):
    losses = law.loss(parameters, tokens) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(tokens)))
    return [Run(parameters=n, tokens=d, loss=v) for n, d, v in zip(parameters, tokens, losses, strict=True)]


def chinchilla_runs(noise=0.005):
    return planted_runs(BESIROGLU, count=245, noise=noise, seed=1)


def laptop_runs(count, seed, noise=0.005, law=LAPTOP):
    rng = np.random.default_rng(seed)
    parameters = np.geomspace(2e4, 5e6, 6)[np.arange(count) % 6]
    return measured(law, parameters, np.exp(rng.uniform(np.log(2e5), np.log(3e7), count)), noise, seed)


def curves(law, sizes=24, points=24):
    grid = [(n, d) for n in np.geomspace(2e4, 5e6, sizes) for d in np.geomspace(2e5, 3e7, points)]
    return measured(law, *np.array(grid).T)


@pytest.mark.parametrize("form", list(_FORMS))
def test_jacobians_are_those_of_the_equations(form):
    shape = _FORMS[form]
    n, d = np.log([3e6]), np.log([7e8])
    for theta in grid_starts(form, 8) + 0.3:
        error = check_grad(
            lambda t: shape.predict(t, n, d)[0].sum(), lambda t: shape.predict(t, n, d)[1].sum(-1), theta
        )
        assert error < 1e-4
        np.testing.assert_allclose(np.exp(shape.predict(theta, n, d)[0]), shape.law(theta).loss(np.exp(n), np.exp(d)))


def test_noise_free_law_is_recovered_to_seven_digits():
    fit = fit_law(chinchilla_runs(noise=0.0))
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(fit.law, name) == pytest.approx(getattr(BESIROGLU, name), rel=1e-7)
    assert fit.convergence.warning is None


def test_summed_fit_recovers_the_planted_law_and_the_averaged_fit_stops_early():
    runs = chinchilla_runs()
    summed, averaged = fit_law(runs), fit_law(runs, reduction="mean")

    assert summed.law.a == pytest.approx(BESIROGLU.a, abs=0.02)
    assert abs(summed.law.E - BESIROGLU.E) < 0.03
    assert summed.convergence.warning is None

    assert averaged.objective > 1.5 * summed.objective
    assert abs(averaged.law.a - BESIROGLU.a) > 0.05
    assert "stopped before an optimum" in averaged.convergence.warning


def test_the_reduction_alone_is_the_published_error():
    """Same starts, same optimiser, same tolerances, no polishing: only the division by n differs."""
    logs = _logs(chinchilla_runs(), "total")
    shape, starts = _FORMS["hoffmann"], grid_starts("hoffmann", 100)

    def best(reduction):
        ends = _descend(shape, starts, *logs, reduction)
        residuals = np.abs(shape.predict(ends, *logs[:2])[0] - logs[2])
        return np.where(residuals <= 1e-3, residuals**2 / 2, 1e-3 * (residuals - 5e-4)).sum(-1).min()

    assert best("sum") == pytest.approx(fit_law(chinchilla_runs()).objective, rel=1e-4)
    assert best("mean") > 1.5 * best("sum")


def test_shuffled_sizes_fit_badly():
    runs = chinchilla_runs()
    sizes = np.random.default_rng(0).permutation([run.parameters for run in runs])
    shuffled = [Run(parameters=n, tokens=run.tokens, loss=run.loss) for n, run in zip(sizes, runs, strict=True)]
    fit = fit_law(shuffled)
    assert fit.objective > 5 * fit_law(runs).objective
    assert fit.convergence.warning is not None


@pytest.mark.parametrize(("count", "seed"), [(25, 0), (30, 1), (40, 2)])
def test_default_starts_cover_a_laptop_study(count, seed):
    runs = laptop_runs(count, seed)
    fit = fit_law(runs)
    assert fit.law.a == pytest.approx(LAPTOP.a, abs=0.06)
    assert fit.law.loss(2e7, 3e8) == pytest.approx(LAPTOP.loss(2e7, 3e8), rel=0.05)
    assert fit.convergence.warning is None
    assert fit.convergence.agreeing > 0.3
    assert fit.objective <= fit_law(runs, starts=400).objective * (1 + 1e-6)


@pytest.mark.parametrize("law", [Hoffmann(E=2.0, A=400.0, B=900.0, alpha=0.5, beta=0.55), LAPTOP])
def test_no_floor_fits_worse_than_the_law_that_has_one(law):
    runs = laptop_runs(36, 3, law=law)
    full, bare = fit_law(runs), fit_law(runs, form="no-floor")
    assert bare.law.E == 0
    assert bare.objective > 1.5 * full.objective
    assert abs(full.law.E - law.E) < 0.15


def test_kaplan_law_is_recovered():
    law = PUBLISHED["kaplan-joint"].law
    runs = chinchilla_runs()
    n, d = np.array([(run.parameters, run.tokens) for run in runs]).T
    fit = fit_law(measured(law, n, d), form="kaplan")
    assert fit.law.alpha_N == pytest.approx(0.076, rel=1e-6)
    assert fit.law.alpha_D == pytest.approx(0.103, rel=1e-6)
    assert fit.law.N_c == pytest.approx(6.4e13, rel=1e-5)


@pytest.mark.parametrize("law", [LAPTOP, BESIROGLU, Kaplan(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)])
def test_closed_form_optimum_minimises_the_loss(law):
    compute = 1e18
    best = minimize_scalar(
        lambda x: law.loss(np.exp(x), compute / (6 * np.exp(x))),
        bounds=(5, 30),
        method="bounded",
        options={"xatol": 1e-9},
    )
    split = law.optimal(compute)
    assert split.parameters == pytest.approx(np.exp(best.x), rel=1e-3)
    assert 6 * split.parameters * split.tokens == pytest.approx(compute)
    assert law.frontier.for_parameters(split.parameters).compute == pytest.approx(compute)
    assert law.frontier.for_tokens(split.tokens).compute == pytest.approx(compute)


def test_three_approaches_agree_on_noise_free_runs():
    runs = curves(LAPTOP)
    envelope, isoflop = fit_envelope(runs), fit_isoflop(runs, budgets=np.geomspace(1e12, 1e14, 7))
    assert fit_law(runs).law.a == pytest.approx(LAPTOP.a, abs=1e-6)
    assert envelope.a == pytest.approx(LAPTOP.a, abs=0.005)
    assert isoflop.a == pytest.approx(LAPTOP.a, abs=0.005)
    assert envelope.a + envelope.b == pytest.approx(1)
    for fit in (envelope, isoflop):
        assert fit.frontier.optimal(1e13).parameters == pytest.approx(LAPTOP.optimal(1e13).parameters, rel=0.1)
        assert all(6 * point.parameters * point.tokens == pytest.approx(point.compute) for point in fit.points)


def test_isoflop_groups_runs_of_equal_compute_and_drops_budgets_without_a_minimum():
    rows = []
    for compute in np.geomspace(1e12, 1e14, 5):
        best = LAPTOP.optimal(compute).parameters
        rows += [(n, compute / (6 * n)) for n in np.geomspace(best / 5, best * 5, 7)]
    best = LAPTOP.optimal(1e15).parameters
    rows += [(n, 1e15 / (6 * n)) for n in np.geomspace(best / 50, best / 10, 7)]  # all too small
    rows += [(n, 1e16 / (6 * n)) for n in (1e6, 2e6)]
    fit = fit_isoflop(measured(LAPTOP, *np.array(rows).T))
    assert fit.a == pytest.approx(LAPTOP.a, abs=1e-3)
    assert len(fit.points) == 5
    assert "outside the sizes" in fit.dropped[0]
    assert "2 sizes" in fit.dropped[1]


def test_frontiers_refuse_runs_that_bracket_nothing():
    one_size = measured(LAPTOP, np.full(5, 1e5), np.geomspace(1e6, 1e7, 5))
    with pytest.raises(UserError, match="Approach 1 needs two or more sizes"):
        fit_envelope(one_size)
    with pytest.raises(UserError, match="Approach 2 needs two budgets"):
        fit_isoflop(one_size)
    with pytest.raises(UserError, match="needs curves"):
        fit_envelope(measured(LAPTOP, np.geomspace(1e5, 1e6, 5), np.full(5, 1e7)))
    with pytest.raises(UserError, match="do not determine"):
        fit_law(one_size)


def test_bootstrap_intervals_cover_the_planted_exponent():
    """At 95 %, thirteen of fifteen or more: fewer has a chance below 4 %."""
    covered = 0
    for seed in range(15):
        runs = laptop_runs(36, seed)
        interval = bootstrap_law(fit_law(runs, starts=10), runs, resamples=150)["a"]
        covered += interval.low <= LAPTOP.a <= interval.high
        assert 0.005 < interval.high - interval.low < 0.15
    assert covered >= 13


def test_bootstrap_is_seeded_and_draws_curves_whole():
    runs = laptop_runs(36, 0)
    fit = fit_law(runs)
    assert bootstrap_law(fit, runs, resamples=50) == bootstrap_law(fit, runs, resamples=50)
    assert bootstrap_law(fit, runs, resamples=50, seed=1) != bootstrap_law(fit, runs, resamples=50)

    # one error shared by all points of a curve: drawing points alone would understate it
    rng = np.random.default_rng(5)
    shared = [
        Run(parameters=n, tokens=d, loss=LAPTOP.loss(n, d) * error, curve=f"{index}")
        for index, n in enumerate(np.geomspace(2e4, 5e6, 12))
        for error in [np.exp(0.01 * rng.standard_normal())]
        for d in np.geomspace(2e5, 3e7, 6)
    ]
    alone = [Run(parameters=run.parameters, tokens=run.tokens, loss=run.loss) for run in shared]
    fit = fit_law(shared)
    whole, single = (bootstrap_law(fit, runs, resamples=200)["alpha"] for runs in (shared, alone))
    assert whole.high - whole.low > 1.3 * (single.high - single.low)


def test_bootstrap_of_frontiers_covers_on_noise_free_runs():
    runs = curves(LAPTOP, sizes=12, points=12)
    for fit in (fit_envelope(runs), fit_isoflop(runs, budgets=np.geomspace(1e12, 1e14, 6))):
        intervals = bootstrap_frontier(fit, runs, resamples=100)
        assert intervals["a"].low < LAPTOP.a < intervals["a"].high
        assert intervals["b"].low == pytest.approx(1 - intervals["a"].high)


def test_counting_switch_moves_the_exponent():
    """Embeddings of N^(1/3): the same runs, counted without them, show a steeper frontier (Pearce & Song)."""
    runs = []
    for bare in np.geomspace(1e5, 1e8, 20):
        total = bare + CHINCHILLA_OMEGA * bare ** (1 / 3)
        for tokens in np.geomspace(1e7, 1e11, 12):
            runs.append(Run(parameters=total, tokens=tokens, loss=BESIROGLU.loss(total, tokens), non_embedding=bare))
    assert fit_law(runs).law.a == pytest.approx(BESIROGLU.a, abs=1e-5)
    assert fit_law(runs, counting="non-embedding").law.a > BESIROGLU.a + 0.1
    with pytest.raises(UserError, match="no non_embedding count"):
        fit_law(chinchilla_runs(), counting="non-embedding")


@pytest.mark.parametrize(("name", "paper"), [("besiroglu", 0.78), ("hoffmann-3", 0.74)])
def test_non_embedding_exponent_over_kaplans_range(name, paper):
    law = PUBLISHED[name].law
    sizes = np.geomspace(768, 1.5e9, 20)
    budgets = non_embedding_budget(law, sizes, CHINCHILLA_OMEGA)
    assert np.polyfit(np.log(budgets), np.log(sizes), 1)[0] == pytest.approx(paper, abs=0.012)

    dense = np.geomspace(1e5, 1e7, 2000)
    numeric = np.gradient(np.log(dense), np.log(non_embedding_budget(law, dense, CHINCHILLA_OMEGA)))
    np.testing.assert_allclose(non_embedding_exponent(law, dense, CHINCHILLA_OMEGA)[1:-1], numeric[1:-1], rtol=1e-4)
    assert non_embedding_exponent(law, np.array([1e15]), CHINCHILLA_OMEGA)[0] == pytest.approx(law.a, abs=1e-3)
    np.testing.assert_allclose(non_embedding_exponent(law, dense, 0.0), law.a)


@pytest.mark.parametrize(
    ("name", "billions", "ratio"),
    [("hoffmann-3-rounded", 32.2, 93), ("hoffmann-3", 40.4, 59), ("besiroglu", 72.2, 18.4)],
)
def test_published_optima_at_gophers_budget(name, billions, ratio):
    split = published(name).frontier.optimal(5.76e23)
    assert split.parameters / 1e9 == pytest.approx(billions, rel=0.005)
    assert split.tokens / split.parameters == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "compute", "tokens"),
    [
        ("hoffmann-1", 1e9, 1.21e20, 20.2e9),
        ("hoffmann-1", 1e12, 1.27e26, 21.2e12),
        ("hoffmann-2", 1e9, 1.20e20, 20.0e9),
        ("hoffmann-2", 1e12, 1.59e26, 26.5e12),
        ("hoffmann-3", 1e9, 1.62e20, 27.1e9),
        ("hoffmann-3", 1e12, 5.65e26, 94.1e12),
    ],
)
def test_frontiers_give_the_papers_tables(name, parameters, compute, tokens):
    """Rows of tables 3 and A3 off the anchor; rounded exponents leave tens of per cent over three decades."""
    split = published(name).frontier.for_parameters(parameters)
    assert split.compute == pytest.approx(compute, rel=0.3)
    assert split.tokens == pytest.approx(tokens, rel=0.3)


def test_llama_3_constants_as_printed_miss_its_own_extrapolation():
    assert published("llama-3").frontier.optimal(3.8e25).tokens == pytest.approx(16.55e12)
    assert published("llama-3-printed").frontier.optimal(3.8e25).tokens == pytest.approx(10.5e12, rel=0.01)
    with pytest.raises(UserError, match="did you mean 'besiroglu'"):
        published("besiroglou")


def test_csv_is_read(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "\ufefflr,loss,parameters,tokens,non_embedding,curve\n1e-3,3.5,1e5,2e6,8e4,x\n1e-3,3.1,2e5,2e6,,\n",
        encoding="utf-8",
    )
    first, second = read_runs(path)
    assert first == Run(parameters=1e5, tokens=2e6, loss=3.5, non_embedding=8e4, curve="x")
    assert second == Run(parameters=2e5, tokens=2e6, loss=3.1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'parameters' in line 1"),
        (b"parameters;tokens;loss\n1;2;3\n", "has semicolons between its columns in line 1; save it with commas"),
        (b"parameters,tokens,los\n1,2,3\n", "no column 'loss' in line 1; did you mean 'los'"),
        (b"parameters,tokens,loss\n", "no runs below its header"),
        (b"parameters,tokens,loss\n1e5,1e6,3.1\n1e5,many,3.0\n", "line 3, column 'tokens': 'many' is not a positive"),
        (b"parameters,tokens,loss\n1e5,1e6\n", "line 2, column 'loss': '' is not"),
        (b"parameters,tokens,loss\n1e5,1e6,nan\n", "line 2, column 'loss': 'nan' is not"),
        (b"parameters,tokens,loss\n1e5,-1e6,3\n", "line 2, column 'tokens': '-1e6' is not"),
        (b"parameters,tokens,loss,non_embedding\n1e5,1e6,3,x\n", "line 2, column 'non_embedding': 'x' is not"),
        (b"parameters,tokens,loss\n1e5,1e6,\xff\n", "not readable CSV in UTF-8"),
    ],
)
def test_bad_csv_is_named(tmp_path, content, message):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        read_runs(path)


def test_missing_csv_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_runs(tmp_path / "none.csv")
    with pytest.raises(UserError, match="not readable"):
        read_runs(tmp_path)
