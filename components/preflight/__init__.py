"""Checks a cluster before anything runs on it, and says what to do where something is amiss."""
