# SPDX-License-Identifier: BSD-3-Clause
"""What compilers take and make of heddle: seconds, memory, symbols, sizes.

bench/c12_compile.py prints the figures beside those of other libraries; tests/size/check holds
memory, symbols and sizes to a budget.
"""
import dataclasses
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
ROOMS = sorted(path.name for path in (ROOT / "include" / "heddle").iterdir() if path.is_dir())
HOST = ("-std=c++20", "-I", str(ROOT / "include"), "-DHEDDLE_WITH_ONEDNN=1", "-fopenmp")
IO = ("-DHEDDLE_WITH_JSON=1",)


@dataclasses.dataclass(frozen=True)
class Program:
    """Sources that make one program, and how its user compiles and links them."""
    name: str
    sources: tuple
    flags: tuple
    libraries: tuple
    needs: str = ""       # a header without which it cannot be compiled


@dataclasses.dataclass(frozen=True)
class Run:
    """One command: seconds on the clock and of processors, bytes of its largest process."""
    seconds: float
    processor: float
    memory: int


@dataclasses.dataclass(frozen=True)
class Built:
    """A program that was built. Sizes are in bytes."""
    path: pathlib.Path
    seconds: float
    processor: float
    memory: int
    longest_symbol: int
    stripped: int


TRAINER = Program("mlp_trainer", (HERE / "mlp_trainer.cpp",), HOST, ("-fopenmp", "-ldnnl"))
# Goal C12: seconds, MB, kB and seconds at most.
TRAINER_AT_MOST = {"seconds": 4, "memory": 600, "stripped": 500, "start": 5e-3, "nvcc": 20}
# One network, and a unit full of statements.
DEBUG_UNITS = (HERE / "mlp_trainer.cpp", ROOT / "tests" / "nn" / "parity_test.cpp")
PEERS = {
    "libtorch": Program("libtorch_trainer", (HERE / "peers" / "libtorch_trainer.cpp",),
                        ("-std=c++17", "-I/usr/include/torch/csrc/api/include"),
                        ("-ltorch", "-ltorch_cpu", "-lc10"), "torch/torch.h"),
    "dlib": Program("dlib_trainer", (HERE / "peers" / "dlib_trainer.cpp",), ("-std=c++17",),
                    ("-ldlib", "-lblas", "-llapack"), "dlib/dnn.h"),
}


def examples():
    """The programs in examples/, as its CMakeLists.txt makes them: one per folder."""
    folders = sorted({source.parent for source in (ROOT / "examples").glob("*/*.cpp")})
    data = f'-DHEDDLE_EXAMPLES_DATA="{ROOT / "examples" / "data"}"'
    return [Program(folder.name, tuple(sorted(folder.glob("*.cpp"))), HOST + IO + (data,),
                    ("-fopenmp", "-ldnnl", "-lz")) for folder in folders]


def header_units():
    """Units of nothing but includes, by name: the umbrella, and all headers of each room."""
    units = {"heddle.hpp": ["heddle/heddle.hpp"]}
    for room in ROOMS:
        headers = sorted((ROOT / "include" / "heddle" / room).glob("*.hpp"))
        units[room + "/"] = [f"heddle/{room}/{header.name}" for header in headers]
    return {name: "".join(f"#include <{header}>\n" for header in headers)
            for name, headers in units.items()}


def run(command, **options):
    """Runs a command; exits with what it printed if it fails."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        # Compiled anew each time, whatever stands in the compiler's place.
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT,
                                 env=dict(os.environ, CCACHE_DISABLE="1", LC_ALL="C"), **options)
        _, status, used = os.wait4(child.pid, 0)  # with the largest of all its descendants
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(words)} failed:\n{output.read().decode(errors='replace')}")
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def text_of(command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=True, env=dict(os.environ, LC_ALL="C")).stdout


def major_version(compiler="g++"):
    return int(text_of([compiler, "-dumpversion"]).split(".")[0])


def is_there(program):
    """Whether the header that a program needs is found."""
    if not program.needs:
        return True
    question = f"#if !__has_include(<{program.needs}>)\n#error\n#endif\n"
    return subprocess.run(["g++", *program.flags, "-E", "-x", "c++", "-"], input=question,
                          capture_output=True, text=True, check=False).returncode == 0


def longest_symbol(path):
    """The length of the longest name in an object, as it stands there."""
    return max((len(line.split()[-1]) for line in text_of(["nm", path]).splitlines() if line),
               default=0)


def stripped_size(path):
    stripped = path.with_name(path.name + ".stripped")
    run(["strip", "-s", "-o", stripped, path])
    return stripped.stat().st_size


def build(program, optimisation, directory):
    """Compiles each source, links, strips. optimisation: more flags, '-O2' for one."""
    runs = []
    symbol = 0
    objects = []
    for source in program.sources:
        objects.append(directory / f"{program.name}.{source.stem}.o")
        runs.append(run(["g++", *program.flags, *optimisation.split(), "-c", source,
                         "-o", objects[-1]]))
        symbol = max(symbol, longest_symbol(objects[-1]))
    path = directory / program.name
    runs.append(run(["g++", *objects, "-o", path, *program.libraries]))
    return Built(path, sum(r.seconds for r in runs), sum(r.processor for r in runs),
                 max(r.memory for r in runs), symbol, stripped_size(path))


def with_shared_unit(program, optimisation, directory):
    """The program where what units share was compiled before, as the libraries of peers were."""
    flags = (*program.flags, "-DHEDDLE_COMPILED")
    unit = directory / f"{program.name}.compiled.o"
    run(["g++", *flags, *optimisation.split(), "-c", ROOT / "include" / "heddle" / "compiled.cpp", "-o", unit])
    return Program(program.name + "_compiled", program.sources, flags, (unit, *program.libraries))


def precompile(header, flags, directory):
    """A precompiled header, to be given to -include."""
    path = directory / "precompiled.hpp"
    path.write_text(f"#include <{header}>\n")
    run(["g++", *flags, "-x", "c++-header", path, "-o", f"{path}.gch"])
    return path


def compile_unit(source, flags, directory):
    """An object, by the flags alone."""
    return run(["g++", *flags, "-c", source, "-o", directory / "unit.o"])


def read_headers(text, directory):
    """The compiler reads a unit that only includes, and makes nothing."""
    unit = directory / "headers.cpp"
    unit.write_text(text)
    return run(["g++", *HOST, *IO, "-fsyntax-only", unit])


def find_nvcc():
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def compile_with_nvcc(source, flags, directory, architecture="sm_80"):
    """An object for one architecture of GPUs."""
    host = [f"-Xcompiler={flag}" if flag == "-fopenmp" else flag for flag in flags]
    return run([find_nvcc(), "-x", "cu", *host, "-DHEDDLE_WITH_CUBLASLT=1", "-O2",
                f"-arch={architecture}", "-c", source, "-o", directory / "unit.cu.o"])


def installed_size(path):
    """Bytes of all shared libraries that a program loads."""
    found = {os.path.realpath(name)
             for name in re.findall(r"(/\S+) \(0x", text_of(["ldd", path]))}
    return sum(os.path.getsize(name) for name in found)


def starts(paths, turns=31):
    """From start to exit of each program without arguments, which take turns: the medians."""
    taken = {name: [] for name in paths}
    with open(os.devnull, "wb") as nowhere:
        for turn in range(turns + 1):
            for name, path in paths.items():
                began = time.perf_counter()
                child = os.posix_spawn(path, [str(path)], os.environ, file_actions=[
                    (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)])
                _, status, used = os.wait4(child, 0)
                seconds = time.perf_counter() - began
                if status != 0:
                    sys.exit(f"{path} without arguments ends with status {status}")
                if turn > 0:  # the first brings files into memory
                    taken[name].append(Run(seconds, used.ru_utime + used.ru_stime,
                                           used.ru_maxrss * 1024))
    return {name: Run(*(statistics.median(getattr(run, member) for run in runs)
                        for member in ("seconds", "processor", "memory")))
            for name, runs in taken.items()}
