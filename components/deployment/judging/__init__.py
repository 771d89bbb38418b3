"""Is the new version good enough? The statistics that decide a rollout and an A/B test."""
