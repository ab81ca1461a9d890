"""Data: the sources of rows, what belongs to each row, and passes over all of them."""

from tgmm.data.arrays import ArraySource
from tgmm.data.arrow import ArrowSource, ParquetSource
from tgmm.data.loaders import LoaderSource
from tgmm.data.source import Source
from tgmm.data.tables import FrameSource
from tgmm.data.text import TextSource

__all__ = ["ArraySource", "ArrowSource", "FrameSource", "LoaderSource", "ParquetSource", "Source", "TextSource"]
