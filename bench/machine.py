# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run needs on this machine: packages, peers in Python, programs, and what they are called."""
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
PYTHON = BUILD / "venv" / "bin" / "python"
DEBIAN = ("g++ cmake ninja-build python3-dev python3-venv libbenchmark-dev libdnnl-dev nlohmann-json3-dev "
          "libprotozero-dev zlib1g-dev libdlib-dev libeigen3-dev libxtensor-dev libxsimd-dev libtorch-dev "
          "libopenblas0-openmp").split()
# PyTorch asks for its CUDA libraries (4 GB) and does not start without them.
PYPI = ["torch", "jax", "numpy", "tensorboard", "packaging", "setuptools", "matplotlib"]
STAMP = BUILD / "venv" / "heddle-installed"


def packages():
    """The shell's need_packages; other systems are left to their user."""
    subprocess.run(["bash", "-c", 'source "$1"; shift; need_packages "$@"', "bash",
                    ROOT / "cmake" / "packages.sh", *DEBIAN], check=True, stdout=sys.stderr)


def python_packages():
    if STAMP.exists() and STAMP.read_text().split() == PYPI:
        return
    print("bench/run: installing peers in Python into build/bench/venv (6 GB)", file=sys.stderr)
    BUILD.mkdir(parents=True, exist_ok=True)
    if not PYTHON.exists():
        venv.create(BUILD / "venv", with_pip=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PYPI], check=True,
                   stdout=sys.stderr)
    STAMP.write_text("\n".join(PYPI))


def compile_jobs():
    return subprocess.run(["bash", "-c", 'source "$1"; compile_jobs', "bash", ROOT / "cmake" / "packages.sh"],
                          check=True, capture_output=True, text=True).stdout.strip()


def build(sources, jobs):
    """Builds the programs of goals, both builds of each."""
    targets = [f"bench_{source.stem}{build}" for source in sources for build in ("", "_native")]
    steps = [["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
              "-DCMAKE_CXX_EXTENSIONS=OFF", "-DHEDDLE_BUILD_BENCH=ON", "-DHEDDLE_BUILD_TESTS=OFF",
              "-DHEDDLE_BUILD_EXAMPLES=OFF"],
             ["cmake", "--build", BUILD, "--parallel", jobs or compile_jobs(), "--target", *targets]]
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "build.log", "w", encoding="utf-8") as log:
        for step in steps:
            if subprocess.run(step, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
                print((BUILD / "build.log").read_text()[-4000:], file=sys.stderr)
                raise SystemExit("bench/run: the build failed; build/bench/build.log has all of it: "
                                 + shlex.join(map(str, step)))


def environment():
    """OPENBLAS_* settings halve OpenBLAS; what torch.compile builds is kept."""
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(BUILD / "inductor"))


def workers(goal, source):
    """The commands of the workers of a goal: its own programs, then the peers in Python, one for each
    thread count."""
    program = BUILD / "bench" / f"bench_{source.stem}"
    commands = [[str(program), "--serve"], [f"{program}_native", "--serve"]]
    counts = range(1, min(2, len(os.sched_getaffinity(0))) + 1)
    python = str(PYTHON if PYTHON.exists() else sys.executable)
    for script in sorted((ROOT / "bench" / "peers").glob("*_worker.py")):
        for threads in counts:
            commands.append([python, str(script), "--serve", goal, "--threads", str(threads)])
    return commands


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        return f"{named[0]}, {len(os.sched_getaffinity(0))} of {len(named)} processors"
    except (OSError, IndexError):
        return platform.machine()


def versions():
    """What is measured, and with what, in one line."""
    found = []
    for package in ("g++", "libtorch-dev", "libeigen3-dev", "libxtensor-dev", "libxsimd-dev", "libdnnl-dev"):
        query = subprocess.run(["bash", "-c", f"dpkg-query -W -f '${{Version}}' {package} 2>/dev/null"],
                               capture_output=True, text=True, check=False)
        if query.stdout:
            found.append(f"{package} {query.stdout}")
    for folder in sorted((BUILD / "venv").glob("lib/python*/site-packages/*.dist-info")):
        name, version = folder.name.removesuffix(".dist-info").split("-")[:2]
        if name in ("torch", "jax", "tensorboard"):
            found.append(f"{name} {version}")
    return ", ".join(found)
