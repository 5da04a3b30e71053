#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch, eager and torch.compile, on the cases of goals.cu: one JSON line a case.

usage: bench/gpu/peers.py [goal]...

Exits 77 where there is no PyTorch or no CUDA device.
"""
import json
import statistics
import sys

try:
    import torch
except ImportError:
    print("peers: PyTorch is not installed", file=sys.stderr)
    sys.exit(77)
if not torch.cuda.is_available():
    print("peers: PyTorch sees no CUDA device", file=sys.stderr)
    sys.exit(77)

DEVICE = "cuda"
WANTED = sys.argv[1:] or ["G1", "G2", "G3", "G4", "G5", "G6"]


def seconds(call, groups=15, calls=4, pieces=1):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(groups):
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        times.append(1e-3 * begin.elapsed_time(end) / calls / pieces)
    return statistics.median(times)


def report(goal, name, call, compiled=None, **how):
    if goal not in WANTED:
        return
    line = {"goal": goal, "name": name, "unit": "s", "torch": seconds(call, **how)}
    if compiled is not None:
        try:
            line["torch_compile"] = seconds(compiled, **how)
        except Exception as problem:  # a compiler may be missing on the machine
            line["torch_compile"] = None
            line["problem"] = str(problem).splitlines()[0][:200]
    print(json.dumps(line), flush=True)


def both(function):
    return function, torch.compile(function)


def maps():
    for dtype, name in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        a, b, c = (torch.rand(1 << 28, device=DEVICE, dtype=dtype) - 0.5 for _ in range(3))
        eager, compiled = both(lambda: torch.relu(a * b + c) * 2)
        report("G1", f"relu(a*b+c)*2, {name}, 2^28", eager, compiled)


def rows():
    for r, c in ((8192, 8192), (16384, 131072)):
        x = torch.rand(r, c, device=DEVICE) - 0.5
        y = torch.full((r,), 3, device=DEVICE)
        eager, compiled = both(lambda: torch.softmax(x, -1))
        report("G2", f"softmax, f32, {r} x {c}", eager, compiled)
        eager, compiled = both(lambda: torch.nn.functional.cross_entropy(x, y))
        report("G2", f"cross entropy, f32, {r} x {c}", eager, compiled)


def norms():
    for dtype, name in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        x = (torch.rand(4096, 16384, device=DEVICE, dtype=dtype) - 0.5).requires_grad_()
        gamma = torch.ones(16384, device=DEVICE, dtype=dtype, requires_grad=True)
        beta = torch.zeros(16384, device=DEVICE, dtype=dtype, requires_grad=True)
        seed = torch.rand(4096, 16384, device=DEVICE, dtype=dtype) - 0.5

        def forward():
            return torch.nn.functional.layer_norm(x, (16384,), gamma, beta)

        eager, compiled = both(forward)
        with torch.no_grad():
            report("G3", f"layer norm, {name}, 4096 x 16384, forward", eager, compiled)
        results = {}
        for key, function in (("eager", eager), ("compiled", compiled)):
            y = function()
            results[key] = lambda y=y: torch.autograd.grad(y, (x, gamma, beta), seed, retain_graph=True)
        report("G3", f"layer norm, {name}, 4096 x 16384, backward", results["eager"], results["compiled"])


def optimizer():
    sizes = [30522 * 1024, 512 * 1024, 2 * 1024, 1024, 1024]
    for _ in range(24):
        sizes += [1024 * 1024, 1024] * 4
        sizes += [4096 * 1024, 4096, 1024 * 4096, 1024, 1024, 1024, 1024, 1024]
    parameters = [torch.full((n,), 0.01, device=DEVICE, requires_grad=True) for n in sizes]
    for p in parameters:
        p.grad = torch.full_like(p, 0.01)
    step = torch.optim.AdamW(parameters, lr=1e-3, fused=True).step
    report("G4", "AdamW, f32, 335 million parameters", step)


def products():
    x = torch.rand(8192, 4096, device=DEVICE, dtype=torch.bfloat16) - 0.5
    w = torch.rand(4096, 4096, device=DEVICE, dtype=torch.bfloat16) - 0.5
    b = torch.rand(4096, device=DEVICE, dtype=torch.bfloat16)
    eager, compiled = both(
        lambda: torch.nn.functional.gelu(torch.nn.functional.linear(x, w, b), approximate="tanh"))
    report("G5", "bf16 GEMM + bias + gelu, 8192 x 4096 x 4096 (limit: GEMM alone)", eager, compiled)


def small_statements():
    x = torch.rand(1024, device=DEVICE)
    y = torch.empty_like(x)
    report("G6", "x * 2 + 1, 1024 elements, eager (limit: 3 us)",
           lambda: torch.add(torch.mul(x, 2, out=y), 1, out=y), calls=1000)
    in_graph = 100
    graph, compiled_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    compiled = torch.compile(lambda: torch.add(torch.mul(x, 2, out=y), 1, out=y))
    compiled()
    with torch.cuda.graph(graph):
        for _ in range(in_graph):
            torch.add(torch.mul(x, 2, out=y), 1, out=y)
    with torch.cuda.graph(compiled_graph):
        for _ in range(in_graph):
            compiled()
    report("G6", "x * 2 + 1, 1024 elements, one of 100 in a graph (limit: 1.2 us)", graph.replay,
           compiled_graph.replay, calls=20, pieces=in_graph)


for goal, cases in (("G1", maps), ("G2", rows), ("G3", norms), ("G4", optimizer), ("G5", products),
                    ("G6", small_statements)):
    if goal in WANTED:
        cases()
