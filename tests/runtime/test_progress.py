"""Progress leaves logging as it was."""

import logging

import pytest

from tgmm.runtime.progress import Reporter, logger


@pytest.mark.parametrize("level", [logging.NOTSET, logging.WARNING, logging.DEBUG])
def test_reports_that_overlap_leave_the_level_and_the_handlers_as_they_were(level):
    """As from threads: the first to begin ends first, and the other still shows its messages."""
    before = logger.level
    logger.setLevel(level)
    handlers = list(logger.handlers)
    try:
        first, second = Reporter(True, 1), Reporter(True, 1)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert logger.getEffectiveLevel() <= logging.INFO
        second.__exit__(None, None, None)
        assert logger.level == level and logger.handlers == handlers
        with Reporter(True, 1):
            assert logger.getEffectiveLevel() <= logging.INFO
        assert logger.level == level and logger.handlers == handlers
    finally:
        logger.setLevel(before)
