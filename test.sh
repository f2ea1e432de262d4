#!/usr/bin/env bash
# Sets up what is missing, checks style and types and runs all tests, a file on each core. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./setup.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec .venv/bin/python -m pytest --numprocesses auto --dist loadfile "$@"
