"""Questions to the versions that serve: labelled reviews as requests."""
