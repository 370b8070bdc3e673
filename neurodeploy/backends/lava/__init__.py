"""Lava (lava-nc 0.10.0), Intel's framework for Loihi: runs integer Programs in Lava's own bit-accurate simulation.

Lava is never imported here. It forces the fork start method, hangs after errors and asks for old versions, so it lives
in a private environment of its own (`setup`), where a worker process (`worker`) runs one job at a time: `lower` writes
the job in Lava's terms, `client` starts the worker, watches over it and reads the result back.
"""

from .client import run, run_stock

__all__ = ["run", "run_stock"]
