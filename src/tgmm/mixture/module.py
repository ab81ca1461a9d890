"""The mixture as a function that torch differentiates, compiles and exports."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor, nn

from tgmm.mixture.base import BaseMixture
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import widen


class MixtureModule(nn.Module):
    """A Gaussian mixture as an `nn.Module` whose buffers are its parameters.

    Called with rows (..., d), it returns their log-densities (...), in nats, and the posterior probabilities of the
    components (..., K), in the float type of its buffers. Where the device has float64, both passes compute in it, and
    neither autocast nor reduced-precision matrix products (TF32, bfloat16) change that. A call holds n K d numbers.

    Parameters
    ----------
    parameters : Parameters
        Parameters of the mixture, in the units of the data.
    dtype : torch.dtype
        The float type of the buffers.

    Attributes
    ----------
    weights, means, covariances : Tensor
        (K,), (K, d), and in the shape of the covariance type.
    means_remainder : Tensor
        The part of the means that rounding to ``dtype`` removes, (K, d). It keeps results exact for data far from the
        origin.
    log_constants : Tensor
        Log weight plus the log-density at the mean, (K,).
    log_det, inverse_root, inverse_sd : Tensor
        The factored covariances: log-determinants, and inverse Cholesky factors or inverse standard deviations. Each
        has a remainder too, or None where the mixture has no other float type: it keeps results exact in directions
        in which the data hardly varies.

    Examples
    --------
    >>> import torch
    >>> from tgmm import Mixture
    >>> module = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").to_module()
    >>> log_density, probabilities = module(torch.zeros(5, 3, 1, dtype=torch.float64))
    >>> log_density.shape, probabilities.shape
    (torch.Size([5, 3]), torch.Size([5, 3, 2]))
    """

    weights: Tensor
    means: Tensor
    means_remainder: Tensor
    covariances: Tensor
    log_constants: Tensor

    def __init__(self, parameters: Parameters, dtype: torch.dtype) -> None:
        super().__init__()
        means, factor = parameters.means, parameters.covariances.factor
        self.factor_type = type(factor)
        self.factor_fields = tuple(field.name for field in fields(factor))
        buffers: dict[str, Tensor | None] = {
            "weights": parameters.weights,
            "means": means,
            "means_remainder": means - means.to(dtype),
            "covariances": parameters.covariances.public,
            # Not computed in a call: exporters round Python's numbers, such as log(2 pi), to float32.
            "log_constants": parameters.log_constants,
        }
        for name in self.factor_fields:
            value = getattr(factor, name)
            buffers |= {name: value, f"{name}_remainder": None if value.dtype == dtype else value - value.to(dtype)}
        for name, value in buffers.items():
            buffer = None if value is None else value.to(dtype).clone(memory_format=torch.contiguous_format)
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-densities of rows, and the posterior probabilities of the components.

        Parameters
        ----------
        x : Tensor of shape (..., d)
            The rows, in the units of the data. They are converted to the float type of the buffers.

        Returns
        -------
        log_density : Tensor of shape (...)
            In nats.
        probabilities : Tensor of shape (..., K)
            They sum to 1 in the last dimension.
        """
        dtype = self.means.dtype
        density, joint, overflown = self._densities(x.to(dtype))
        return density.to(dtype), torch.where(overflown, self.weights.log(), joint).softmax(-1).to(dtype)

    def log_joint(self, x: Tensor) -> Tensor:
        """Return the logarithms of the weighted densities of the components, log(weight_k p_k(x)).

        Parameters
        ----------
        x : Tensor of shape (..., d)
            The rows, in the units of the data. They are converted to the float type of the buffers.

        Returns
        -------
        Tensor of shape (..., K)
            In nats. Their log-sum-exp over the last dimension is the log-density.
        """
        return self._densities(x.to(self.means.dtype))[1].to(self.means.dtype)

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log-densities (...) of rows (..., d), in the float type of computation."""
        return self._densities(x)[0]

    def _whole(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return a buffer and its remainder, if it has one, in a float type that holds both."""
        buffer, remainder = getattr(self, name).to(dtype), getattr(self, f"{name}_remainder")
        return buffer if remainder is None else buffer + remainder.to(dtype)

    def _densities(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-densities (...), the joint ones (..., K), and where all of these overflow, (..., 1).

        From Mahalanobis distances (Bishop, PRML, 2.43): nothing cancels, wherever the rows are. Where their squares
        overflow, the nearest component decides, so that the gradient remains what it is.
        """
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        factor = self.factor_type(**{name: self._whole(name, wide) for name in self.factor_fields})
        check_shape(x, self.means.shape[1])
        rows, shape = x.reshape(-1, x.shape[-1]), x.shape[:-1]
        means, remainder = self.means.to(wide), self.means_remainder.to(wide)
        white = factor.whiten(rows.to(wide) - means[:, None] - remainder[:, None])  # (K, n, d)
        joint = self.log_constants.to(wide) - 0.5 * white.square().sum(-1).T  # (n, K)
        highest = joint.detach().amax(-1, keepdim=True)  # (n, 1)
        overflown = highest == -torch.inf
        relative = white.detach() / white.detach().abs().amax((0, 2))[:, None].clamp(min=1.0)
        distances = torch.where(self.weights > 0, relative.square().sum(-1).T, torch.inf)  # (n, K)
        nearest = joint.gather(-1, distances.argmin(-1, keepdim=True))
        # Of nothing but -inf the gradient of the logarithm of the sum is NaN, even where it is not used; of numbers as
        # large as for far rows its shares would not sum to 1.
        near = highest + torch.where(overflown, 0.0, joint - highest).logsumexp(-1, keepdim=True)
        density = torch.where(overflown, nearest, near)
        return density.reshape(shape), joint.reshape(*shape, joint.shape[1]), overflown.reshape(*shape, 1)


def to_module(mixture: BaseMixture) -> MixtureModule:
    """Return the mixture as an `nn.Module` whose buffers are its parameters.

    Use it to deploy a mixture, or inside a larger PyTorch model. Called with rows of shape (..., d), it returns what
    `score_samples` and `predict_proba` return, in the shapes (...) and (..., K); another last dimension is a
    ValueError. Of a `BayesianGaussianMixture` it is the module of its ``mixture_``, which is another density than the
    posterior predictive one that its `score_samples` returns. You can move, save, compile (`torch.compile`) and export
    it: with `torch.export`, and to ONNX after ``pip install onnx onnxscript``, by
    ``torch.onnx.export(module, (x,), "mixture.onnx", dynamic_shapes=({0: "n"},))``. If a row is so far away that its
    squared distance overflows, its log-density is -inf and its probabilities are the weights; the gradient is still
    that of the density.

    Returns
    -------
    MixtureModule
        A module in evaluation mode, on the device and in the float type of the mixture.

    Examples
    --------
    >>> import torch
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> program = torch.export.export(mixture.to_module(), (torch.zeros(2, 1, dtype=torch.float64),))
    >>> log_density, probabilities = program.module()(torch.tensor([[2.0], [3.0]], dtype=torch.float64))
    >>> probabilities
    tensor([[0.5000, 0.5000],
            [0.0180, 0.9820]], dtype=torch.float64)
    """
    return MixtureModule(mixture.parameters, mixture.dtype).eval()


def log_prob(mixture: BaseMixture, x: Tensor) -> Tensor:
    """Return the log-density at x, differentiable in x. Use it as a prior or in a loss.

    Parameters
    ----------
    x : Tensor of shape (..., d)
        A tensor of a float type, in the units of the data.

    Returns
    -------
    Tensor of shape (...)
        Log-densities in nats, on the device of x, with its autograd graph. They equal those of `score_samples`, in the
        float type of the mixture. (Those of a `BayesianGaussianMixture` are of its ``mixture_``, while its
        `score_samples` is the posterior predictive density.) The gradient needs memory for n K d numbers.

    Raises
    ------
    ValueError
        If x is not a finite tensor of this shape.

    See Also
    --------
    to_module : The same as a module, for `torch.compile` and `torch.func`.

    Examples
    --------
    >>> import torch
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> x = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    >>> mixture.log_prob(x).backward()
    >>> x.grad
    tensor([1.0000], dtype=torch.float64)
    """
    n_features = mixture.n_features
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a tensor of a float type; got {kind}. Use score_samples for other arrays.")
    check_shape(x, n_features)
    if not _all_finite(x):
        raise ValueError("x must be finite; it contains NaN or infinity.")
    rows = widen(x)
    module = mixture.derived(_module_on, rows.dtype, rows.device)
    return module.log_density(rows).to(x.device, mixture.dtype)


def check_shape(x: Tensor, n_features: int) -> None:
    """Raise a ValueError unless the last dimension of x is that of the features."""
    if x.ndim == 0 or x.shape[-1] != n_features:
        raise ValueError(f"x must have shape (..., n_features) = (..., {n_features}); got shape {tuple(x.shape)}.")


def _all_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite, where values can be looked at: inside `torch.vmap` they cannot."""
    try:
        return bool(torch.isfinite(x).all())
    except RuntimeError:
        return True


def _module_on(mixture: BaseMixture, dtype: torch.dtype, device: torch.device) -> MixtureModule:
    return MixtureModule(mixture.parameters, dtype).to(device)
