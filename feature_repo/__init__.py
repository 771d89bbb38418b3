"""Feast definitions and the configuration of the feature store in each environment."""
