"""Questions with the calls and answers that a good model gives: for training and held out, one file a subject."""
