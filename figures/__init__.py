"""The figures: one file per figure, each with `compute`, `headline`, `draw` and `main`.

    mixing_ratio.py     direct mixing at every ratio against bilevel data selection (C04)
    useful_weights.py   the weights of useful and of useless samples (C03)
    coverage.py         how much of the useful data each model fits (C05)
    trap.py             interpolation makes weights inert (C15)
    digits.py           handwritten digits with half of the labels redrawn (empirical)
    style.py            colours, sizes, and files with the same bytes every time

`compute(quick)` gives arrays. `headline(arrays)` raises AssertionError, naming the numbers, where
the sentence that the figure is drawn for does not hold. `draw(arrays)` gives a matplotlib Figure,
and `main(out, quick)` does the three in that order and saves.
"""
