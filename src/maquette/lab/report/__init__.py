"""A study's report, made from records alone: a page, a paper, the slides of a talk, a section of RESULTS.md."""
