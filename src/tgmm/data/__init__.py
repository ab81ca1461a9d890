"""Data: where rows come from, what travels with them, and how they are passed over."""

from tgmm.data.arrays import ArraySource
from tgmm.data.arrow import ArrowSource, ParquetSource
from tgmm.data.loaders import LoaderSource
from tgmm.data.source import Source
from tgmm.data.tables import FrameSource
from tgmm.data.text import TextSource

__all__ = ["ArraySource", "ArrowSource", "FrameSource", "LoaderSource", "ParquetSource", "Source", "TextSource"]
