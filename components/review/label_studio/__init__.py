"""Label Studio: the client of its API, and its process on one machine."""
