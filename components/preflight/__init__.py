"""Checks of a cluster before anything runs on it: from outside, and from inside as a pipeline."""
