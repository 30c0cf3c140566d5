"""How good a model is: metrics on arrays, predictors that give alphas, reports for people."""
