"""The parts of the module behind the panel, one file for each kind of thing in the scene.

`scans` turns a volume node into what the library reads, `boxes` shows and reads the two ROIs,
`trust` decides whether the boxes may be scored, `compute` calls the library, `results` shows what
it found, `packages` installs what it needs, `selfcheck` stands in for the model in tests.
Nothing here imports torch, or anything else that Slicer does not ship, before it is needed.
"""
