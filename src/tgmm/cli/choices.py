"""What the command line offers by name: a copy of the registries, which take seconds to import.

A test compares each with its registry.
"""

COMMON = ("full", "diag", "spherical", "tied_full", "tied_diag", "tied_spherical")
PARSIMONIOUS = ("VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV")
STRUCTURES = (*COMMON, *PARSIMONIOUS, "low_rank", "factor")
CODES = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")  # mclust's, of the common ones
MCLUST = (*CODES, *PARSIMONIOUS)
ALIASES = ("tied", *CODES)
CRITERIA = ("bic", "aic", "icl", "held_out")
MISSING = ("error", "em")
AUTO = "auto"
STARTS = ("kmeans", "kpp", "k-means++", "random", "points", "maxdist")
FORMATS = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")
