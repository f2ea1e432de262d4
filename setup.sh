#!/usr/bin/env bash
# Makes .venv from requirements.txt; at once when that is done already.
# PYTHON=python3.13 ./setup.sh chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

installed=.venv/requirements.installed
if cmp -s requirements.txt "$installed"; then
    exit 0
fi

if [[ $(uname) != Linux ]]; then
    echo "setup.sh: this runs on Linux (data_prep limits its reader processes by Linux's means)." >&2
    exit 1
fi

supported() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "setup.sh: needs Python 3.10, 3.11, 3.12 or 3.13 (fairseq cannot be imported on 3.14);" \
        "install one and name it: PYTHON=/path/to/python3.13 ./setup.sh" >&2
    return 1
}

install() {
    .venv/bin/python -m pip install --disable-pip-version-check --quiet "$@" >>.venv/setup.log 2>&1 || {
        tail -n 15 .venv/setup.log >&2
        echo "setup.sh: pip failed; the whole log is in .venv/setup.log" >&2
        exit 1
    }
}

python=$(find_python)
echo "Setting up .venv with $("$python" --version), once; fairseq is built from source, about 4 minutes."
rm -f "$installed"
"$python" -m venv .venv
: >.venv/setup.log
grep -vE '^(fairseq|triton)' requirements.txt >.venv/requirements.first
install -r .venv/requirements.first
grep '^fairseq' requirements.txt >.venv/requirements.fairseq
build_fairseq() { install --no-deps --no-build-isolation "$@" -r .venv/requirements.fairseq; }
build_fairseq
if ! .venv/bin/python -c 'import fairseq.data.data_utils_fast' 2>/dev/null; then
    # pip had kept what it once built against another NumPy
    .venv/bin/python -m pip cache remove 'fairseq*' >>.venv/setup.log 2>&1 || true
    build_fairseq --force-reinstall
fi
if ! .venv/bin/python -c 'import triton' 2>/dev/null; then
    grep '^triton' requirements.txt >.venv/requirements.triton
    install -r .venv/requirements.triton
fi
cp requirements.txt "$installed"
echo "Done: .venv"
