"""Monitoring: drift of what is asked and answered, and the accuracy of the live answers."""
