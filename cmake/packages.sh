# SPDX-License-Identifier: BSD-3-Clause
# Sourced by tests/run and examples/run: installs missing Debian packages, or says which line would.

# The packages among the arguments that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      printf '%s ' "$package"
    fi
  done
}

# need_packages <package>…: returns with all of them installed, or exits 1.
need_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is not a Debian or Ubuntu system: going on without checking for packages ($*)."
    return 0
  fi
  local missing as_root=()
  missing="$(missing_packages "$@")"
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      echo "Packages are missing. Install them, then run this again:" >&2
      echo "  sudo apt-get install --no-install-recommends ${missing% }" >&2
      exit 1
    fi
  fi
  echo "Installing: $missing"
  # shellcheck disable=SC2086  # a list of words
  if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $missing >/dev/null; } </dev/null; then
    echo "apt-get failed. The line that has to work:" >&2
    echo "  apt-get install --no-install-recommends ${missing% }" >&2
    exit 1
  fi
}

# Compile jobs: one per core, and no more than one per 2 GiB of memory.
compile_jobs() {
  local cores memory
  cores="$(nproc)"
  memory="$(awk '/MemTotal/ { print int($2 / 2097152) }' /proc/meminfo)"
  [ "$memory" -ge 1 ] || memory=1
  echo "$((cores < memory ? cores : memory))"
}

# Compilations are cached where ccache is installed.
use_ccache() {
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER="${CMAKE_CXX_COMPILER_LAUNCHER-ccache}"
  fi
}
