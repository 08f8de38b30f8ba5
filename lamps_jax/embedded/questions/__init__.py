"""Questions with the calls and answers that a good model gives: training text and its held-out counterpart, one file per subject."""
