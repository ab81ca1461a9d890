"""Data: where rows come from, and the frame in which they are computed with."""

from tgmm.data.arrays import ArraySource
from tgmm.data.arrow import ArrowSource, ParquetSource
from tgmm.data.frames import FrameSource
from tgmm.data.loaders import LoaderSource
from tgmm.data.source import Source
from tgmm.data.text import TextSource

__all__ = ["ArraySource", "ArrowSource", "FrameSource", "LoaderSource", "ParquetSource", "Source", "TextSource"]
