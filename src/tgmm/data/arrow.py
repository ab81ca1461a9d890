"""Parquet and Arrow files, folders of them, and Arrow tables, through `pyarrow.dataset`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from tgmm.data.columns import listed
from tgmm.data.source import Source, rows_per_read
from tgmm.data.tables import CHOOSE, feature_columns

INDEX_LEVEL = re.compile(r"__index_level_\d+__")  # an index without a name, also where the description is lost


class ArrowSource(Source):
    """Columns of an Arrow table or dataset.

    Parameters
    ----------
    data : pyarrow.Table, pyarrow.RecordBatch or pyarrow.dataset.Dataset
        The table. A dataset is read again for every pass over the rows.
    columns : sequence of str, optional
        Columns to use as features, in this order. By default, all columns but the weights and the index of a pandas
        data frame.
    weight_column : str, optional
        The column that holds the sample weights.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If a column is missing or not numeric.

    Examples
    --------
    >>> import pyarrow
    >>> from tgmm import GaussianMixture
    >>> from tgmm.data import ArrowSource
    >>> table = pyarrow.table({"x": [0.0, 1.0, 5.0], "count": [1, 1, 2]})
    >>> GaussianMixture().fit(ArrowSource(table, weight_column="count")).means_
    array([[2.75]])
    """

    keeps_batches = True

    def __init__(self, data: Any, columns: Sequence[str] | None = None, weight_column: str | None = None) -> None:
        dataset = _pyarrow_dataset()
        self.dataset = data if isinstance(data, dataset.Dataset) else dataset.dataset(data)
        schema = self.dataset.schema
        hidden = () if columns is not None else _index_columns(schema) - {weight_column}
        names = [name for name in schema.names if name not in hidden]
        self.columns = feature_columns(names, columns, weight_column)
        self.feature_names = self.columns
        self.weight_column = weight_column
        self.n_rows = self.dataset.count_rows()
        self.type = _common_type([schema.field(name) for name in self.columns])

    def __iter__(self) -> Iterator[Any]:
        """Yield rows, or pairs of rows and weights; missing values are NaN."""
        weights = [] if self.weight_column is None else [self.weight_column]
        n_read = rows_per_read(len(self.columns), self.type.bit_width // 8)
        read = self.dataset.to_batches(
            columns=list(dict.fromkeys([*self.columns, *weights])),
            batch_size=n_read,
            batch_readahead=1,
            fragment_readahead=1,
        )
        for batch in read:
            rows = np.empty((batch.num_rows, len(self.columns)), self.type.to_pandas_dtype())
            for column, name in enumerate(self.columns):
                rows[:, column] = _values(batch[name], self.type)
            yield (rows, _values(batch[self.weight_column], None)) if weights else rows


class ParquetSource(ArrowSource):
    """Columns of Parquet files.

    Parameters
    ----------
    path : path-like, or list of path-like
        A file, a folder of files, or several files.
    columns : sequence of str, optional
        Columns to use as features, in this order. By default all columns are used except the weights and the index
        of a pandas data frame.
    weight_column : str, optional
        The column that holds the sample weights.
    format : str, default="parquet"
        The format of the file, as `pyarrow.dataset` calls it: "parquet", or "arrow" or "feather" for Arrow's own files.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing or not numeric.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from tgmm import GaussianMixture
    >>> from tgmm.data import ParquetSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pd.DataFrame({"x": [1.0, 3.0], "name": ["a", "b"]}).to_parquet(f"{folder}/data.parquet")
    ...     GaussianMixture().fit(ParquetSource(f"{folder}/data.parquet", columns=["x"])).means_
    array([[2.]])
    """

    def __init__(
        self,
        path: Any,
        columns: Sequence[str] | None = None,
        weight_column: str | None = None,
        *,
        format: str = "parquet",
    ) -> None:
        needed = None if columns is None else [*columns, weight_column]
        super().__init__(open_dataset(path, format, needed), columns, weight_column)


def open_dataset(path: Any, format: str, columns: Sequence[str | None] | None = None) -> Any:
    """Open a file, a folder of files or several files as an Arrow dataset, to read some columns of, or all."""
    paths = fspath(path) if isinstance(path, str | PathLike) else [fspath(part) for part in path]
    found = _pyarrow_dataset().dataset(paths, format=format)
    if not found.files:
        raise ValueError(f"X names the folder {paths!r}, which holds no {format} file.")
    schemas = {fragment.path: fragment.physical_schema for fragment in found.get_fragments()}
    if all(schema.equals(found.schema) for schema in schemas.values()):
        return found
    return _pyarrow_dataset().dataset(paths, schema=_unified(schemas, columns), format=format)


def _unified(schemas: dict[str, Any], columns: Sequence[str | None] | None) -> Any:
    """Return a schema of types that hold the values of all files; by itself Arrow takes those of the first."""
    import pyarrow

    if columns is not None:
        schemas = {
            path: pyarrow.schema([field for field in schema if field.name in columns], schema.metadata)
            for path, schema in schemas.items()
        }
    (first, expected), *others = schemas.items()
    for path, schema in others:
        if different := set(expected.names) ^ set(schema.names):
            raise ValueError(
                f"The files {first!r} and {path!r} have different columns: only one has {listed(sorted(different))}. "
                "Give all files the same columns, or name those that all have."
            )
    try:
        return pyarrow.unify_schemas([*schemas.values()], promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise ValueError(f"The files of X have columns whose types cannot be combined: {error}") from error


def _pyarrow_dataset() -> Any:
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError("Reading Parquet and Arrow data needs pyarrow: pip install pyarrow") from error
    return pyarrow.dataset


def _index_columns(schema: Any) -> set[str]:
    """Return the columns that hold the index of a data frame, if pandas wrote the file."""
    described = (schema.pandas_metadata or {}).get("index_columns", [])
    named = {column for column in described if isinstance(column, str)}  # a range is described, and has no column
    return named | {name for name in schema.names if INDEX_LEVEL.fullmatch(name)}


def _common_type(fields: Sequence[Any]) -> Any:
    """Return float32 if all fields are float32 or half precision, otherwise float64. Other types are a ValueError."""
    import pyarrow

    types = pyarrow.types
    for field in fields:
        kind = field.type
        if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
            raise ValueError(f"Column {field.name!r} is of type {kind}, not a number: {CHOOSE}.")
    narrow = all(types.is_float16(field.type) or types.is_float32(field.type) for field in fields)
    return pyarrow.float32() if narrow else pyarrow.float64()


def _values(column: Any, kind: Any) -> np.ndarray:
    """Return the values of an Arrow array as this type, or float64; integers beyond 2^53 are rounded."""
    import pyarrow

    return column.cast(pyarrow.float64() if kind is None else kind, safe=False).to_numpy(zero_copy_only=False)
