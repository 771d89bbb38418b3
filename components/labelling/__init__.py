"""Labels under suspicion, and labels from rules: label noise and weak supervision."""
