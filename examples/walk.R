# Random walk in the plane: walk.R [STEPS]
args <- commandArgs(trailingOnly = TRUE)
steps <- if (length(args) > 0) as.integer(args[1]) else 300L

set.seed(20)
x <- c(0, 0)
for (step in seq_len(steps)) {
  moves <- matrix(rnorm(20000), ncol = 2)
  x <- x + colSums(moves)
  cat(sprintf("%d %.8f %.8f\n", step, x[1], x[2]))
  Sys.sleep(0.09)
}
cat(sprintf("done %d %.8f %.8f\n", steps, x[1], x[2]))
