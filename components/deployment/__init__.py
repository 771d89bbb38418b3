"""What a cluster is told to serve, and the check that a model serves as it was evaluated."""
