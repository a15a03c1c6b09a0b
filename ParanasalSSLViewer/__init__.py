"""The reading room in a browser: the Slicer module's own scene code on Slicer's real views.

What differs from the module is widgets only. Nothing here is imported by library, module or training.
"""
