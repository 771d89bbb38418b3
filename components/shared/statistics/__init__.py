"""Scores, intervals and tests that several rooms decide with; plain arrays in and out."""
