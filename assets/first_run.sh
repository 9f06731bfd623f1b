#!/usr/bin/env bash
# From a fresh clone to a trained, evaluated and compared checkpoint: bash assets/first_run.sh [FOLDER]
# Makes a virtual environment in .venv where none is active; results go to FOLDER (default first_run). Needs no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out="${1:-first_run}"

tell() { printf '\n== %s (%d min %02d s so far)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

if [ -z "${VIRTUAL_ENV:-}" ]; then
    tell "A virtual environment"
    "${PYTHON:-python3}" -m venv .venv
    # shellcheck disable=SC1091
    . .venv/bin/activate
fi
tell "Installing"
python -m pip install -q -e .

tell "Training: SFT, Stage 1, Stage 2 of preset smoke"
tracer1 train pipeline --preset smoke --out "$out/run"

for planner in 1_sft 2_stage1 3_stage2; do
    tell "Evaluating $planner"
    tracer1 evaluate grounded --planner "$out/run/$planner/final" --split test --episodes 12 --out "$out/evaluations/$planner"
done

tell "Comparing"
tracer1 compare evaluations "sft=$out/evaluations/1_sft" "stage2=$out/evaluations/3_stage2" --report "$out/report.html"

tell "Done"
echo "The report: $out/report.html"
echo "The same in the browser: python app.py --runs $out/run --evaluations $out/evaluations"
