"""Expectation-maximisation: a loop that knows no covariance structure."""
