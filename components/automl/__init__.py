"""Candidates side by side within a budget, and a leaderboard that says what is distinguishable."""
