#!/usr/bin/env bash
# Run tests with every supported Python on this machine, with the newest dependencies that are known
# to work and with the oldest that setup.py allows.
#
#     tests/pythons.sh [PYTEST ARGUMENT …]     # the unit tests by default
#     SETS="oldest-3.10 newest-3.13" tests/pythons.sh     # these files of tests/constraints only
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
for constraints in tests/constraints/oldest-*.txt tests/constraints/newest-*.txt; do
    name=$(basename "$constraints" .txt)
    [[ " ${SETS:-$name} " == *" $name "* ]] || continue
    python=$(find_python "${name#*-}")
    [ -n "$python" ] || continue
    found="$found $name"
    run "$name" "$python" "$constraints" "$@"
done
echo "tested:${found:- nothing, as this machine has none of these Pythons}"
