"""Retraining: whether there is reason to, and what it brought."""
