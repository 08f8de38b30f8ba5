"""The forms in which models write calls: how each is recognised, read, told to the model and held to."""
