"""Lower-level models: what is fitted to the weighted training data.

A model is anything with `prepare(train, val, test)`, `losses(theta, data) -> (N,)` and
`weighted_gradient(theta, w, data)`, and `initial_theta(data)` to start from. Convex models have
`fit(w, data, warm_start, val=None) -> Fit` instead, whose `vjp` gives the exact hypergradient.
Models that are trained have `training`, `losses_and_gradient(theta, w, data)` and theta as a dict
of tensors; one with frozen parts may offer `remember(data)`, called once before. `TransformerLM` is
in transformer.py, `HuggingFaceLM` in huggingface.py: these need torch, and are imported on use.
"""

from .attention import OneLayerTransformer
from .fit import Fit
from .gaussian import LinearGaussian
from .logistic import Logistic
from .ridge import Ridge
from .tabular import Data
from .training import Training

__all__ = ["Data", "Fit", "LinearGaussian", "Logistic", "OneLayerTransformer", "Ridge", "Training"]
