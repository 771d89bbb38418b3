"""What runs in Label Studio's own environment: Python's library, Django and Label Studio only.

Its files are found by their bare names (the folder is on `PYTHONPATH`), so that an image of Label
Studio needs nothing else of this project.
"""
