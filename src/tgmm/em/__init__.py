"""Expectation-maximisation: loops that know no covariance structure, and no data."""
