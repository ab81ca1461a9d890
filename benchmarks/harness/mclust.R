# Fits mixtures with mclust's defaults. Reads lines "folder<TAB>rows<TAB>features<TAB>K<TAB>model" and answers each with
# the seconds that the processor took, and "fitted" or "failed". Rows and parameters are in files of the folder, float64,
# the first index fastest.
suppressPackageStartupMessages(library(mclust))
answer <- function(...) {
  cat(..., "\n")
  flush(stdout())
}
answer(as.character(packageVersion("mclust")))
requests <- file("stdin", "r")
while (length(line <- readLines(requests, 1)) > 0) {
  asked <- strsplit(line, "\t")[[1]]
  size <- as.integer(asked[2:4])
  rows <- matrix(readBin(file.path(asked[1], "rows"), "double", size[1] * size[2]), size[1], size[2])
  before <- proc.time()
  model <- tryCatch(
    suppressWarnings(Mclust(rows, G = size[3], modelNames = asked[5], verbose = FALSE)),
    error = function(condition) NULL
  )
  seconds <- sum((proc.time() - before)[c("user.self", "sys.self")])
  if (is.null(model)) {
    answer(seconds, "failed")
  } else {
    found <- model$parameters
    covariances <- if (size[2] == 1) rep_len(found$variance$sigmasq, size[3]) else found$variance$sigma
    writeBin(as.double(c(found$pro, found$mean, covariances)), file.path(asked[1], "fitted"))
    answer(seconds, "fitted")
  }
}
