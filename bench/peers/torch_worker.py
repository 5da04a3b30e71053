#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch, eager and by torch.compile, and its TensorBoard writer.

usage: bench/peers/torch_worker.py --serve GOAL --threads N
"""
import atexit
import pathlib
import shutil
import tempfile

from serving import ROW_LENGTHS, contender, numbers, row_operands, row_values, sampled, serve

STATEMENTS = {
    "C1": (lambda torch, a, b, c: torch.relu(a * b + c) * 2, ("2^26 elements",)),
    "C2": (lambda torch, a, b, c: torch.tanh(a * b + torch.exp(a - c)),
           ("2^12 elements", "2^22 elements")),
}
SIZES = {"2^12 elements": 1 << 12, "2^22 elements": 1 << 22, "2^26 elements": 1 << 26}
WAYS = (("torch", ""), ("torch_compile", "default"), ("torch_compile", "max-autotune"))

_inputs = {}


def inputs(torch, size):
    """One set for all contenders of a work."""
    if size not in _inputs:
        _inputs.clear()
        _inputs[size] = [torch.from_numpy(numbers(size, step)) for step in (7919, 104729, 1299709)]
    return _inputs[size]


def enter_statement(goal, work, peer, variant):
    statement, _ = STATEMENTS[goal]

    @contender(goal, work, peer, variant)
    def prepare(threads):
        import torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        a, b, c = inputs(torch, SIZES[work])

        def function(a, b, c):
            return statement(torch, a, b, c)
        if peer == "torch_compile":
            function = torch.compile(function, mode=variant, dynamic=False, fullgraph=True)
        function(a, b, c)
        return (lambda: function(a, b, c)), (lambda: sampled(function(a, b, c).numpy()))


for _goal, (_, _works) in STATEMENTS.items():
    for _work in _works:
        for _peer, _variant in WAYS:
            enter_statement(_goal, _work, _peer, _variant)


def rms_norm(torch, x, gamma):
    return x * torch.rsqrt(torch.mean(x * x, -1, keepdim=True) + 1e-5) * gamma


def divergence(torch, x, g):
    functional = torch.nn.functional
    return functional.kl_div(functional.log_softmax(g, -1), functional.log_softmax(x, -1), log_target=True,
                             reduction="batchmean")


# (statement on the operands, those that it is differentiated for)
ROWS = {
    "softmax": (lambda torch, o: torch.softmax(o["x"], -1), "x"),
    "log-softmax": (lambda torch, o: torch.log_softmax(o["x"], -1), "x"),
    "layer norm": (lambda torch, o: torch.nn.functional.layer_norm(
        o["x"], o["gamma"].shape, o["gamma"], o["beta"]), "x gamma beta"),
    "RMS norm": (lambda torch, o: rms_norm(torch, o["x"], o["gamma"]), "x gamma"),
    "cross entropy": (lambda torch, o: torch.nn.functional.cross_entropy(o["x"], o["target"]), "x"),
    "RMS norm of x silu(g)": (lambda torch, o: rms_norm(
        torch, o["x"] * torch.nn.functional.silu(o["g"]), o["gamma"]), "x g gamma"),
    "divergence of two softmaxes": (lambda torch, o: divergence(torch, o["x"], o["g"]), "g"),
}


def enter_rows(name, columns, peer, variant):
    statement, wanted = ROWS[name]

    @contender("C4", f"{name}, rows of {columns}", peer, variant)
    def prepare(threads):
        import torch
        torch.set_num_threads(threads)
        operands = {key: torch.from_numpy(value) for key, value in row_operands(columns).items()}
        leaves = [operands[key].requires_grad_() for key in wanted.split()]

        def function(operands):
            return statement(torch, operands)
        if peer == "torch_compile":
            torch.compiler.reset()
            function = torch.compile(function, mode=variant, dynamic=False, fullgraph=True)

        def step():
            y = function(operands)
            return [y, *torch.autograd.grad(y, leaves, None if y.dim() == 0 else operands["seed"])]
        step()
        return step, lambda: row_values([each.detach().numpy() for each in step()], len(operands["x"]))


for _name in ROWS:
    for _columns in ROW_LENGTHS:
        for _peer, _variant in WAYS[:2]:  # autotuning has no choice of kernels for rows on a processor
            enter_rows(_name, _columns, _peer, _variant)


@contender("C16", "add_scalar", "torch")
def add_scalar(_threads):
    from torch.utils.tensorboard import SummaryWriter
    tag = "training/loss"
    folder = tempfile.mkdtemp(prefix="heddle-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    writer = SummaryWriter(folder)
    atexit.register(writer.close)  # before its folder goes
    step = 0

    def add():
        nonlocal step
        writer.add_scalar(tag, 0.25, step)
        step += 1

    def written():
        with tempfile.TemporaryDirectory() as other:
            with SummaryWriter(other) as one:
                for at in range(100):
                    one.add_scalar(tag, 0.25, at)
            return [sum(path.read_bytes().count(tag.encode())
                        for path in pathlib.Path(other).rglob("*") if path.is_file())]
    return add, written


if __name__ == "__main__":
    serve()
