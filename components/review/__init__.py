"""Human review: who is asked about what, and what follows from the votes."""
