#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""JAX's jit on the processor.

usage: bench/peers/jax_worker.py --serve GOAL --threads N
"""
import os

from serving import ROW_LENGTHS, contender, numbers, row_operands, row_values, sampled, serve

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

def rms_norm(jnp, x, gamma):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * gamma


def layer_norm(jnp, x, gamma, beta):
    centered = x - jnp.mean(x, -1, keepdims=True)
    return centered / jnp.sqrt(jnp.mean(centered * centered, -1, keepdims=True) + 1e-5) * gamma + beta


def cross_entropy(jax, x, target):
    return -jax.numpy.mean(jax.numpy.take_along_axis(jax.nn.log_softmax(x), target[:, None], 1))


def divergence(jax, x, g):
    log_p = jax.nn.log_softmax(x)
    return jax.numpy.mean(jax.numpy.sum(jax.numpy.exp(log_p) * (log_p - jax.nn.log_softmax(g)), -1))


# (statement on the operands, those that it is differentiated for, the others)
ROWS = {
    "softmax": (lambda jax, x: jax.nn.softmax(x), "x", ""),
    "log-softmax": (lambda jax, x: jax.nn.log_softmax(x), "x", ""),
    "layer norm": (lambda jax, *o: layer_norm(jax.numpy, *o), "x gamma beta", ""),
    "RMS norm": (lambda jax, *o: rms_norm(jax.numpy, *o), "x gamma", ""),
    "cross entropy": (cross_entropy, "x", "target"),
    "RMS norm of x silu(g)": (lambda jax, x, g, gamma: rms_norm(jax.numpy, x * jax.nn.silu(g), gamma),
                              "x g gamma", ""),
    "divergence of two softmaxes": (lambda jax, g, x: divergence(jax, x, g), "g", "x"),
}


def enter_rows(name, columns):
    statement, wanted, others = ROWS[name]

    @contender("C4", f"{name}, rows of {columns}", "jax")
    def prepare(threads):
        jax = library(threads)
        operands = {key: jax.device_put(value) for key, value in row_operands(columns).items()}
        leaves, constants = ([operands[key] for key in keys.split()] for keys in (wanted, others))

        @jax.jit
        def both(leaves, constants, seed):
            y, pull = jax.vjp(lambda *leaves: statement(jax, *leaves, *constants), *leaves)
            return [y, *pull(seed if y.ndim else jax.numpy.ones_like(y))]

        def step():
            return jax.block_until_ready(both(leaves, constants, operands["seed"]))
        return step, lambda: row_values(step(), len(operands["x"]))


for _name in ROWS:
    for _columns in ROW_LENGTHS:
        enter_rows(_name, _columns)

if __name__ == "__main__":
    serve()
