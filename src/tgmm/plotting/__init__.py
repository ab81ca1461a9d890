"""Pictures of mixtures, selections and fits, on matplotlib (the extra ``plot``).

Every function draws on the axes it is given, or on a new figure, and returns them. matplotlib is imported when the
first picture is drawn.
"""

from tgmm.plotting.choice import plot
from tgmm.plotting.diagnostics import plot_history, plot_responsibilities, plot_selection
from tgmm.plotting.display import MixtureDisplay
from tgmm.plotting.grid import plot_pairs
from tgmm.plotting.one_feature import plot_histogram
from tgmm.plotting.profiles import plot_profiles
from tgmm.plotting.summary import plot_fit
from tgmm.plotting.two_features import plot_components, plot_density, plot_uncertainty

__all__ = [
    "MixtureDisplay",
    "plot",
    "plot_components",
    "plot_density",
    "plot_fit",
    "plot_histogram",
    "plot_history",
    "plot_pairs",
    "plot_profiles",
    "plot_responsibilities",
    "plot_selection",
    "plot_uncertainty",
]
