"""How many programs JAX has compiled in this process: flat once the server is ready, or something is slow that need not be."""

import jax


class CompilationCounter:
    """Counts programs that are compiled, or loaded from the cache of compiled ones, until `stop`."""

    def __init__(self) -> None:
        self.count, self._is_hearing = 0, True
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def stop(self) -> None:
        """Counts no more; a second time does nothing."""
        if self._is_hearing:
            self._is_hearing = False
            jax.monitoring.unregister_event_duration_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **more: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            self.count += 1
