"""The M-step with everything that can befall it: imprecise sums, lost components, collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from tgmm.covariance import CovarianceCollapse, CovarianceStructure
from tgmm.em.expectation import Expectation
from tgmm.em.maximisation import maximise
from tgmm.em.reseeding import keep_previous, lost_components, reseed
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.statistics import Statistics

# From the mode, the centre of its sums and their resolution to the parameters of the next mixture, and whether
# the sums were precise enough for that.
Finish = Callable[[Parameters, Tensor, float], tuple[Parameters, bool]]


@dataclass
class Maximisation:
    """The M-steps of one run.

    Parameters
    ----------
    structure : CovarianceStructure
    priors : Priors
        In the frame.
    """

    structure: CovarianceStructure
    priors: Priors
    reseeded: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __call__(
        self, statistics: Statistics, mixture: Mixture, expectation: Expectation, finish: Finish
    ) -> tuple[Mixture, bool]:
        """Return the next mixture, and whether a component was re-seeded.

        Statistics too imprecise for the variances that come out of them are computed again, more precisely:
        by the next kernel, and at last about the very means that came out.
        """
        recentred = False
        while True:
            lost = lost_components(statistics, self.priors)  # (K,)
            fresh = self._not_yet_reseeded(lost)
            mode = maximise(statistics, self.structure, self.priors)
            if fresh.any():
                mode = reseed(mode, fresh, mixture, expectation)
            parameters, precise = finish(mode, statistics.centre, expectation.resolution)
            gone = (lost | (mode.weights == 0)) & ~fresh
            parameters = keep_previous(parameters, gone, mixture.parameters)
            try:
                candidate = Mixture.of(parameters, self.structure)
            except CovarianceCollapse:
                if recentred:
                    raise
                candidate = None
            if candidate and (recentred or (precise and expectation.is_precise(candidate, statistics.centre))):
                self._note(fresh)
                return candidate, bool(fresh.any())
            recentred = not expectation.can_refine
            statistics = expectation.refine(mixture, mode.means)

    def _not_yet_reseeded(self, lost: Tensor) -> Tensor:
        """Return the lost components that were not re-seeded before in this run, (K,)."""
        fresh = lost.clone()
        fresh[list(self.reseeded)] = False
        return fresh

    def _note(self, fresh: Tensor) -> None:
        components = fresh.nonzero().flatten().tolist()
        if components:
            self.reseeded.update(components)
            self.notes.append(f"component(s) {components} lost all rows and were re-seeded on the worst-explained rows")
