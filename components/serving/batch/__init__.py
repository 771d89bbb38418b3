"""Scoring many reviews at once, by the predictor that answers online, in shards that resume."""
