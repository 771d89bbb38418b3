"""Bias: what differs between groups of reviews, in the data and in what the model answers."""
