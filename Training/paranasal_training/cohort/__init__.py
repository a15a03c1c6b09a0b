"""The simulated cohort: anatomy (procedural or borrowed from donors), lesions, contrast, acquisition.

Every array here is in the *sinus frame*: 64^3 voxels of 1 mm, axis i from lateral to medial, j from
posterior to anterior, k from inferior to superior, the origin of millimetres in the cube's centre.
Right sinuses are mirrored onto left ones, as in `ParanasalSSLLib.crop`.
"""
