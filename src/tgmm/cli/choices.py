"""What the command line offers by name: a copy of the registries, which take seconds to import.

A test compares each with its registry.
"""

COMMON = ("full", "diag", "spherical", "tied_full", "tied_diag", "tied_spherical")
STRUCTURES = (*COMMON, "VEI", "VEV", "low_rank", "factor")
ALIASES = ("tied",)
CRITERIA = ("bic", "aic", "icl", "held_out")
MISSING = ("error", "em")
AUTO = "auto"
STARTS = ("kmeans", "kpp", "k-means++", "random", "points", "maxdist")
FORMATS = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")
