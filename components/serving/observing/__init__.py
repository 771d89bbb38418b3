"""What the server tells of its work: metrics, the access log, the payload log."""
