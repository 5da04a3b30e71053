#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""JAX's jit on the processor.

usage: bench/peers/jax_worker.py --serve GOAL --threads N
"""
import os

from serving import contender, numbers, sampled, serve

WORKS = (("C1", "2^26 elements", 1 << 26), ("C2", "2^12 elements", 1 << 12),
         ("C2", "2^22 elements", 1 << 22))


def statements(jax):
    return {"C1": lambda a, b, c: jax.numpy.maximum(a * b + c, 0) * 2,
            "C2": lambda a, b, c: jax.numpy.tanh(a * b + jax.numpy.exp(a - c))}


def library(threads):
    """JAX on so many threads: it has as many as the process has processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    return jax


def enter_statement(goal, work, size):
    @contender(goal, work, "jax")
    def prepare(threads):
        jax = library(threads)
        operands = [jax.device_put(numbers(size, step)) for step in (7919, 104729, 1299709)]
        function = jax.jit(statements(jax)[goal])

        def step():
            return function(*operands).block_until_ready()
        return step, lambda: sampled(step())


for _work in WORKS:
    enter_statement(*_work)

if __name__ == "__main__":
    serve()
