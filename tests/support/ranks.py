"""Real processes for the tests: a function on every rank of a gloo group on the loopback device, and what became of it.

Processes come from a server that has everything imported, so that they start at once. None outlives its test.
"""

import multiprocessing
import os
import signal
import tempfile
import time
import traceback
import warnings
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from tgmm import GaussianMixture, fit_many
from tgmm.data import ParquetSource, Source
from tgmm.em.step import EM

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(  # what a fit imports when it first needs it, too
    ["torch.distributed", "sklearn.cluster", "tgmm.estimators.gaussian_mixture", "tgmm.em.fit", "tgmm.em.starts"]
)

FITTED = ("weights_", "means_", "covariances_", "reg_covar_", "objective_history_", "lower_bound_", "n_iter_")


class Died(Exception):
    """A process that ended without a word, or had to be ended."""


def run(task, n_ranks, *args, seconds=60, group_seconds=30):
    """Call task(rank, *args) on every rank; return what each returned, or the exception that it raised."""
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(n_ranks)]
        processes = [
            context.Process(target=_rank, args=(pipes[rank][1], folder, rank, n_ranks, group_seconds, task, args))
            for rank in range(n_ranks)
        ]
        try:
            for process, (_, sender) in zip(processes, pipes, strict=True):
                process.start()
                sender.close()
            end = time.monotonic() + seconds
            return [_outcome(receiver, end) for receiver, _ in pipes]
        finally:
            for process in processes:
                process.kill()
                process.join()


def results(task, n_ranks, *args, **keywords):
    """The same, where every rank is to succeed."""
    outcomes = run(task, n_ranks, *args, **keywords)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return outcomes


def _outcome(receiver, end):
    try:
        if receiver.poll(max(end - time.monotonic(), 0)):
            return receiver.recv()
    except EOFError:
        pass
    return Died()


def _rank(sender, folder, rank, n_ranks, group_seconds, task, args):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=n_ranks,
            timeout=timedelta(seconds=group_seconds),
        )
        outcome = task(rank, *args)
    except Exception as error:
        outcome = (type(error) if type(error).__module__ == "builtins" else RuntimeError)(str(error))
        traceback.print_exc()
    sender.send(outcome)
    sender.close()
    os._exit(0)  # without waiting for others, who may be dead


def fitted(gmm):
    """What a fit came to, as arrays."""
    return {name: np.asarray(getattr(gmm, name)) for name in FITTED}


def fit(rank, settings, shards, weights=None, keywords=None):
    """Fit this rank's shard."""
    gmm = GaussianMixture(distributed=True, **settings)
    own = {name: values[rank] for name, values in (keywords or {}).items()}
    return fitted(gmm.fit(shards[rank], sample_weight=None if weights is None else weights[rank], **own))


def fit_problems(rank, settings, problems):
    """Fit this rank's share of many problems; return how many that was, and what all came to."""
    from tgmm.estimators import many

    solved, shares = many._solved, []
    many._solved = lambda given, own: (shares.append(len(own)), solved(given, own))[1]
    settings = {name: value[rank] if isinstance(value, tuple) else value for name, value in settings.items()}
    mixtures = fit_many(problems[rank % len(problems)], distributed=True, **settings)
    found = {name: getattr(mixtures, name) for name in ("weights_", "means_", "covariances_", "converged_", "n_iter_")}
    return shares, found, mixtures.failures_, mixtures[1].predict(problems[0][1])


def fit_files(rank, settings, shards):
    return fit(rank, settings, [ParquetSource(paths) for paths in shards])


def fit_twice(rank, settings, shards):
    gmm = GaussianMixture(distributed=True, **settings)
    return fitted(gmm.fit(shards[rank]).fit(shards[rank]))


def fit_with_own_seed(rank, settings, shards):
    return fit(rank, {**settings, "random_state": torch.Generator().manual_seed(rank)}, shards)


def fit_with_own_settings(rank, settings, shards):
    return fit(rank, {"n_components": 2, **{name: values[rank] for name, values in settings.items()}}, shards)


def learn_with_own_settings(rank, settings, shards):
    """Learn from this rank's shard, by a step, and from a solution, of its own."""
    own = {name: values[rank] for name, values in settings.items()}
    step, is_fitted = own.pop("step", None), own.pop("fitted", False)
    gmm = GaussianMixture(**{"n_components": 2, "random_state": 0} | own)
    if is_fitted:
        gmm.fit(shards[rank])
    return fitted(gmm.set_params(distributed=True).partial_fit(shards[rank], step=step))


def fit_on_rank_0_alone(rank, settings, X):
    if rank == 0:
        return fitted(GaussianMixture(**settings).fit(X))
    time.sleep(1)
    return None


def warnings_of_a_fit(rank, settings, shards):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(rank, settings, shards)
    return [str(warning.message) for warning in caught]


def score_and_save(rank, shards, folder):
    gmm = GaussianMixture(3, random_state=0, distributed=True, checkpoint=f"{folder}/fit.pth").fit(shards[rank])
    if rank == 0:
        gmm.save(f"{folder}/model.pth")
    return gmm.score(shards[rank])


def reductions(rank, settings, shards):
    """The sizes of all vectors that were summed."""
    sizes, all_reduce = [], dist.all_reduce
    dist.all_reduce = lambda tensor, **keywords: (sizes.append(tensor.numel()), all_reduce(tensor, **keywords))[1]
    fit(rank, settings, shards)
    return sizes


def first_rows(X, n_components, generator):
    return X[:n_components]


def fails_on_rank_1(X, n_components, generator):
    if dist.get_rank() == 1:
        raise RuntimeError("no start here")
    return X[:n_components]


class NoRows(Source):
    def __iter__(self):
        return iter(())


class Befalls(Source):
    """Rows to which something happens after so many passes."""

    def __init__(self, X, passes):
        self.X, self.passes = X, passes

    def __iter__(self):
        self.passes -= 1
        yield self.X[:100]
        yield self.X[100:] if self.passes >= 0 else self.happen()


class Fails(Befalls):
    def happen(self):
        raise OSError("the disk is gone")


class Spoils(Befalls):
    def happen(self):
        return np.full_like(self.X[100:], np.nan)


class Kills(Befalls):
    def happen(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Befalls):
    def happen(self):
        time.sleep(60)


def resume(rank, settings, shards):
    """Go on from a checkpoint; return the fit and how many iterations this one made."""
    n_iterations, step = 0, EM.step

    def counting(*args, **keywords):
        nonlocal n_iterations
        n_iterations += 1
        return step(*args, **keywords)

    EM.step = counting
    gmm = GaussianMixture(distributed=True, **settings).fit(shards[rank], resume=True)
    return fitted(gmm), n_iterations


def learn(rank, *batches):
    gmm = GaussianMixture(3, random_state=0, distributed=True)
    for batch in batches[rank]:
        gmm.partial_fit(batch)
    return fitted(gmm)


def fit_with_another_bit(rank, settings, shards):
    evaluate = EM.evaluate

    def another_bit(self, parameters, rung):
        if rank == 1:
            parameters.means[0, 0] = np.nextafter(float(parameters.means[0, 0]), np.inf)
        return evaluate(self, parameters, rung)

    EM.evaluate = another_bit
    return fit(rank, settings, shards)


def overlapping(n=600, d=3, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 2.5 * rng.integers(0, 3, size=(n, 1)) * [1.0, -0.5, 0.3, 0.8][:d]


def assert_same_bits(outcomes):
    for other in outcomes[1:]:
        for name, value in outcomes[0].items():
            assert np.array_equal(value, other[name]), name
