"""Files on disk: written whole or not at all, HDF5 read with care."""
