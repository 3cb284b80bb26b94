#!/usr/bin/env bash
# Run tests on every supported Python that this machine has, with the newest versions of what it
# needs that are known to work, and with the oldest that setup.py allows.
#
#     tests/pythons.sh [PYTEST ARGUMENT …]     # the unit tests by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the unit tests import; pytest skips those of other extras.
TOOLS="pytest pytest-xdist hypothesis mapie crepes"

# On PATH, or kept by pyenv, whose commands on PATH need not have a Python behind.
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
        # shellcheck disable=SC2086  # several words
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
