#!/bin/bash
# forecast.point_mase_ratio: our point forecasts against R's auto.arima on recorded paths, and what a fit costs of
# theirs. DATA names the folder of recorded paths. With R and its package "forecast" at hand R is asked now, some
# minutes; RECORDED=1 takes what it said before about the same windows.
cd "$(dirname "$0")/.." || exit 1
data=${DATA:-../shared/data/paths}
judge=build/tools/judge_points
if [[ -n ${RECORDED:-} || ! -d $data ]] || ! Rscript -e 'library(forecast)' >/dev/null 2>&1; then
        exec "$judge" --data "$data"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$judge" --data "$data" --export "$dir/windows" || exit 1
Rscript tools/reference_points.R "$dir/windows" "$dir/forecasts" || exit 1
"$judge" --data "$data" --reference "$dir/forecasts"
