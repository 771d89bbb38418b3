"""The pipelines: nothing but wiring of the rooms' components, and the ways to run them."""
