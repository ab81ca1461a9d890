"""Estimators: what is fitted, and holds a mixture."""
