"""What a policy says of the recorded moments, and whether one episode can be learned by heart."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from maquette.core.seeds import torch_generator
from maquette.language.tokenizers import byte_tokenizer
from maquette.robotics.datasets.layout import ACTION, STATE
from maquette.robotics.datasets.reader import Dataset
from maquette.robotics.deployment import Card, Deployed
from maquette.robotics.diagnosis.findings import OF_PICTURES, Check, Fault, Supposition, of_actions
from maquette.robotics.moments import Moments, flat
from maquette.robotics.normalisation import normaliser
from maquette.robotics.policies.contract import Policy, chunk_loss, count_actions, observation_in
from maquette.robotics.policies.making import Shape, make
from maquette.train.loop import TrainConfig, train
from maquette.train.optimizers import OptimizerConfig

EPISODES, MOMENTS, AHEAD = 4, 16, 4
"""That a policy is asked about: episodes, moments of each, actions from each."""
BETTER, SAYS_SOMETHING = 0.6, 0.7
"""A supposition holds if it leaves so much of the error; and if the error is then that much of the mean action's."""
BY_HEART = 0.5
"""Of the mean action's error that may be left when an episode has been learned."""
STEPS, CHUNK, PIXELS, ROWS = 150, 8, 32, 16
STILL = 1e-3
"""Spread of actions below which they are all the same."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Moments of one episode."""

    pictures: Mapping[str, np.ndarray]
    state: Float[np.ndarray, "moments s"]
    instructions: list[str]
    places: np.ndarray
    actions: Float[np.ndarray, "frames a"]
    """Of the whole episode."""


def check_policy(deployed: Deployed, dataset: Dataset) -> Check:
    """Whether a policy says what the experts did; and if not, whether it does of other pictures or of other actions."""
    asked = list(_moments(dataset, deployed.card.cameras))
    plain = _said(deployed, asked)
    off = _error(plain, asked)
    tried: list[tuple[float, Fault, str]] = []
    for one in of_actions(deployed.card.action.numbers):
        tried.append((_error(plain, asked, one), one.fault, one.said))
    for words, pictures in _other_pictures(asked, deployed.card.cameras):
        tried.append((_error(_said(deployed, pictures), asked), "camera", words))
    least, fault, words = min(tried)
    numbers = {"error": off, "error_when_undone": least}
    if least < BETTER * off and least < SAYS_SOMETHING:
        said = f"{words}: the policy then errs by {least:.2f} of the mean action's error, as recorded by {off:.2f}"
        return Check(name="policy", said=said, fault=fault, numbers=numbers)
    if off > SAYS_SOMETHING:
        said = f"it says too little of these demonstrations to judge by: {off:.2f} of the mean action's error"
        return Check(name="policy", said=said, tried=False, numbers=numbers)
    return Check(name="policy", said=f"it errs by {off:.2f} of the mean action's error", numbers=numbers)


def check_by_heart(dataset: Dataset, card: Card | None, steps: int = STEPS) -> Check:
    """Whether a small new policy learns the first episode by heart; with a card, normalised as that says."""
    one = copy.copy(dataset)
    one.episodes = dataset.episodes[:1]
    frames = one.episodes[0].length
    states, actions = flat(dataset, STATE), flat(dataset, ACTION)
    usual = normaliser("mean-std", states.numpy()), normaliser("mean-std", actions.numpy())
    state, action = (card.state, card.action) if card else usual
    tokenizer, cameras = byte_tokenizer(), dataset.info.cameras
    moments = Moments(one, cameras=cameras, pixels=PIXELS, chunk=CHUNK, tokenizer=tokenizer, state=state, action=action)
    shape = Shape(
        trunk="diffusion-policy",
        head="l1",
        size="tiny",
        pixels=PIXELS,
        cameras=len(cameras),
        state=states.shape[1],
        numbers=actions.shape[1],
        chunk=CHUNK,
        vocabulary=tokenizer.get_vocab_size(),
    )
    policy: Policy = make(shape, torch_generator(0, "by heart"))
    config = TrainConfig(steps=steps, optimizer=OptimizerConfig(lr=2e-3), precision="fp32", device="cpu")
    config = replace(config, save_every=0, evaluate_every=0)
    train(policy, chunk_loss, count_actions, lambda step: moments.batch(step, ROWS, 0, policy.draw), config)
    batch = moments.at(torch.arange(frames))
    policy.eval()
    found = policy.act(observation_in(batch), policy.noise(frames, torch_generator(0, "by heart", "acting")))
    counted = batch["counted"]
    wanted, said = action.undo(batch["actions"])[counted], action.undo(found)[counted]
    spread = (actions - actions.mean(0)).abs().mean()  # of all episodes: one alone may be a straight way, all the same
    off = float((said - wanted).abs().mean() / spread.clamp_min(STILL))
    numbers = {"error": off}
    if off <= BY_HEART:
        said_so = f"a small policy learns episode 0 in {steps} steps, to {off:.2f} of the mean action's error"
        return Check(name="by heart", said=said_so, numbers=numbers)
    said_so = (
        f"a small policy does not learn episode 0 in {steps} steps: {off:.2f} of the mean action's error is left; "
        "look at its pictures, and at how its numbers are normalised"
    )
    return Check(name="by heart", said=said_so, fault="learning", numbers=numbers)


def _moments(dataset: Dataset, cameras: tuple[str, ...]) -> Iterator[Asked]:
    tasks = dataset.numbers("task_index").reshape(-1)
    for episode in dataset.episodes[:EPISODES]:
        places = np.unique(np.linspace(0, episode.length - 1, MOMENTS).round().astype(int))
        yield Asked(
            pictures={camera: dataset.pictures(camera, episode)[places] for camera in cameras},
            state=dataset.numbers(STATE)[episode.frames][places].astype(np.float32),
            instructions=[dataset.tasks[task] for task in tasks[episode.frames][places]],
            places=places,
            actions=dataset.numbers(ACTION)[episode.frames].astype(np.float64),
        )


def _said(deployed: Deployed, asked: list[Asked]) -> list[np.ndarray]:
    """The first actions of a chunk at every moment."""
    return [deployed.act(one.pictures, one.state, one.instructions)[:, :AHEAD] for one in asked]


def _error(said: list[np.ndarray], asked: list[Asked], supposed: Supposition | None = None) -> float:
    """Mean absolute error of what was said, as a share of that of the mean action."""
    wanted = []
    for chunks, one in zip(said, asked, strict=True):
        actions = supposed.undo(one.actions) if supposed else one.actions
        ahead = np.minimum(one.places[:, None] + np.arange(chunks.shape[1]), len(actions) - 1)
        wanted.append(actions[ahead])
    truth, found = np.concatenate(wanted), np.concatenate(said)
    scale = np.maximum(np.abs(truth - truth.mean((0, 1))).mean((0, 1)), 1e-6)
    moving = scale > 1e-3 * scale.max()
    return float((np.abs(found - truth).mean((0, 1)) / scale)[moving].mean())


def _other_pictures(asked: list[Asked], cameras: tuple[str, ...]) -> Iterator[tuple[str, list[Asked]]]:
    for words, undo in OF_PICTURES.items():
        for camera in cameras:
            yield (
                f"{camera}: {words}",
                [replace(one, pictures={**one.pictures, camera: undo(one.pictures[camera]).copy()}) for one in asked],
            )
    for a, b in itertools.combinations(cameras, 2):
        yield (
            f"{a} and {b} are exchanged; exchange them",
            [replace(one, pictures={**one.pictures, a: one.pictures[b], b: one.pictures[a]}) for one in asked],
        )
