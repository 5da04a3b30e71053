# SPDX-License-Identifier: BSD-3-Clause
"""Peers in Python: the same inputs, and the same answers to bench/run, as program.hpp in C++.

A peer's script lists its contenders by @contender, each a function that prepares one work of one goal
and returns what is repeated, then calls serve().
"""
import argparse
import os
import resource
import sys
import time

CONTENDERS = []  # (goal, work, peer, variant, function)


def contender(goal, work, peer, variant=""):
    """The function gets the thread count and returns `step`, or `(step, values)`: step() is timed, and
    values() are the numbers that are held against heddle's."""
    def add(function):
        CONTENDERS.append((goal, work, peer, variant, function))
        return function
    return add


def tune():
    """Starts the script again in the environment that serves it best, as bench::tune does."""
    if "HEDDLE_BENCH_TUNED" in os.environ:
        return
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    for name, value in (("MALLOC_MMAP_THRESHOLD_", "17179869184"),
                        ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
                        ("MALLOC_TOP_PAD_", "1073741824"),
                        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")):
        os.environ.setdefault(name, value)
    os.environ["HEDDLE_BENCH_TUNED"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.argv])


def numbers(size, step):
    """bench::numbers of one axis."""
    import numpy
    index = numpy.arange(size, dtype=numpy.int64)
    index *= step
    index %= 10007
    return index.astype(numpy.float32) / numpy.float32(5003) - numpy.float32(1)


ROW_LENGTHS = (128, 2048, 65536)  # goal C4's


def row_operands(columns, size=1 << 24):
    """The operands of goal C4's statements, as c4_rows.cpp makes them."""
    import numpy
    rows = size // columns
    return {"x": numbers(size, 7919).reshape(rows, columns) * numpy.float32(3),
            "g": numbers(size, 104729).reshape(rows, columns) * numpy.float32(3),
            "seed": numbers(size, 1299709).reshape(rows, columns),
            "gamma": numbers(columns, 17), "beta": numbers(columns, 19),
            "target": numpy.arange(rows, dtype=numpy.int64) * 7919 % columns}


def row_values(results, rows):
    """What is compared of a value and its gradients: of what all rows share, a mean."""
    return [value for array in results
            for value in sampled(array / rows if array.ndim == 1 and array.size > 1 else array)]


def sampled(array):
    """bench::sampled."""
    import numpy
    flat = numpy.asarray(array).reshape(-1)
    samples = 8
    return [float(flat[(flat.size - 1) * i // (samples - 1)]) for i in range(samples)] + [
        float(flat.mean(dtype=numpy.float64)), float(numpy.abs(flat).mean(dtype=numpy.float64))]


def seconds_of(step, times):
    begin = time.perf_counter()
    for _ in range(times):
        step()
    return time.perf_counter() - begin


def interruptions():
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class Entry:
    """A prepared contender: how often it is repeated in a turn, and its turns (race.hpp)."""

    def __init__(self, prepared):
        self.step, self.values = prepared if isinstance(prepared, tuple) else (prepared, lambda: [])
        self.turn = None
        self.times = 1

    def measure(self, turn):
        if self.turn != turn:
            self.turn, self.times = turn, 1
            while (taken := seconds_of(self.step, self.times)) < turn:
                self.times *= 8 if taken < turn / 16 else 2
        self.step()
        best, fewest = 0.0, None
        for _ in range(8):
            before = interruptions()
            taken = seconds_of(self.step, self.times)
            now = interruptions() - before
            if fewest is None or now < fewest:
                best, fewest = taken, now
            if fewest == 0:
                break
        return best / self.times


def sentence_of(problem):
    return " ".join(f"{type(problem).__name__}: {problem}".split())[:400]


def serve():
    parser = argparse.ArgumentParser(description="Answers bench/run.")
    parser.add_argument("--serve", metavar="GOAL", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    tune()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    entries = []

    def answer(words):
        request = words[0]
        if request == "works":
            return [f"work\t{work}" for work in dict.fromkeys(
                work for goal, work, *_ in CONTENDERS if goal == options.serve)]
        if request == "enter":
            entries.clear()
            lines = []
            for goal, work, peer, variant, function in CONTENDERS:
                if (goal, work) != (options.serve, words[1]):
                    continue
                try:
                    entries.append(Entry(function(options.threads)))
                    lines.append(f"contender\t{peer}\t{variant}\t{options.threads}")
                except Exception as problem:  # pylint: disable=broad-except  # the others remain
                    lines.append(f"absent\t{peer}\t{sentence_of(problem)}")
            return lines
        if request == "values":
            return [repr(float(value)) for value in entries[int(words[1])].values()]
        if request == "measure":
            return [repr(entries[int(words[1])].measure(float(words[2])))]
        raise ValueError(f"there is no request '{request}'")

    for line in sys.stdin:
        try:
            lines = answer(line.rstrip("\n").split("\t"))
        except Exception as problem:  # pylint: disable=broad-except  # told to bench/run
            lines = [f"error\t{sentence_of(problem)}"]
        replies.write("".join(f"{each}\n" for each in [*lines, "."]))
        replies.flush()
