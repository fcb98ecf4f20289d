"""Lower-level models: what is fitted to the weighted training data.

A model is anything with `prepare(train, val, test)`, `losses(theta, data) -> (N,)` and
`weighted_gradient(theta, w, data)`, and `initial_theta(data)` to start from. Convex models have
`fit(w, data, warm_start, val=None) -> Fit` instead, whose `vjp` gives the exact hypergradient.
"""

from .fit import Fit
from .logistic import Logistic
from .ridge import Ridge
from .tabular import Data

__all__ = ["Data", "Fit", "Logistic", "Ridge"]
