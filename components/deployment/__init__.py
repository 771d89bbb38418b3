"""What serves, how another version takes over, and whether a model serves as evaluated."""
