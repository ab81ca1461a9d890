"""Text files whose fields may be empty."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from tgmm.data.fields import MISSING, is_number
from tgmm.data.source import Source
from tgmm.data.tables import CHOOSE
from tgmm.data.text import CORRECT, TextSource

ROWS = 65536  # read at a time


class Lenient(Source):
    """Rows of a text file, with NaN where a value is missing.

    Parameters
    ----------
    text : TextSource
    """

    keeps_batches = True

    def __init__(self, text: TextSource) -> None:
        self.text, self.feature_names = text, text.feature_names

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield consecutive rows."""
        rows = self.text.texts(self.text.columns)
        while part := list(islice(rows, ROWS)):
            yield np.array(
                [[self._number(*field) for field in zip(self.text.columns, row, strict=True)] for row in part]
            )

    def _number(self, column: str, text: str) -> float:
        if text.lower() in MISSING:
            return math.nan
        if not is_number(text):
            raise ValueError(
                f"{str(self.text.path)!r}, column {column!r}: {text!r} is not a number. {CORRECT}, or {CHOOSE}."
            )
        return float(text)
