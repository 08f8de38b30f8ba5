"""lamps-jax: an inference engine in JAX for language models that call tools."""

__version__ = "0.1.0"
