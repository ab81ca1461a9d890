"""Problems on a device: no tensor is made elsewhere, as a default device without values shows on any machine."""

import pytest
import torch

from tgmm.covariance import structure_named
from tgmm.em.fit import Policy
from tgmm.em.many import Origins, fitted
from tgmm.em.problems import Problems, Table
from tgmm.em.run import Stopping
from tgmm.model.priors import Priors
from tgmm.start.together import TOGETHER


def tables(weighted):
    """Return tables of different lengths, one of them with equal rows."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for n_rows in (80, 79, 75):
        rows = torch.randn(n_rows, 2, generator=generator, dtype=torch.float64)
        rows[: n_rows // 3] += 4
        weights = torch.rand(n_rows, generator=generator, dtype=torch.float64) + 0.1 if weighted else None
        found.append(Table(rows.round() if n_rows == 79 else rows, weights, None))
    return found


def ends(given, name, start):
    problems, places = Problems.of(given, structure_named(name), 3, Priors(), 1e-6)
    origins = Origins(start, 1, TOGETHER[start]).of_some(places)
    return fitted(problems, origins, Policy(Stopping(1e-5, 50), accelerate=True))


@torch.no_grad()
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "start"), [("full", "kmeans"), ("tied_diag", "kpp"), ("VEI", "random")])
def test_all_tensors_are_made_on_the_device_of_the_rows(name, start, weighted):
    given = tables(weighted)
    expected = ends(given, name, start)
    with torch.device("meta"):  # what is made without a device would be here, and not fit the others
        found = ends(given, name, start)
    torch.testing.assert_close(found.runs.parameters.means, expected.runs.parameters.means, rtol=0, atol=0)
    torch.testing.assert_close(found.history, expected.history, rtol=0, atol=0, equal_nan=True)


@pytest.mark.gpu
def test_a_device_gives_what_the_cpu_does():
    from tgmm import GaussianMixture, fit_many

    X = torch.stack([table.rows[:75] for table in tables(weighted=False)])
    settings = {"n_components": 3, "init_means": "kpp", "random_state": 0}
    there, here = fit_many(X.cuda(), **settings), fit_many(X, **settings)
    assert there.means_.is_cuda
    torch.testing.assert_close(there.means_.cpu(), here.means_, rtol=1e-8, atol=1e-8)
    alone = GaussianMixture(**settings).fit(X[1].cuda())
    torch.testing.assert_close(there.means_[1], alone.means_, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(there[1].predict_proba(X[1].cuda()), alone.predict_proba(X[1].cuda()))
