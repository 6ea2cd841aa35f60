# Rscript tools/reference_points.R WINDOWS FORECASTS
# Forecasts each window of judge_points --export 1, 5 and 30 steps ahead with R's auto.arima and ets
# (package forecast), as they come. A line of the result: id arima1 arima5 arima30 seconds ets1 ets5 ets30 seconds
suppressMessages(library(forecast))
argument <- commandArgs(trailingOnly = TRUE)
out <- file(argument[2], "w")
cat("# R", as.character(getRversion()), "forecast", as.character(packageVersion("forecast")), "\n", file = out)
for (line in readLines(argument[1])) {
  field <- strsplit(line, " ")[[1]]
  x <- as.numeric(field[-(1:2)])
  said <- c()
  for (fit in list(auto.arima, function(x) ets(na.interp(x)))) {
    t <- system.time(f <- tryCatch(forecast(fit(ts(x)), h = 30)$mean, error = function(e) rep(NA, 30)))
    said <- c(said, f[1], f[5], f[30], t[["user.self"]] + t[["sys.self"]])
  }
  cat(field[1], said, "\n", file = out)
  flush(out)
}
close(out)
