# SPDX-License-Identifier: BSD-3-Clause
"""Checks bench/run with workers whose times are known, and that it notices what is wrong with them.

usage: bench/run --self-test

The same file is the worker: self_test.py --worker <description in JSON>.
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import gpu_goals
import racing
import report

HERE = pathlib.Path(__file__).resolve().parent


def worker(description, log):
    """Answers as the description says: its works, and by work its contenders, each with a name, values, and
    the times that its turns take."""
    entered, turns = [], {}
    for line in sys.stdin:
        request, *words = line.rstrip("\n").split("\t")
        if request == "works":
            print("\n".join(description["works"]))
        elif request == "enter":
            entered = [each for each in description["contenders"] if each["work"] == words[0]]
            for each in entered:
                if "absent" in each:
                    print(f"absent\t{each['peer']}\t{each['absent']}")
                else:
                    print(f"contender\t{each['peer']}\t{each.get('variant', '')}\t{each.get('threads', 1)}")
            entered = [each for each in entered if "absent" not in each]
        elif request == "values":
            print("\n".join(map(str, entered[int(words[0])].get("values", [1.0, 2.0]))))
        elif request == "measure":
            each = entered[int(words[0])]
            with open(log, "a", encoding="utf-8") as text:
                text.write(f"{each['peer']}{each.get('variant', '')}{each.get('threads', 1)}\n")
            at = turns[words[0]] = turns.get(words[0], -1) + 1
            if each["times"] == "die":
                return 3
            if each["times"] == "error":
                print("error\tthe contender fell over")
            else:
                print(each["times"][at % len(each["times"])])
        print(".", flush=True)
    return 0


def own(*contenders, peers=("eigen",), demands=(), threads=("threads 1",)):
    return {"works": ["goal\tF1\ta goal", "build\tdefault", *(f"peer\t{peer}" for peer in peers),
                      "\t".join(["work\tw", "s", *threads, *demands])],
            "contenders": [{"work": "w", **each} for each in contenders]}


def peers(*contenders):
    return {"works": ["work\tw"], "contenders": [{"work": "w", **each} for each in contenders]}


class Run:
    """bench/run on workers of descriptions."""

    def __init__(self, *descriptions, rounds=5, more=()):
        with tempfile.TemporaryDirectory() as folder:
            log, path = pathlib.Path(folder) / "log", pathlib.Path(folder) / "json"
            command = [sys.executable, str(HERE / "run"), "--json", str(path), "--rounds", str(rounds), *more]
            for each in descriptions:
                command += ["--worker", shlex.join([sys.executable, str(HERE / "self_test.py"), "--worker",
                                                    json.dumps(each), str(log)])]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
            self.json = json.loads(path.read_text()) if path.exists() else None
            self.order = log.read_text().split() if log.exists() else []


FAILED = []


def claim(sentence, holds, run=None):
    if not holds:
        FAILED.append(sentence)
        print(f"FAILED: {sentence}")
        if run:
            print(run.status, run.json, run.out, run.err, sep="\n")


def medians():
    # the first turn is the warm-up; the medians of the other five are 3 and 30
    heddle = {"peer": "heddle", "times": [99, 50, 1, 3, 2, 4]}
    eigen = {"peer": "eigen", "times": [1, 500, 10, 30, 20, 40]}
    run = Run(own(heddle, {"peer": "limit", "variant": "triad", "times": [1]},
                  {"peer": "limit", "variant": "multiply-adds", "times": [2]}), peers(eigen))
    claim("the JSON holds medians without the warm-up, and the highest limit",
          run.status == 0 and run.json == {"goal": "F1", "cases": [
              {"name": "w, 1 thread, default build", "unit": "s", "heddle": 3, "peers": {"eigen": 30},
               "limit": 2}]}, run)
    claim("the table has a row of each contender",
          "| w | eigen, 1 thread | 30 s | 10.00 | 0.07 |" in run.out
          and "| w | heddle, default build, 1 thread | 3 s | 1.00 | 0.67 |" in run.out, run)
    run = Run(own(heddle), peers(eigen))
    claim("the limit is null where there is none", run.json and run.json["cases"][0]["limit"] is None, run)


def turns():
    run = Run(own({"peer": "heddle", "times": [1]}, {"peer": "heddle", "variant": "b", "times": [1]}),
              peers({"peer": "eigen", "times": [1]}), rounds=3)
    there = ["heddle1", "heddleb1", "eigen1"]
    claim("all take their turn in each round, every other round backwards",
          run.order == there + there[::-1] + there + there[::-1], run)


def figures():
    two = ("threads 1", "threads 2")
    native = own({"peer": "heddle", "times": [0.5]}, {"peer": "heddle", "threads": 2, "times": [0.25]},
                 threads=two)
    native["works"][1] = "build\tnative"
    run = Run(own({"peer": "heddle", "times": [4]}, {"peer": "heddle", "variant": "other", "times": [1]},
                  {"peer": "heddle", "threads": 2, "times": [2]}, threads=two), native,
              peers({"peer": "eigen", "variant": "a", "times": [7]}, {"peer": "eigen", "variant": "b", "times": [6]},
                    {"peer": "eigen", "threads": 2, "times": [9]}))
    found = {case["name"]: (case["heddle"], case["peers"].get("eigen")) for case in (run.json or {}).get("cases", [])}
    claim("heddle's first way counts, a peer's best way and best thread count, and both builds are cases",
          found == {"w, 1 thread, default build": (4, 6), "w, 1 thread, native build": (0.5, 6),
                    "w, 2 threads, default build": (2, 6), "w, 2 threads, native build": (0.25, 6)}, run)


def missing():
    heddle, eigen = {"peer": "heddle", "times": [1]}, {"peer": "eigen", "times": [2]}
    lacking = own(heddle, peers=("eigen", "jax"))
    away = {"peer": "jax", "absent": "ImportError: no jax"}
    run = Run(lacking, peers(eigen, away))
    claim("a missing peer is said in one sentence, with its reason, and fails",
          run.status == 1 and run.json is None
          and run.err.count("F1 lacks jax (ImportError: no jax): bench/README.md") == 1, run)
    run = Run(lacking, peers(eigen, away), more=["--allow-missing"])
    claim("a missing peer may be allowed", run.status == 0 and "F1 lacks jax" in run.err
          and run.json and run.json["cases"][0]["peers"] == {"eigen": 2}, run)


def faults():
    heddle, eigen = {"peer": "heddle", "times": [1]}, {"peer": "eigen", "times": [2]}
    run = Run(own(heddle), peers({**eigen, "values": [1.0, 2.5]}), more=["--allow-missing"])
    claim("another result than heddle's is noticed, and its time is not reported",
          run.status == 1 and "the result of eigen, 1 thread is not heddle's" in run.err
          and run.json and run.json["cases"][0]["peers"] == {}, run)
    run = Run(own(heddle), peers({**eigen, "values": [1.0]}), more=["--allow-missing"])
    claim("a shorter result is noticed", run.status == 1 and "is not heddle's" in run.err, run)
    run = Run(own(heddle), peers({**eigen, "values": [1.0, "nan"]}), more=["--allow-missing"])
    claim("a result that is no number is noticed", run.status == 1 and "is not heddle's" in run.err, run)
    run = Run(own(heddle), peers({**eigen, "values": [1.00001, 2.00002]}))
    claim("rounding is no fault", run.status == 0 and run.json is not None, run)
    run = Run(own(heddle), peers({**eigen, "times": "die"}))
    claim("a worker that ends is noticed", run.status == 1 and "with status 3" in run.err, run)
    run = Run(own(heddle), peers({**eigen, "times": "error"}))
    claim("a contender that fails is noticed", run.status == 1 and "the contender fell over" in run.err, run)


def verdicts():
    def judged(demand, **case):
        return report.verdict({"heddle": 1.0, "peers": {}, "limit": None, "unit": "s", **case}, [demand])
    claim("at most", judged("most 1")[1] and not judged("most 0.9")[1])
    claim("a share of the limit", judged("limit 0.9", limit=0.9)[1] and not judged("limit 0.9", limit=0.89)[1])
    claim("no limit meets no share", not judged("limit 0.9")[1])
    claim("as fast as a peer", judged("peer eigen 4", peers={"eigen": 4})[1]
          and not judged("peer eigen 4", peers={"eigen": 3.9})[1])
    claim("or at the limit, where the peer is within k of it",
          judged("peer eigen 4", peers={"eigen": 3.5}, limit=0.96)[1]
          and not judged("peer eigen 4", peers={"eigen": 3.5}, limit=0.9)[1])
    claim("a missing peer meets nothing", not judged("peer eigen 4")[1])
    claim("nothing is demanded, nothing judged", report.verdict({"heddle": 1, "limit": None, "unit": "s"}, []) is None)
    claim("the sentence is whole", judged("peer eigen 4", peers={"eigen": 2})[0]
          == "2.00 × eigen, ≥ 4: missed")
    claim("numbers are written for reading", [report.number_text(*each) for each in (
        (90e-9, "s"), (4.66e-6, "s"), (0.0662, "s"), (256.0, "B"), (None, "s"))]
        == ["90 ns", "4.66 µs", "66.2 ms", "256 B", "—"])


SCRIPT = """
PEERS = ["libtorch", "dlib"]
def measure():
    return {"goal": "F2", "cases": [{"name": "size", "unit": "MB", "heddle": 3.0, "peers": {"libtorch": 9.0},
                                     "limit": None, "at_most": 4}]}
"""


def scripts():
    loader = importlib.machinery.SourceFileLoader("bench_run", str(HERE / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(module)
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "f2_script.py"
        source.write_text(SCRIPT)
        result, lacking = module.from_script("F2", source, "a script")
    claim("a script's cases are in the same form, and what they carry is demanded",
          result.json() == {"goal": "F2", "cases": [{"name": "size", "unit": "MB", "heddle": 3.0,
                                                     "peers": {"libtorch": 9.0}, "limit": None}]}
          and "| size | libtorch | 9 MB | 3.00 | — |" in report.table(result)
          and "* **met**, size: 3 MB, ≤ 4 MB: met" in report.table(result))
    claim("a script's missing peer is noticed", lacking and "F2 lacks dlib: " in result.problems[0])


def listing():
    done = subprocess.run([sys.executable, str(HERE / "run"), "--list"], capture_output=True, text=True, check=False)
    names = [line.split("\t")[0] for line in done.stdout.splitlines()]
    claim("the goals are listed in order, those of a GPU last, a line each",
          done.returncode == 0 and names == sorted(names, key=lambda name: (name[0], int(name[1:])))
          and {"C1", *(f"G{k}" for k in range(1, 7))} <= set(names)
          and all(len(line.split("\t")[1]) > 10 for line in done.stdout.splitlines()))
    done = subprocess.run([sys.executable, str(HERE / "run"), "--goal", "C99"], capture_output=True, text=True,
                          check=False)
    claim("an unknown goal is a mistake", done.returncode == 2 and "there is no goal C99" in done.stderr)
    claim("results agree but for rounding", racing.agree([1, 2], [1.00001, 2]) and not racing.agree([1], [1.1]))


OWN = [{"goal": "copy", "name": "device copy", "unit": "s", "heddle": 1, "limit": 0, "bytes": 3e12},
       {"goal": "G3", "name": "norm, forward", "unit": "s", "heddle": 1.0, "limit": 0.85, "bytes": 8},
       {"goal": "G3", "name": "norm, backward", "unit": "s", "heddle": 1.0, "limit": 0.85, "bytes": 8},
       {"goal": "G6", "name": "small", "unit": "s", "heddle": 2e-6, "limit": 3e-6, "bytes": 0}]
PROGRAM = """#!{python}
import sys
print({lines!r}) if sys.argv[1:] == ["G3"] else sys.exit(3)
"""
NVCC = """#!{python}
import pathlib, sys
program = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
program.write_text({program!r})
program.chmod(0o755)
"""


def gpu():
    """The goals of a GPU, with figures and programs that are made up."""
    result, lacking = gpu_goals.result("G3", "norms", OWN, [
        {"goal": "G3", "name": "norm, forward", "torch": 2.0, "torch_compile": None}])
    claim("a GPU's cases are in the same form, beside peers of the same name",
          not lacking and result.json() == {"goal": "G3", "cases": [
              {"name": "norm, forward", "unit": "s", "heddle": 1.0, "peers": {"torch": 2.0}, "limit": 0.85},
              {"name": "norm, backward", "unit": "s", "heddle": 1.0, "peers": {}, "limit": 0.85}]})
    text = report.table(result)
    claim("what is demanded of each is judged",
          "**missed**, norm, forward: 85 % of the limit, ≥ 90 %: missed" in text
          and "**met**, norm, backward: 85 % of the limit, ≥ 80 %: met" in text)
    result, lacking = gpu_goals.result("G6", "small", OWN, [], "no PyTorch")
    claim("a small statement is held to its goal, which is no limit",
          result.cases[0][0]["limit"] is None and "≤ 3 µs: met" in report.table(result))
    claim("peers of a GPU that are missing are said", lacking and "G6 lacks torch (no PyTorch)" in result.problems[0])
    with tempfile.TemporaryDirectory() as folder:
        without_gpu(pathlib.Path(folder))
        with_gpu(pathlib.Path(folder))


def without_gpu(folder):
    def run(*arguments):
        return subprocess.run([sys.executable, str(HERE / "run"), *arguments], capture_output=True, text=True,
                              check=False, env={**os.environ, "PATH": str(folder)})
    done = run("--goal", "G1", "--goal", "G2")
    claim("goals of a GPU alone, without one, are a sentence and status 77",
          done.returncode == 77 and done.stdout == "" and done.stderr.splitlines() == [
              "bench/run: there is no NVIDIA GPU here, or no driver for it: G1, G2 are left out"], done)
    heddle = own({"peer": "heddle", "times": [1]}, peers=())
    with tempfile.NamedTemporaryFile() as log:
        done = run("--goal", "C1", "--goal", "G1", "--worker", shlex.join(
            [sys.executable, str(HERE / "self_test.py"), "--worker", json.dumps(heddle), log.name]))
    claim("with others they are left out, and the others measured",
          done.returncode == 0 and "G1 is left out" in done.stderr and "| w | heddle" in done.stdout)


def with_gpu(folder):
    program = PROGRAM.format(python=sys.executable, lines="\n".join(map(json.dumps, OWN)))
    (folder / "nvidia-smi").write_text("#!/bin/sh\necho A GPU\n")
    (folder / "nvcc").write_text(NVCC.format(python=sys.executable, program=program))
    for tool in ("nvidia-smi", "nvcc"):
        (folder / tool).chmod(0o755)
    path, os.environ["PATH"] = os.environ["PATH"], str(folder) + os.pathsep + os.environ["PATH"]
    try:
        claim("the GPU is named", gpu_goals.name() == "A GPU")
        built = gpu_goals.build(folder / "build")
        claim("the program is built, and its lines are read", gpu_goals.lines_of([built, "G3"], None) == OWN)
        try:
            gpu_goals.lines_of([built, "G9"], None)
            claim("a program that fails is noticed", False)
        except racing.Failure as failure:
            claim("a program that fails is noticed, with its status", "ended with status 3" in str(failure))
    finally:
        os.environ["PATH"] = path


def main():
    tests = [medians, turns, figures, missing, faults, verdicts, scripts, listing, gpu]
    for test in tests:
        test()
    print(f"bench/run --self-test: {'failed: ' + '; '.join(FAILED) if FAILED else 'all claims hold'}")
    return 1 if FAILED else 0


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    sys.exit(worker(json.loads(sys.argv[2]), sys.argv[3]))
