"""Looking every hour without crying wolf: evidence that may be looked at at any time.

    statistic of a block ──null.log_e──▶ log e-values ──Trail.then──▶ evidence of a change ──Budget, e_bh──▶ alarms

- `blocks`: tiles of time to blocks, and what is usual in the same hours of the week.
- `shares`, `counts`, `ranks`: what is healthy (a `Null`), learnt from a healthy history, and how much each block says
  against it. `tails` reaches beyond the largest value of the history; `calibrators` make e-values of p-values.
- `trail`: the evidence of a change so far, small, mergeable, written down between looks. `onset`: since when.
- `budget`, `discoveries`: false alarms per model-year → the level of each check; many checks at once.
- `dependence`, `calibration`: hours are alike, so nulls are widened until their own history is quiet.

Everything is pure and works on arrays of (blocks, checks); nothing here knows models, clocks or files. The methods
and their sources are explained in docs/diagnosis.md.
"""
