"""What is in the data, seen before a model learns from it."""
