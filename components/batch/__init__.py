"""Batch scoring: a folder of reviews in, Parquet of predictions out."""
