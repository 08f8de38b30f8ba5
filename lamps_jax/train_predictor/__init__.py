"""The length predictor: its data, its model, its training and evaluation, and what it says while requests are served."""
