"""Measurements: each writes one JSON document with the machine and the commit it was made on."""
