"""The model itself: tokens, batches, the engine that computes, what it answers."""
