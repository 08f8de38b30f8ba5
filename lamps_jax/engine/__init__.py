"""The loop: schedule → execute → update. Start reading at `engine.py`."""
