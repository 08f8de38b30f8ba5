"""The bodies of responses: whole, and in the chunks of a stream.

What the OpenAI API has no place for stands in an extra field ``lamps``: the calls that the server ran, and the timings.
"""
