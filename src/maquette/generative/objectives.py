"""What a network is trained to say about a noisy x_t, and how one answer becomes another.

Every prediction in use is linear in data and noise, p = a x₀ + b ε, so that x_t = α x₀ + σ ε and p are two equations
for x₀ and ε:

    noise     ε                    (0, 1)         Ho et al. 2020, arXiv:2006.11239
    data      x₀                   (1, 0)
    velocity  α ε − σ x₀           (−σ, α)        Salimans & Ho 2022, arXiv:2202.00512
    flow      ε − x₀               (−1, 1)        Liu et al. 2022, arXiv:2209.03003
    residual  (x₀ − c_skip x)/c_out               EDM's F: Karras et al. 2022, arXiv:2206.00364, equation 7
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import UserError
from maquette.generative.paths import Path, RectifiedFlow, Times, VarianceExploding, broadcast, mix

Prediction = Literal["noise", "data", "velocity", "flow", "residual"]
Shaped = Float[Tensor, "*shape"]
Network = Callable[[Shaped, Times], Shaped]
"""(input, label of t) → prediction."""
Denoiser = Callable[[Shaped, Times], Shaped]
"""(x_t, t) → the estimate of x₀."""


class Parts(NamedTuple):
    """What x_t is made of, as a network sees it."""

    data: Shaped
    noise: Shaped


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A path and what is predicted on it."""

    path: Path = field(default_factory=RectifiedFlow)
    predicts: Prediction = "flow"
    data_std: float = 0.5
    """σ_data, of the residual only."""

    def __post_init__(self) -> None:
        if not self.data_std > 0:
            raise UserError(f"data_std = {self.data_std}: give the data's standard deviation, above 0.")
        if self.predicts == "residual" and not isinstance(self.path, VarianceExploding):
            raise UserError(f"predicts = 'residual' on {self.path}: EDM's residual is defined on VarianceExploding.")

    def coefficients(self, t: Times) -> tuple[Times, Times]:
        """a and b of p = a x₀ + b ε."""
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        if self.predicts == "residual":
            total = (t**2 + self.data_std**2).sqrt()
            return t / (self.data_std * total), -self.data_std / total
        by_name = {"noise": (zero, one), "data": (one, zero), "flow": (-one, one)}
        return by_name[self.predicts] if self.predicts in by_name else (-self.path.sigma(t), self.path.alpha(t))

    def determinant(self, t: Times) -> Times:
        """α b − σ a: where it is 0, x_t and the prediction say the same and x₀ cannot be found."""
        a, b = self.coefficients(t)
        return self.path.alpha(t) * b - self.path.sigma(t) * a

    def target(self, data: Shaped, noise: Shaped, t: Times) -> Shaped:
        """What the network should say."""
        a, b = self.coefficients(t)
        return broadcast(a, data) * data + broadcast(b, data) * noise

    def parts(self, x: Shaped, prediction: Shaped, t: Times) -> Parts:
        """Data and noise from x_t and a prediction."""
        (a, b), path = self.coefficients(t), self.path
        a, b, alpha, sigma, d = (
            broadcast(value, x) for value in (a, b, path.alpha(t), path.sigma(t), self.determinant(t))
        )
        return Parts((b * x - sigma * prediction) / d, (alpha * prediction - a * x) / d)

    def input_scale(self, t: Times) -> Times:
        """c_in: what x_t is multiplied with before a network sees it; 1 but for the exploding path."""
        if isinstance(self.path, VarianceExploding):
            return 1 / (t**2 + self.data_std**2).sqrt()
        return torch.ones_like(t)

    def data_weight(self, t: Times) -> Times:
        """The weight on the squared error of x₀ that weight 1 on that of the prediction amounts to, (det / σ)²."""
        return (self.determinant(t) / self.path.sigma(t)) ** 2

    def blind_loss(self, t: Times) -> Times:
        """The mean squared error of the best prediction from x_t alone where data is N(0, 1), det² / (α² + σ²).

        Var(p) − Cov(p, x_t)² / Var(x_t) with p = a x₀ + b ε.
        """
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        return self.determinant(t) ** 2 / (alpha**2 + sigma**2)

    def predict(self, network: Network, x: Shaped, t: Times) -> Shaped:
        """The network's answer for x_t."""
        return network(broadcast(self.input_scale(t), x).to(x.dtype) * x, self.path.label(t))

    def denoiser(self, network: Network) -> Denoiser:
        """The network as an estimate of x₀, which is all that a sampler asks for."""

        def denoise(x: Shaped, t: Times) -> Shaped:
            return self.parts(x, self.predict(network, x, t), t).data

        return denoise

    def losses(self, network: Network, data: Shaped, noise: Shaped, t: Times) -> Shaped:
        """Squared errors of the prediction, one a number of the data; `t` has a row's time, or one for each item."""
        prediction = self.predict(network, mix(self.path, data, noise, t), t)
        return (prediction.float() - self.target(data, noise, t).float()) ** 2


def convert(source: Objective, target: Objective, x: Shaped, prediction: Shaped, t: Times) -> Shaped:
    """A prediction of one kind as one of another kind, on the same path.

    Raises:
        ValueError: the paths differ.
    """
    if source.path != target.path:
        raise ValueError(f"A prediction on {source.path} is none on {target.path}: x_t is another mixture there.")
    return target.target(*source.parts(x, prediction, t), t)
