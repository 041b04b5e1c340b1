# Makes one_arm.json: proportions and rates of one arm, pooled under one common effect.
# Rscript one_arm.R > one_arm.json      (R 4.2.2, metafor 3.8-1, metadat 1.2.0, jsonlite)
suppressMessages({library(metafor); library(jsonlite)})
data(dat.pritz1997)
sets <- list(
  list(citation = "Pritz et al. 1997, 14 studies of hyperdynamic therapy (metadat dat.pritz1997)",
       events = dat.pritz1997$xi, total = dat.pritz1997$ni),
  list(citation = "Fleming & Harrington 1991, CGD trial, treated arm by hospital; first infection",
       events = c(3, 0, 5, 0, 2, 1, 0, 1, 1, 0, 0, 1, 0),
       total = c(8, 3, 15, 2, 9, 5, 1, 2, 7, 4, 2, 4, 1),
       person_time = c(2189, 1077, 4285, 475, 2427, 1522, 293, 520, 1824, 1051, 454, 844, 197)),
  list(citation = "made up: a rare event", events = c(0, 0, 1, 0, 3), total = c(10, 25, 40, 8, 2000),
       person_time = c(10.5, 24, 38.25, 8, 1987)),
  list(citation = "made up: nearly all", events = c(10, 24, 40), total = c(10, 25, 41),
       person_time = c(1, 2, 3)))
answer <- function(fit) list(estimate = unname(coef(fit)[1]), standard_error = fit$se[1])
for (i in seq_along(sets)) {
  s <- sets[[i]]
  # The likelihoods are exact, so cells of zero are not corrected.
  sets[[i]]$plo <- answer(rma.glmm(measure = "PLO", xi = s$events, ni = s$total, method = "FE"))
  if (!is.null(s$person_time))
    sets[[i]]$irln <- answer(rma.glmm(measure = "IRLN", xi = s$events, ti = s$person_time,
                                      method = "FE"))
}
cat(toJSON(sets, auto_unbox = TRUE, digits = 15, pretty = 1), "\n")
