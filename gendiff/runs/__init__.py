"""A training that survives, for anybody's code: run folder, loop, progress, meshes, several processes. It knows no
science.
"""
