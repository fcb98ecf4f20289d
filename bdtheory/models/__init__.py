"""Lower-level models: what is fitted to the weighted training data.

A model is anything with `prepare(train, val, test)`, `losses(theta, data) -> (N,)` and
`weighted_gradient(theta, w, data)`. Convex models add `fit(w, data, warm_start, val=None) -> Fit`,
whose `vjp` gives the exact hypergradient.
"""

from .fit import Fit
from .logistic import Logistic
from .ridge import Ridge
from .tabular import Data

__all__ = ["Data", "Fit", "Logistic", "Ridge"]
