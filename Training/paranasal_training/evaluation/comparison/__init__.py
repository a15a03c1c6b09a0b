"""From many finished runs to the paper's tables and figures: see `compare.py`."""
