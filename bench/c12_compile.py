#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Goal C12: what it takes to compile, link and start the trainer of a perceptron.

usage: bench/c12_compile.py [--repeats N] [--trainer-only] [--json FILE]

Prints the trainer (bench/compile/mlp_trainer.cpp) beside the same program in LibTorch and dlib
where they are found, then heddle's headers by room and its examples. Nothing is linked statically
but what g++ does by itself; sizes are in 10^6 bytes (MB) or 10^3 (kB). Seconds are of this machine
at this hour: the processor's, and the median of N turns (3).
"""
import argparse
import contextlib
import json
import pathlib
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "compile"))
import measure as compilers  # noqa: E402

BUILD = "g++ -O2, compile and link"
SHARED = "HEDDLE_COMPILED"
AT_MOST = compilers.TRAINER_AT_MOST
PEERS = tuple(compilers.PEERS)
DEBUG_AT_LEAST = 3  # times as fast to compile as what is fused


@contextlib.contextmanager
def folder(given):
    if given is not None:
        path = pathlib.Path(given)
        path.mkdir(parents=True, exist_ok=True)
        yield path
    else:
        with tempfile.TemporaryDirectory() as made:
            yield pathlib.Path(made)


def case(name, unit, figures, at_most=None, limit=None):
    peers = {peer: figure for peer, figure in figures.items() if peer != "heddle"}
    return {"name": name, "unit": unit, "heddle": figures["heddle"], "peers": peers,
            "limit": limit, "at_most": at_most}


def empty_program(directory):
    """A program that does nothing: what starting a process takes."""
    source = directory / "empty.cpp"
    source.write_text("int main() {}\n")
    return compilers.build(compilers.Program("empty", (source,), (), ()), "-O2", directory).path


def measure_trainer(directory, repeats):
    programs = {"heddle": compilers.TRAINER}
    programs.update((name, peer) for name, peer in compilers.PEERS.items()
                    if compilers.is_there(peer))
    for name in set(compilers.PEERS) - set(programs):
        print(f"bench/c12_compile.py: {name} was not found; its column is left out",
              file=sys.stderr)
    shared = compilers.with_shared_unit(compilers.TRAINER, "-O2", directory)
    turns = [{name: compilers.build(program, "-O2", directory)
              for name, program in (programs | {SHARED: shared}).items()} for _ in range(repeats)]

    def median_of(member, scale=1.0):
        return {name: statistics.median(getattr(turn[name], member) for turn in turns) / scale
                for name in programs}

    def median_of_shared(member):
        return {"heddle": statistics.median(getattr(turn[SHARED], member) for turn in turns)}

    paths = {name: turns[-1][name].path for name in programs}
    starts = compilers.starts(dict(paths, empty=empty_program(directory)))
    nothing = starts.pop("empty")

    def start_of(member):
        return {name: getattr(run, member) for name, run in starts.items()}

    return [
        case(BUILD, "s", median_of("seconds"), AT_MOST["seconds"]),
        case(BUILD + ", of processors", "s", median_of("processor")),
        case(f"{BUILD}, {SHARED}", "s", median_of_shared("seconds"), AT_MOST["seconds"]),
        case(f"{BUILD}, {SHARED}, of processors", "s", median_of_shared("processor")),
        case(BUILD + ", memory", "MB", median_of("memory", 1e6), AT_MOST["memory"]),
        case("longest symbol", "characters", median_of("longest_symbol")),
        case("binary, stripped", "kB", median_of("stripped", 1e3), AT_MOST["stripped"]),
        case("start to exit", "s", start_of("seconds"), AT_MOST["start"],
             nothing.seconds),
        case("start to exit, of processors", "s", start_of("processor"), None, nothing.processor),
        case("libraries that it loads", "MB",
             {name: compilers.installed_size(path) / 1e6 for name, path in paths.items()}),
    ]


def measure_debug(directory, repeats):
    """The object of a debug build: fused as a release is, and interpreted as the preset `fast` does it."""
    fused = ("-O0", "-g")
    interpreted = (*fused, "-DHEDDLE_UNFUSED", "-DHEDDLE_COMPILED")
    header = compilers.precompile("heddle/heddle.hpp", compilers.HOST + interpreted, directory)
    cases = []
    for source in compilers.DEBUG_UNITS:
        ways = {"fused": fused, "interpreted": interpreted,
                "interpreted, precompiled header": (*interpreted, "-include", header)}
        seconds = {name: [] for name in ways}
        for _ in range(repeats):
            for name, flags in ways.items():
                run = compilers.compile_unit(source, compilers.HOST + flags, directory)
                seconds[name].append(run.processor)
        median = {name: statistics.median(turns) for name, turns in seconds.items()}
        cases += [case(f"debug build of {source.name}, {name}, of processors", "s", {"heddle": median[name]},
                       median["fused"] / DEBUG_AT_LEAST if "precompiled" in name else None)
                  for name in ways]
    return cases


def measure_nvcc(directory, repeats):
    if compilers.find_nvcc() is None:
        print("bench/c12_compile.py: nvcc was not found; its cases are left out", file=sys.stderr)
        return []
    source = compilers.HERE / "mlp_trainer.cu"
    runs = [compilers.compile_with_nvcc(source, compilers.TRAINER.flags, directory)
            for _ in range(repeats)]

    def median_of(member, scale=1.0):
        return {"heddle": statistics.median(getattr(run, member) for run in runs) / scale}

    return [case("nvcc -O2, one architecture", "s", median_of("seconds"), AT_MOST["nvcc"]),
            case("nvcc -O2, one architecture, of processors", "s", median_of("processor")),
            case("nvcc -O2, one architecture, memory", "MB", median_of("memory", 1e6))]


def measure(build_directory=None, repeats=3):
    """The trainer's figures. build_directory: where objects are left; else nowhere."""
    with folder(build_directory) as directory:
        return {"goal": "C12",
                "cases": measure_trainer(directory, repeats) + measure_debug(directory, repeats) +
                         measure_nvcc(directory, repeats)}


def measure_headers(build_directory=None):
    """Seconds, processor seconds and MB by room: the compiler reads its headers, no more."""
    with folder(build_directory) as directory:
        runs = {name: compilers.read_headers(text, directory)
                for name, text in compilers.header_units().items()}
    return [{"name": name, "seconds": run.seconds, "processor": run.processor,
             "memory": run.memory / 1e6} for name, run in runs.items()]


def measure_examples(build_directory=None):
    """Each example with g++ -O2, and with nvcc, where there is one, for one architecture."""
    rows = []
    with folder(build_directory) as directory:
        for program in compilers.examples():
            built = compilers.build(program, "-O2", directory)
            row = {"name": program.name, "seconds": built.seconds, "processor": built.processor,
                   "memory": built.memory / 1e6, "symbol": built.longest_symbol,
                   "stripped": built.stripped / 1e3}
            if compilers.find_nvcc() is not None:
                runs = [compilers.compile_with_nvcc(source, program.flags, directory)
                        for source in program.sources]
                row["nvcc seconds"] = sum(run.seconds for run in runs)
                row["nvcc memory"] = max(run.memory for run in runs) / 1e6
            rows.append(row)
    return rows


def figure_text(figure, unit):
    if figure is None:
        return "-"
    if unit == "s" and figure < 0.1:
        return f"{figure * 1e3:.2f} ms"
    return f"{figure:.2f} s" if unit == "s" else f"{figure:.0f} {unit}"


def print_cases(cases):
    print("| C12: the trainer | heddle | " + " | ".join(PEERS) + " | demanded | verdict |")
    print("|---|---|" + "---|" * len(PEERS) + "---|---|")
    for row in cases:
        texts = [figure_text(row["heddle"], row["unit"])]
        texts += [figure_text(row["peers"].get(peer), row["unit"]) for peer in PEERS]
        demanded = verdict = ""
        if row["at_most"] is not None:
            demanded = "≤ " + figure_text(row["at_most"], row["unit"])
            verdict = "met" if row["heddle"] <= row["at_most"] else "**missed**"
        if row["limit"] is not None:
            demanded += f" (an empty program: {figure_text(row['limit'], row['unit'])})"
        demanded = demanded.strip()
        print(f"| {row['name']} | " + " | ".join(texts) + f" | {demanded} | {verdict} |")


def print_rows(title, rows, units):
    columns = [column for column in units if any(column in row for row in rows)]
    print(f"\n| {title} | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row in rows:
        print(f"| {row['name']} | " + " | ".join(figure_text(row.get(column), units[column])
                                                 for column in columns) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--trainer-only", action="store_true", help="no headers, no examples")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error(f"--repeats: {given.repeats} turns measure nothing; at least 1 is expected")

    result = measure(repeats=given.repeats)
    print_cases(result["cases"])
    if not given.trainer_only:
        result["headers"] = measure_headers()
        print_rows("headers, read only", result["headers"],
                   {"seconds": "s", "processor": "s", "memory": "MB"})
        result["examples"] = measure_examples()
        print_rows("examples, g++ -O2", result["examples"],
                   {"seconds": "s", "processor": "s", "memory": "MB", "symbol": "characters",
                    "stripped": "kB", "nvcc seconds": "s", "nvcc memory": "MB"})
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
