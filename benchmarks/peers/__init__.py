"""Solvers that `benchmarks.bilevel` compares `Implicit` with.

`plain` and `handmade` are NumPy and SciPy and run in the project's own environment. Each `with_*`
module uses one other library as its documentation shows, in the environment of `make bench-env`,
as a process of its own that reads a problem from one .npz file and writes its run to another
(`exchange`).
"""
