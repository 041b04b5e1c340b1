# Makes heterogeneity.json: likelihood-ratio tests of heterogeneity of whole likelihoods, and the
# common effect, by metafor's exact models with one effect.
# Rscript heterogeneity.R > heterogeneity.json
# (R 4.2.2, metafor 3.8-1, metadat 1.2.0, BiasedUrn 2.0.9, jsonlite)
suppressMessages({library(metafor); library(jsonlite)})
answer <- function(fit) list(q = fit$QE.LRT, df = fit$QE.df, p_chi2 = fit$QEp.LRT,
                             estimate = unname(coef(fit)[1]), standard_error = fit$se[1])
or <- dat.nielweise2007
irr <- dat.nielweise2008
plo <- dat.pritz1997
sets <- list(
  list(citation = "Niel-Weise et al. 2007, catheter-related bloodstream infection (metadat)",
       measure = "OR", events = or$ai, total = or$n1i, control_events = or$ci,
       control_total = or$n2i,
       answer = answer(suppressWarnings(rma.glmm(measure = "OR", ai = ai, n1i = n1i, ci = ci,
         n2i = n2i, data = or, model = "CM.EL", method = "FE")))),
  list(citation = "Niel-Weise et al. 2008, catheter-related infection per day (metadat)",
       measure = "IRR", events = irr$x1i, total = irr$x1i + 1000, control_events = irr$x2i,
       control_total = irr$x2i + 1000, person_time = irr$t1i, control_person_time = irr$t2i,
       answer = answer(rma.glmm(measure = "IRR", x1i = x1i, t1i = t1i, x2i = x2i, t2i = t2i,
         data = irr, model = "CM.EL", method = "FE"))),
  list(citation = "Niel-Weise et al. 2008, the first arm's rates", measure = "IRLN",
       events = irr$x1i, total = irr$x1i + 1000, person_time = irr$t1i,
       answer = answer(rma.glmm(measure = "IRLN", xi = x1i, ti = t1i, data = irr, method = "FE"))),
  list(citation = "Pritz et al. 1997, 14 studies of hyperdynamic therapy (metadat)",
       measure = "PLO", events = plo$xi, total = plo$ni,
       answer = answer(rma.glmm(measure = "PLO", xi = xi, ni = ni, data = plo, method = "FE"))))
cat(toJSON(sets, auto_unbox = TRUE, digits = 12, pretty = 1), "\n")
