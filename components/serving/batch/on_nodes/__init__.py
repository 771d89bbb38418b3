"""Batch scoring on several nodes: a RayJob, its pods, and the actors that score in them."""
