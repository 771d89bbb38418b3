"""What serves, how another version takes over, and whether a model serves as evaluated."""

import logging

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request
