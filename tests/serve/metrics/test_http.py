from lamps_jax.serve.live_routes import live_routes
from lamps_jax.serve.metrics.http import OTHER, ROUTES, route_of
from lamps_jax.serve.routes import api_routes
from lamps_jax.serve.state import ServerState


def test_every_route_that_there_is_is_told_apart_and_nothing_else():
    state = ServerState()
    routers = (api_routes(state, model_name="toy"), live_routes(state, model_name="toy"))
    served = {route.path.partition("/{")[0] for router in routers for route in router.routes}
    assert {route_of(path) for path in served} | {"/", "/web"} == set(ROUTES)
    assert route_of("/v1/models/a/b") == "/v1/models" and route_of("/live/snapshot") == "/live"
    assert {route_of(path) for path in ("/v1", "/v1/", "/healthy", "//", "/x", "")} == {OTHER}
