"""Features: token ids, written to and read from the feature store."""
