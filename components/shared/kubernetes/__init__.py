"""The Kubernetes API as the rooms use it: objects, refusals in words, retries and waiting."""
