#!/usr/bin/env bash
# Run tests with every supported Python on this machine, with the newest dependencies that are known
# to work and with the oldest that setup.py allows.
#
#     tests/pythons.sh [PYTEST ARGUMENT …]     # the unit tests by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Packages that the unit tests import; pytest skips tests that need other extras.
TOOLS="pytest pytest-xdist hypothesis mapie crepes"

# On PATH or installed by pyenv, whose shims on PATH may have no Python behind them.
find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
}

run() { # NAME PYTHON CONSTRAINTS PYTEST-ARGUMENT…
    local name=$1 python=$2 constraints=$3 folder=build/pythons/$1
    shift 3
    echo "== $name: $("$python" --version), $constraints"
    if [ "$folder/.installed" -ot "$constraints" ] || [ "$folder/.installed" -ot setup.py ]; then
        "$python" -m venv --clear "$folder"
        # shellcheck disable=SC2086  # split into words
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$constraints" --editable '.[models]' $TOOLS
        touch "$folder/.installed"
    fi
    "$folder/bin/python" -m pytest -q -p no:cacheprovider "$@"
}

[ $# -gt 0 ] || set -- tests/unit
found=
for version in 3.10 3.11 3.12 3.13 3.14; do
    python=$(find_python "$version")
    [ -n "$python" ] || continue
    found="$found $version"
    for constraints in tests/constraints/{oldest,newest}-"$version".txt; do
        [ -f "$constraints" ] || continue
        name=$(basename "$constraints" .txt)
        run "$name" "$python" "$constraints" "$@"
    done
done
echo "tested on Python${found:- none}"
[ -n "$found" ]
