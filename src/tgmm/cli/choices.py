"""What the command line offers by name, without the registries, which take seconds to import."""

from __future__ import annotations

from typing import get_args

from tgmm.runtime import options

COMMON: tuple[str, ...] = get_args(options.Common)
MCLUST: tuple[str, ...] = (*get_args(options.Code), *get_args(options.Parsimonious))
STRUCTURES: tuple[str, ...] = (*COMMON, *get_args(options.Parsimonious), *get_args(options.Factored))
ALIASES: tuple[str, ...] = ("tied", *get_args(options.Code))
CRITERIA: tuple[str, ...] = get_args(options.Criterion)
MISSING: tuple[str, ...] = get_args(options.Missing)
STARTS: tuple[str, ...] = get_args(options.Start)  # the default first
FORMATS = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")
