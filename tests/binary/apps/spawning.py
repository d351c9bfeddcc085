"""Computes with processes that multiprocessing starts afresh."""

import multiprocessing
import operator

from monqbus import task

with multiprocessing.get_context("spawn").Pool(1) as pool:
    RESULT = pool.apply(operator.mul, (6, 7))


@task(name=f"spawning.result_{RESULT}")
def result():
    """Its name tells what came out."""
