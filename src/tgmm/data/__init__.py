"""Data: where rows come from, and the frame in which they are computed with."""
