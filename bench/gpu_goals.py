# SPDX-License-Identifier: BSD-3-Clause
"""The goals that need an NVIDIA GPU: builds gpu/goals.cu, runs it beside gpu/peers.py, and puts what both
print into the form of the other goals."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import machine
import racing

FOLDER = pathlib.Path(__file__).resolve().parent / "gpu"
SOURCE = FOLDER / "goals.cu"
NO_GPU = 77  # the exit status where there is none, as of tests/gpu/run
FLAGS = ["-std=c++20", "-O2", "-arch=native", "-DHEDDLE_PORTABLE_GEMM", "-DHEDDLE_SINGLE_ISA",
         "-DHEDDLE_WITH_CUBLASLT"]
PEERS = ("torch", "torch_compile")
# by the beginning of a case's goal and name; the first that fits
DEMANDS = [("G1", "limit 0.92"), ("G2", "limit 0.9"), ("G3.*backward", "limit 0.8"), ("G3", "limit 0.9"),
           ("G4", "limit 0.9"), ("G5", f"limit {1 / 1.03:.4f}"), ("G6.*graph", "most 1.2e-6"),
           ("G6", "most 3e-6")]


def goals():
    """{goal: (its source, a line on it)}"""
    found = re.findall(r"^//   (G\d+): (.+?)\.?$", SOURCE.read_text(), re.M)
    return {goal: (SOURCE, line) for goal, line in found}


def name():
    """Of the first GPU, None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True,
                           text=True, check=False)
    return (asked.stdout.splitlines() or [None])[0] if asked.returncode == 0 else None


def build(folder):
    """Returns the program."""
    nvcc = shutil.which("nvcc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin"]))
    if nvcc is None:
        raise racing.Failure("bench/run: nvcc was not found: install the CUDA Toolkit")
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "goals"
    done = subprocess.run([nvcc, *FLAGS, "-I", machine.ROOT / "include", SOURCE, "-lcublasLt", "-o", program],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise racing.Failure(f"bench/run: nvcc could not build {SOURCE.name}:\n{done.stdout[-4000:]}")
    return program


def lines_of(command, why):
    """The lines in JSON that a command prints; a peer may be absent (77)."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode not in (0, NO_GPU) or (done.returncode and why is None):
        raise racing.Failure(f"bench/run: {command[0]} ended with status {done.returncode}: {done.stderr[-2000:]}")
    if done.returncode and why is not None:
        why.append(done.stderr.strip())
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def demands_of(case):
    return next(([demand] for begin, demand in DEMANDS if re.match(begin, f"{case['goal']} {case['name']}")), [])


def result(goal, line, own, peers, why=""):
    """What heddle's and the peers' lines come to, and whether a peer is missing in all cases."""
    made = racing.Result(goal, line, [])
    theirs = {each["name"]: each for each in peers if each["goal"] == goal}
    for case in own:
        if case["goal"] != goal:
            continue
        beside = theirs.get(case["name"], {})
        made.cases.append(({"name": case["name"], "unit": case["unit"], "heddle": case["heddle"],
                            "peers": {peer: beside[peer] for peer in PEERS if beside.get(peer) is not None},
                            # a statement of G6 has no limit but its goal
                            "limit": None if goal == "G6" else case["limit"]}, demands_of(case)))
    lacking = not any(case["peers"] for case, _ in made.cases)
    if not made.cases:
        raise racing.Failure(f"bench/run: gpu/goals.cu has no case of {goal}")
    if lacking:
        made.problems.append(racing.missing_sentence(goal, {"torch": why}))
    return made, lacking


def measure(goal, line, folder=machine.BUILD / "gpu"):
    """As racing.measure_goal."""
    program = folder / "goals"
    if measure.built != program:
        measure.built = build(folder)
    own = lines_of([program, goal], None)
    why = []
    python = machine.PYTHON if machine.PYTHON.exists() else sys.executable
    peers = lines_of([python, FOLDER / "peers.py", goal], why)
    rate = next((each["bytes"] for each in own if each["goal"] == "copy"), None)
    if rate:
        print(f"{name()}: a copy within the device moves {rate / 1e9:.0f} GB/s, read and written")
    return result(goal, line, own, peers, "; ".join(why))


measure.built = None
