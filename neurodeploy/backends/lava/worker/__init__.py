"""What runs inside the sidecar's interpreter: only NumPy, SciPy and Lava are there, and nothing else of neurodeploy.

The client puts the folder above on ``sys.path`` and imports this package under the name ``worker``.
"""
