# Share each step among forked processes: mclapply.R [STEPS]
library(parallel)
args <- commandArgs(trailingOnly = TRUE)
steps <- if (length(args) > 0) as.integer(args[1]) else 100L

x <- c(1, 2, 3, 4)
for (step in seq_len(steps)) {
  x <- unlist(mclapply(x, function(value) {
    Sys.sleep(0.3)
    (16807 * value + step) %% 2147483647
  }, mc.cores = 2))
  cat(sprintf("%d %.0f\n", step, sum(x)))
}
cat(sprintf("done %d %.0f\n", steps, sum(x)))
