"""The paper's claims, one file each, as checks that can fail: `python -m paper_checks`.

    claim.py       what a claim file is made of: Claim, Band, Expect
    reference.py   the numpy-only routes that the package is compared with
    runner.py      arms of a claim over seeds -> a verdict
    report.py      verdicts -> one HTML page
    check_c??_*.py the claims; pytest collects the same functions

No check says that it verifies a theorem of the paper: each names the abstract-level claim that it
instantiates (arXiv:2511.21056) and states its own setting in full.
"""
