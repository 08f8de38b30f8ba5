"""LLVM code for this processor, which XLA calls."""
