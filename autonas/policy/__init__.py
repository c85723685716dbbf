"""The search policy: pure functions of seed and ledger that propose jobs and judge outcomes. No clock, no files, no engine."""
