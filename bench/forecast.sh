#!/bin/bash
# The figures forecast.*: models trained without some whole days (or nodes) and judged on those, by sundog's own
# train and backtest. Needs the development data: $SUNDOG_DATA, or ../shared/data beside the repository; without
# it every figure is null and says why. THREADS=n, EFFORT=x (rounds of training for paths, as a share of the recipe's).
# forecast.sh [svc] [pam] [node] [overload]: parts of it; all of them without a word.
set -u
cd "$(dirname "$0")/.."
exec python3 bench/forecast_figures.py "${SUNDOG_DATA:-../shared/data}" build/sundog build/tools/judge_nodes "$@"
