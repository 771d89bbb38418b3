"""A service that one machine runs: model servers as processes behind nginx."""
