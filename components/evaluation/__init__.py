"""Evaluation: how good the model is on reviews it has not seen, how surely, and is it enough."""
