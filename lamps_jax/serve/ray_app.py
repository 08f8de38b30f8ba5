"""Several replicas of the server behind one address, with Ray Serve: ``serve run lamps_jax.serve.ray_app:app num_replicas=2``.

Each replica runs one engine under the same HTTP application as ``lamps-jax serve``. Before them stands an ingress that reads a
request, has `routing.Router` choose a replica, and passes the response on as it comes.

A request router of our own would not do by itself: the proxies that would use it see no bodies, and so neither sessions nor
conversations. An ingress that talked to the replicas past Ray Serve would not do either: Ray Serve waits for the requests that it
knows of before it takes a replica away, and scales by them. So the ingress calls the replicas through a handle that has a request
router of our own, in two steps. *Choosing* reserves a place at a replica, and is repeated for as long as replicas turn out to be
gone; *dispatching* sends the request, once. Ray Serve repeats a plain call through a handle where a replica dies as it takes it,
and a tool might run twice. A client that leaves cancels the calls one after the other, from the proxy to the engine.
"""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pydantic
from ray import serve  # pyright: ignore[reportMissingImports]
from ray.serve import Application  # pyright: ignore[reportMissingImports]
from ray.serve.config import RequestRouterConfig  # pyright: ignore[reportMissingImports]

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.options import COMPILE_CACHE, number_of_bytes
from lamps_jax.sched.policy import system_named
from lamps_jax.serve.predictors import check_predictor
from lamps_jax.serve.ray_ingress import ChosenReplica, Ingress
from lamps_jax.serve.ray_replica import EngineReplica, Served
from lamps_jax.serve.server_config import ServerConfig

LOAD_PERIOD_S = 1.0
"""How often replicas say what they have to do."""

HEALTH_PERIOD_S = 5.0
"""How often Ray Serve looks whether an engine has failed; after three times it starts another replica."""

MAX_ONGOING = 4096
"""Requests that a replica takes at a time: all, for it is the engine that knows in which order to serve them."""

_OWN_WAY = ("scheduler", "exit_on_failure")
"""Fields that are no arguments: the one is given by its own fields, and what has failed is Ray Serve's to replace."""


class _Options(pydantic.BaseModel):
    """Arguments that no configuration has, or that differ from it as those of ``lamps-jax serve`` do."""

    model_config = pydantic.ConfigDict(extra="forbid")

    model: str = "embedded"
    num_replicas: int = pydantic.Field(default=2, ge=1)
    cpus_per_replica: float = pydantic.Field(default=1.0, ge=0)
    gpus_per_replica: float = pydantic.Field(default=0.0, ge=0)
    served_model_name: str | None = None
    tools: tuple[Path, ...] = ()
    no_builtin_tools: bool = False
    no_tools: bool = False
    predictor: str = "auto"
    max_num_seqs: int = 16
    token_budget: int | None = None
    compile_cache: str = COMPILE_CACHE

    @pydantic.field_validator("host_kv_bytes", mode="before", check_fields=False)
    @classmethod
    def _count_bytes(cls, value: Any) -> Any:
        return number_of_bytes(value) if isinstance(value, str) else value

    @pydantic.field_validator("tools", "api_keys", "allowed_origins", "metrics_aliases", mode="before", check_fields=False)
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    def served(self) -> Served:
        """What each replica serves.

        Raises:
            ValueError: If it could not.
        """
        given = self.model_dump()
        if given["token_budget"] is None:
            given["token_budget"] = max(512, given["max_num_seqs"], given["max_chunk_tokens"])
        system_named(given["policy"])
        check_predictor(self.predictor)
        if self.no_tools and self.tools:
            raise ValueError("no_tools runs no tools at all, so there can be no tools; no_builtin_tools leaves the others")
        scheduler, server = ({name: given[name] for name in _fields(config)} for config in (SchedulerConfig, ServerConfig))
        engine = {name: given[name] for name in _fields(EngineConfig)}
        return Served(
            self.model,
            self.served_model_name or (self.model if self.model == "embedded" else Path(self.model).resolve().name),
            EngineConfig(SchedulerConfig(**scheduler), **engine),
            with_builtin_tools=not (self.no_tools or self.no_builtin_tools),
            tools=self.tools,
            predictor=self.predictor,
            server=ServerConfig(**server),
        )


def _fields(config: Any) -> dict[str, "Field[Any]"]:
    """The fields of a configuration that are arguments, by name."""
    assert all(field.default is not MISSING for field in fields(config))
    return {field.name: field for field in fields(config) if field.name not in _OWN_WAY}


_FROM_CONFIGS: dict[str, Any] = {
    name: (field.type, field.default)
    for config in (SchedulerConfig, EngineConfig, ServerConfig)
    for name, field in _fields(config).items()
    if name not in _Options.model_fields
}


class Options(pydantic.create_model("_AllOptions", __base__=_Options, **_FROM_CONFIGS)):
    """Arguments of `app`: those of the deployment, and the fields of `SchedulerConfig`, `EngineConfig` and `ServerConfig`."""


def app(options: Options) -> Application:
    """The application, as ``serve run lamps_jax.serve.ray_app:app name=value …`` and ``import_path`` in a config file want it.

    Raises:
        ValueError: If an argument cannot be what it is.
    """
    served = options.served()
    engines = serve.deployment(EngineReplica).options(
        name="Engine",
        num_replicas=options.num_replicas,
        max_ongoing_requests=MAX_ONGOING,
        graceful_shutdown_timeout_s=served.server.shutdown_timeout_s,
        health_check_period_s=HEALTH_PERIOD_S,
        ray_actor_options={"num_cpus": options.cpus_per_replica, "num_gpus": options.gpus_per_replica},
        request_router_config=RequestRouterConfig(
            request_router_class=ChosenReplica, request_routing_stats_period_s=LOAD_PERIOD_S
        ),
    )
    ingress = serve.deployment(serve.ingress()(Ingress)).options(
        name="Ingress",
        max_ongoing_requests=16 * MAX_ONGOING,
        graceful_shutdown_timeout_s=served.server.shutdown_timeout_s,
        ray_actor_options={"num_cpus": 0},
    )
    return ingress.bind(engines.bind(served))
