"""The loop, its optimisers, schedules and averages, on models small enough to work out by hand."""

import contextlib
import copy
import dataclasses
import itertools
import json
import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from maquette.core.devices import pick_precision
from maquette.core.errors import UserError
from maquette.core.files import sole_writer
from maquette.core.seeds import torch_generator
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.train import checkpoint
from maquette.train.distributed import World, refuse_sharded_muon
from maquette.train.loop import TrainConfig, train
from maquette.train.metrics import JsonLines, read_metrics
from maquette.train.muon import Muon, orthogonalised
from maquette.train.optimizers import OptimizerConfig, build_optimizers
from maquette.train.schedules import Schedule

torch.set_num_threads(1)

TINY = LlamaConfig(vocabulary=32, width=16, layers=2, heads=2, kv_heads=1, hidden=24, tied=True)
PLAIN = Schedule(kind="constant", warmup=0)


def llama(seed=0):
    return Llama(TINY).initialise(torch_generator(seed, "init"))


def batches(step):
    """Counting in steps of the first token: something to learn."""
    start = torch.randint(1, 32, (8, 1), generator=torch_generator(0, "batch", step))
    text = start * torch.arange(1, 14) % 32
    return {"tokens": text[:, :-1], "targets": text[:, 1:]}


def uneven(step):
    """Targets that count differ from row to row, and so from part to part."""
    batch = batches(step)
    batch["targets"] = batch["targets"].clone()
    for row in range(8):
        batch["targets"][row, : row + 4 * (row < 2)] = -100
    return batch


def config(**changes):
    return TrainConfig(**({"steps": 12, "precision": "fp32", "device": "cpu", "schedule": PLAIN} | changes))


def run(model=None, settings=None, data=batches, objective=next_token_loss, count=count_targets, **more):
    return train(model or llama(), objective, count, data, settings or config(), **more)


def same(one, other):
    """Whether two runs ended with the same bits, weights and averages."""
    models = zip(one.model.parameters(), other.model.parameters(), strict=True)
    averages = [(one.averaged[k], other.averaged[k]) for k in one.averaged] if one.averaged else []
    return all(torch.equal(a, b) for a, b in (*models, *averages))


# ---- one step, by hand


class Line(nn.Module):
    """Two numbers a, b; the objective is the summed squared error of a x + b."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))

    def forward(self, x):
        return x @ self.weight[0]


def squared_error(model, batch):
    return ((model(batch["x"]) - batch["y"]) ** 2).sum()


def count_rows(batch):
    return torch.tensor(float(len(batch["x"])))


def points(step):
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
    return {"x": x, "y": 3 * x[:, 0] + x[:, 1]}


def gradient(weight, batch):
    return 2 * ((batch["x"] @ weight - batch["y"])[:, None] * batch["x"]).mean(0)


STRAIGHT = OptimizerConfig(lr=0.5, betas=(0.0, 0.0), eps=9.0, weight_decay=0.0)
"""AdamW without memory: w ← w − lr · g / (|g| + ε)."""


@pytest.mark.parametrize("clip", [0.0, 0.7, 1e3])
def test_a_step_is_adamw_on_the_clipped_mean_gradient(tmp_path, clip):
    model = Line()
    weight = model.weight[0].detach().clone()
    norms = []
    for step in range(3):
        g = gradient(weight, points(step))
        norms.append(float(g.norm()))
        if clip:
            g = g * min(1.0, clip / norms[-1])
        weight = weight - 0.5 * g / (g.abs() + 9.0)
    settings = config(steps=3, clip=clip, optimizer=STRAIGHT, log_every=1)
    run(model, settings, points, squared_error, count_rows, directory=tmp_path)
    torch.testing.assert_close(model.weight[0].detach(), weight)
    logged = [row["gradient_norm"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert logged == pytest.approx(norms, rel=1e-5), "the norm before clipping"
    assert min(norms) > 0.7, "or clipping to 0.7 showed nothing"


def test_weight_decay_is_decoupled_and_spares_vectors():
    model = nn.Sequential(nn.Linear(2, 2, bias=True))
    start = copy.deepcopy(model)
    settings = config(steps=1, optimizer=dataclasses.replace(STRAIGHT, weight_decay=0.1))
    run(model, settings, points, lambda m, b: 0.0 * m(b["x"]).sum(), count_rows)
    torch.testing.assert_close(model[0].weight, start[0].weight * (1 - 0.5 * 0.1))
    assert torch.equal(model[0].bias, start[0].bias)


def test_the_average_is_its_formula():
    seen = []
    model = Line()
    seen.append(model.weight.detach().clone())
    settings = config(steps=5, ema=0.8)
    done = run(
        model,
        settings,
        points,
        squared_error,
        count_rows,
        progress=lambda *_: seen.append(model.weight.detach().clone()),
    )
    average = seen[0]
    for weight in seen[1:]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(done.averaged["weight"], average)
    assert run(Line(), config(steps=1), points, squared_error, count_rows).averaged is None


@pytest.mark.parametrize("data", [batches, uneven], ids=["even", "uneven"])
@pytest.mark.parametrize("parts", [2, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(data, parts):
    settings = config(steps=6, optimizer=STRAIGHT, log_every=1)
    whole, cut = (run(settings=dataclasses.replace(settings, accumulate=n), data=data) for n in (1, parts))
    a, b, c = (nn.utils.parameters_to_vector(m.parameters()) for m in (whole.model, cut.model, llama()))
    assert (a - b).norm() <= 1e-5 * (a - c).norm()


def test_a_mean_of_means_would_not_pass_for_the_whole_batch():
    """The control of the test above: parts weighed alike, whatever they count."""

    def mean_of_part(model, batch):
        return next_token_loss(model, batch) / count_targets(batch)

    settings = config(steps=6, optimizer=STRAIGHT)
    whole = run(settings=settings, data=uneven)
    cut = run(
        settings=dataclasses.replace(settings, accumulate=2),
        data=uneven,
        objective=mean_of_part,
        count=lambda _: torch.tensor(1.0),
    )
    a, b, c = (nn.utils.parameters_to_vector(m.parameters()) for m in (whole.model, cut.model, llama()))
    assert (a - b).norm() > 1e-3 * (a - c).norm()


def test_a_batch_that_cannot_be_cut_is_one_sentence():
    with pytest.raises(UserError, match="8 rows cannot be cut into 1 processes × accumulate = 3"):
        run(settings=config(accumulate=3))


# ---- schedules


def test_warmup_rises_to_the_peak_in_a_straight_line():
    for kind in ("wsd", "cosine", "constant"):
        schedule = Schedule(kind=kind, warmup=10)
        assert [schedule.share(s, 100) for s in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_warmup_stable_decay_at_its_landmarks():
    schedule = Schedule(kind="wsd", warmup=10, cooldown=0.2, floor=0.1)
    assert schedule.stable_until(100) == 80
    assert schedule.share(79, 100) == 1.0
    fall = [schedule.share(s, 100) for s in range(80, 101)]
    assert all(a - b == pytest.approx(0.9 / 21) for a, b in zip([1.0, *fall], fall, strict=False))
    assert fall[-1] == pytest.approx(0.1), "the floor, one step after the last"
    assert fall[-2] > 0.1


def test_cosine_at_its_landmarks():
    schedule = Schedule(kind="cosine", warmup=10, floor=0.2)
    assert [schedule.share(s, 110) for s in (10, 60, 110)] == pytest.approx([1.0, 0.6, 0.2])
    assert schedule.share(35, 110) == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)


def test_constant_stays():
    schedule = Schedule(kind="constant", warmup=2)
    assert {schedule.share(s, 50) for s in range(1, 50)} == {1.0}


schedules = st.builds(
    Schedule,
    kind=st.sampled_from(["wsd", "cosine", "constant"]),
    warmup=st.integers(0, 50),
    cooldown=st.floats(0, 1),
    floor=st.floats(0, 1),
)


@given(schedule=schedules, steps=st.integers(1, 300))
def test_a_share_is_a_share_and_never_rises_again(schedule, steps):
    shares = [schedule.share(s, steps) for s in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    after = shares[schedule.warmup :]
    assert all(a >= b for a, b in itertools.pairwise(after))


@given(schedule=schedules, one=st.integers(1, 300), other=st.integers(1, 300))
def test_until_the_stable_end_the_share_does_not_follow_from_the_length(schedule, one, other):
    """What lets one trunk serve runs of many lengths."""
    common = min(schedule.stable_until(one), schedule.stable_until(other))
    assert 0 <= common <= min(one, other)
    assert all(schedule.share(s, one) == schedule.share(s, other) for s in range(common))


def test_the_loop_follows_the_schedule(tmp_path):
    schedule = Schedule(kind="wsd", warmup=3, cooldown=0.5)
    run(settings=config(schedule=schedule, log_every=1), directory=tmp_path)
    rates = [row["lr"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rates == pytest.approx([OptimizerConfig().lr * schedule.share(s, 12) for s in range(12)])


def test_products_are_in_bfloat16_only_where_the_processor_has_it(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    for native, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert pick_precision("auto", cpu) == chosen
        assert [pick_precision(asked, cpu) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]
        dtypes = []
        run(
            settings=config(precision="auto", steps=2),
            directory=tmp_path / chosen,
            evaluate=lambda m, seen=dtypes: {"v": float(seen.append(m(batches(0)["tokens"]).dtype) or 0)},
        )
        assert dtypes == [torch.bfloat16 if native else torch.float32]
        with pytest.raises(UserError, match="made with another precision"):
            run(settings=config(precision="fp32" if native else "bf16", steps=3), directory=tmp_path / chosen)


# ---- optimisers


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_learns(kind, precision):
    settings = config(steps=80, optimizer=OptimizerConfig(kind=kind, lr=1e-2), precision=precision)
    unseen = batches(10**6)
    before = next_token_loss(llama(), unseen).item()
    done = run(settings=settings, evaluate=lambda m: {"loss": float(next_token_loss(m, unseen))})
    assert done.final["loss"] < 0.6 * before
    assert {p.dtype for p in done.model.parameters()} == {torch.float32}


def test_muon_takes_the_matrices_inside_blocks_and_adamw_the_rest():
    model = Llama(dataclasses.replace(TINY, tied=False))
    adamw, muon = build_optimizers(model, OptimizerConfig(kind="muon"))
    names = {p: name for name, p in model.named_parameters()}
    hidden = {names[p] for group in muon.param_groups for p in group["params"]}
    rest = {names[p] for group in adamw.param_groups for p in group["params"]}
    assert hidden == {n for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    assert rest | hidden == set(names.values())
    assert not rest & hidden


def test_muon_takes_the_steps_of_torchs_own():
    """Square, wide, tall and transposed ones, and one without a gradient, as they are orthogonalised together."""
    shapes = [(8, 8), (8, 8), (8, 12), (12, 8), (24, 8), (1, 5)]
    sides = [[nn.Parameter(torch.randn(s, generator=torch_generator(0, str(s)))) for s in shapes] for _ in range(2)]
    ours, theirs = (
        kind(side, lr=0.1, weight_decay=0.2) for kind, side in zip((Muon, torch.optim.Muon), sides, strict=True)
    )
    for step in range(4):
        for number, (mine, other) in enumerate(zip(*sides, strict=True)):
            gradient = torch.randn(mine.shape, generator=torch_generator(step, "gradient", number))
            mine.grad, other.grad = (None, None) if number == step else (gradient.clone(), gradient.clone())
        ours.step()
        theirs.step()
    for mine, other in zip(*sides, strict=True):
        assert torch.allclose(mine, other, atol=2e-2)
        assert not torch.allclose(mine, torch.zeros_like(mine), atol=2e-2)


def test_orthogonalised_matrices_keep_their_directions_and_lose_their_lengths():
    matrices = (
        torch.randn(3, 8, 32, generator=torch_generator(0, "matrices")) * torch.tensor([1e-3, 1, 1e3])[:, None, None]
    )
    found = orthogonalised(matrices).float()
    values = torch.linalg.svdvals(found)
    assert 0.6 < values.min() < values.max() < 1.3
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.allclose(u @ vt, found, atol=0.2)


def test_frozen_parameters_stay():
    model = llama()
    model.embedding.weight.requires_grad_(False)
    frozen = model.embedding.weight.clone()
    run(model, config(steps=2))
    assert torch.equal(model.embedding.weight, frozen)


def test_sharded_muon_is_refused():
    with pytest.raises(UserError, match="Muon needs whole matrices"):
        refuse_sharded_muon("muon", World(size=2, strategy="fsdp"))
    refuse_sharded_muon("muon", World(size=2, strategy="ddp"))
    refuse_sharded_muon("muon", World(size=1, strategy="fsdp"))


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (TrainConfig, {"steps": 0}),
        (TrainConfig, {"accumulate": 0}),
        (TrainConfig, {"ema": 1.0}),
        (TrainConfig, {"ema": float("nan")}),
        (TrainConfig, {"clip": -1.0}),
        (TrainConfig, {"clip": float("nan")}),
        (TrainConfig, {"keep": 0}),
        (TrainConfig, {"log_every": 0}),
        (TrainConfig, {"save_every": -1}),
        (TrainConfig, {"evaluate_every": -1}),
        (OptimizerConfig, {"lr": 0.0}),
        (OptimizerConfig, {"lr": float("nan")}),
        (OptimizerConfig, {"muon_lr": 11.0}),
        (OptimizerConfig, {"betas": (0.9, 1.0)}),
        (OptimizerConfig, {"weight_decay": -0.1}),
        (OptimizerConfig, {"weight_decay": float("nan")}),
        (Schedule, {"warmup": -1}),
        (Schedule, {"cooldown": 1.5}),
        (Schedule, {"floor": -0.1}),
        (Schedule, {"floor": float("nan")}),
    ],
    ids=str,
)
def test_a_field_out_of_range_is_refused_by_name(make, changes):
    ((name, _),) = changes.items()
    with pytest.raises(UserError, match=name):
        make(**({"steps": 5} | changes if make is TrainConfig else changes))


# ---- what a run owes its caller


def test_a_run_follows_its_seed():
    def noisy(model, batch):
        return next_token_loss(model, batch) * (0.5 + torch.rand(()))

    one, again, other = (run(settings=config(seed=s, ema=0.9), objective=noisy) for s in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


def test_batches_are_left_as_they_were():
    kept = [uneven(step) for step in range(4)]
    copies = copy.deepcopy(kept)
    run(settings=config(steps=4, accumulate=2), data=lambda step: kept[step])
    for batch, before in zip(kept, copies, strict=True):
        assert all(torch.equal(batch[name], before[name]) for name in before)


def test_evaluation_sees_evaluation_mode_and_keeps_no_gradients():
    modes = []

    def evaluate(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return {"v": float(len(modes))}

    model = llama()
    done = run(model, config(evaluate_every=5), evaluate=evaluate)
    assert modes == [(False, False)] * 3, "after 5, 10 and the last"
    assert done.final == {"v": 3.0}
    assert model.training


def test_evaluating_does_not_move_training():
    seen = run(settings=config(evaluate_every=1), evaluate=lambda m: {"v": float(next_token_loss(m, batches(99)))})
    assert same(seen, run())


# ---- not a number


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing_after_it(tmp_path, poison):
    def poisoned(step):
        return batches(step) | {"factor": torch.full((8,), poison if step == 7 else 1.0)}

    def scaled(model, batch):
        return next_token_loss(model, batch) * batch["factor"].mean()

    settings = config(steps=20, save_every=3, log_every=20)
    with pytest.raises(UserError, match=r"stopped being finite at step 7 .*batches\(7\)"):
        run(settings=settings, data=poisoned, objective=scaled, directory=tmp_path)
    assert checkpoint.steps_saved(tmp_path) == [3, 6]
    healed = run(
        settings=settings,
        data=lambda step: batches(step) | {"factor": torch.ones(8)},
        objective=scaled,
        directory=tmp_path,
    )
    assert all(p.isfinite().all() for p in healed.model.parameters())


def test_a_gradient_that_is_not_finite_stops_the_run_too():
    class Root(torch.autograd.Function):
        """A finite value with an infinite slope, as the root of zero has."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("inf")

    with pytest.raises(UserError, match="stopped being finite at step 0"):
        run(objective=lambda m, b: Root.apply(next_token_loss(m, b)))


def test_a_batch_without_targets_is_named():
    empty = {"tokens": torch.zeros(8, 4, dtype=torch.long), "targets": torch.full((8, 4), -100)}
    with pytest.raises(UserError, match="stopped being finite at step 3"):
        run(data=lambda step: empty if step == 3 else batches(step))


# ---- resuming


def last_removed(folder):
    shutil.rmtree(checkpoint.folder(folder, checkpoint.steps_saved(folder)[-1]))


def test_the_metrics_of_a_resumed_run_are_those_of_one_never_stopped(tmp_path):
    settings = config(steps=20, save_every=4, log_every=2, evaluate_every=5, ema=0.9)

    def evaluate(model):
        return {"v": float(next_token_loss(model, batches(99)))}

    def rows(folder):
        return [
            {k: v for k, v in row.items() if k != "seconds_per_step"} for row in read_metrics(folder / "metrics.jsonl")
        ]

    once = run(settings=settings, directory=tmp_path / "once", evaluate=evaluate)
    run(settings=settings, directory=tmp_path / "twice", evaluate=evaluate)
    last_removed(tmp_path / "twice")
    with open(tmp_path / "twice" / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "lo')  # a kill in the middle of a line
    twice = run(settings=settings, directory=tmp_path / "twice", evaluate=evaluate)
    assert same(once, twice)
    assert rows(tmp_path / "twice") == rows(tmp_path / "once")
    losses = [row["step"] for row in rows(tmp_path / "twice") if "loss" in row]
    assert losses == list(range(2, 21, 2))


def test_a_finished_run_is_not_run_again(tmp_path):
    first = run(directory=tmp_path, evaluate=lambda m: {"v": 1.0})
    lines = (tmp_path / "metrics.jsonl").read_text()

    def no_more(step):
        assert step == 0, "the first batch stands for the data; no other may be asked for"
        return batches(step)

    again = run(llama(seed=5), data=no_more, directory=tmp_path, evaluate=lambda m: {"v": 2.0})
    assert same(first, again)
    assert again.final == {"v": 2.0}
    assert (tmp_path / "metrics.jsonl").read_text() == lines


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"optimizer": OptimizerConfig(lr=1e-3)}, "optimizer"),
        ({"schedule": Schedule(kind="constant", warmup=1)}, "schedule"),
        ({"seed": 1}, "seed"),
        ({"clip": 0.5}, "clip"),
        ({"ema": 0.5}, "ema"),
        ({"precision": "bf16"}, "precision"),
    ],
    ids=str,
)
def test_another_configuration_does_not_go_on_from_a_checkpoint(tmp_path, changes, name):
    run(directory=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(UserError, match=f"made with another {name};") as caught:
        run(settings=config(**changes), directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_another_model_or_other_data_do_not_go_on_from_a_checkpoint(tmp_path):
    run(directory=tmp_path)
    with pytest.raises(UserError, match="made with another model;"):
        run(Llama(dataclasses.replace(TINY, hidden=32)), directory=tmp_path)
    with pytest.raises(UserError, match="made with another data;"):
        run(data=lambda step: batches(step + 1), directory=tmp_path)
    with pytest.raises(UserError, match="made with another data;"):
        run(data=lambda step: {name: value[:4] for name, value in batches(step).items()}, directory=tmp_path)


def test_what_does_not_shape_the_steps_may_change(tmp_path):
    settings = config(save_every=6, keep=5)
    run(settings=settings, directory=tmp_path)
    last_removed(tmp_path)
    more = dataclasses.replace(settings, steps=16, save_every=4, log_every=1, keep=3, evaluate_every=2)
    assert same(run(settings=more, directory=tmp_path), run(settings=more))


@pytest.mark.parametrize("kind", ["wsd", "cosine"])
def test_a_run_that_has_cooled_down_is_not_made_longer(tmp_path, kind):
    """Its last steps were another run's: going on would give weights that no single run of that length has."""
    settings = config(schedule=Schedule(kind=kind, warmup=2))
    run(settings=settings, directory=tmp_path)
    with pytest.raises(UserError, match="made with another steps;"):
        run(settings=dataclasses.replace(settings, steps=40), directory=tmp_path)


def test_a_fork_of_the_trunk_is_the_run_from_scratch_bit_for_bit(tmp_path):
    long = config(steps=40, ema=0.9, save_at=(16,), schedule=Schedule(kind="wsd", warmup=4, cooldown=0.2))
    short = dataclasses.replace(long, steps=20, save_at=())
    assert short.schedule.stable_until(20) == 16
    run(settings=long, directory=tmp_path / "trunk")
    checkpoint.fork(tmp_path / "trunk", 16, tmp_path / "fork")
    assert checkpoint.steps_saved(tmp_path / "fork") == [16]

    asked = []
    forked = run(llama(seed=3), short, lambda s: asked.append(s) or batches(s), directory=tmp_path / "fork")
    scratch = run(settings=short, directory=tmp_path / "scratch")
    assert asked == [0, 16, 17, 18, 19], "the trunk's steps are not taken again"
    assert same(forked, scratch)
    of_fork, of_scratch = (checkpoint.read(checkpoint.folder(tmp_path / n, 20))[2] for n in ("fork", "scratch"))
    assert of_fork.keys() == of_scratch.keys() == {"model", "rng", "ema", "optimizer-0"}
    for part in ("model", "ema", "optimizer-0"):
        torch.testing.assert_close(of_fork[part], of_scratch[part], rtol=0, atol=0)
    assert not same(forked, run(settings=dataclasses.replace(short, steps=21)))


def test_two_runs_do_not_share_a_directory(tmp_path):
    with sole_writer(tmp_path), pytest.raises(UserError, match="in use by another run"):
        run(directory=tmp_path)
    assert checkpoint.steps_saved(tmp_path) == []


def test_nothing_is_written_without_a_directory(tmp_path):
    with contextlib.chdir(tmp_path):
        run(settings=config(save_every=2))
    assert list(tmp_path.iterdir()) == []


# ---- metrics


def test_opening_the_metrics_drops_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    sink = JsonLines(path, 0)
    for step in (1, 2, 3, 4):
        sink.write(step, {"loss": 1 / step})
    with open(path, "a") as file:
        file.write('{"step": 5')
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4]
    JsonLines(path, 2).write(3, {"loss": 9.0})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": 9.0},
    ]


def test_metrics_that_cannot_be_written_are_one_sentence(tmp_path):
    sink = JsonLines(tmp_path / "run" / "metrics.jsonl", 0)
    sink.path = tmp_path
    with pytest.raises(UserError, match="Cannot write"):
        sink.write(1, {"loss": 1.0})


def test_what_a_run_is_made_of_must_be_the_same_to_go_on(tmp_path):
    """Another rotary base has the same shapes, another text may begin with the same batch: the caller names them."""
    run(settings=config(steps=2), directory=tmp_path, made_of={"architecture": {"rope_theta": 5e5}})
    with pytest.raises(UserError, match="made with another architecture;"):
        run(settings=config(steps=4), directory=tmp_path, made_of={"architecture": {"rope_theta": 1e4}})


def test_a_shorter_run_in_a_longer_ones_directory_is_refused_and_harms_nothing(tmp_path):
    run(settings=config(steps=6, save_every=3), directory=tmp_path)
    before = checkpoint.steps_saved(tmp_path)
    with pytest.raises(UserError, match="at step 6, beyond steps = 2;"):
        run(settings=config(steps=2), directory=tmp_path)
    assert checkpoint.steps_saved(tmp_path) == before == [3, 6]


def test_a_folder_of_the_users_among_the_checkpoints_is_left_alone(tmp_path):
    (tmp_path / "checkpoints" / "step-backup").mkdir(parents=True)
    run(settings=config(steps=2), directory=tmp_path)
    assert checkpoint.steps_saved(tmp_path) == [2]
    assert (tmp_path / "checkpoints" / "step-backup").exists()
