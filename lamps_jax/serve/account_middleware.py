"""Opens an account for each HTTP request, and closes it when its answer has ended."""

import uuid
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamps_jax.serve.account import Account, EventListener
from lamps_jax.serve.deadline import HEADER, seconds_of, shortest, timely_body
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.traffic import Traffic, header_of, is_limited


class AccountMiddleware:
    """Opens an account for each request, and closes it.

    Args:
        report: Called once for each, on the event loop, when its answer has ended and so have its requests of the engine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: ServerConfig,
        traffic: Traffic,
        listener: EventListener,
        report: Sequence[Callable[[Account], None]],
    ):
        self._app, self._config, self._traffic, self._listener = app, config, traffic, listener
        self._reports = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = self._open(scope)

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                account.status = message["status"]
            await send(message)

        try:
            await self._serve(account, scope, receive, send_and_note)
        except BaseException:
            account.status = account.status or 500
            raise
        finally:
            account.responded()

    async def _serve(self, account: Account, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_limited(account.method, account.path):
            await self._app(scope, receive, send)
            return
        self._traffic.under_way.add(account)
        try:
            given = seconds_of(header_of(scope["headers"], HEADER))
        except RequestError as error:
            account.error_code = error.code
            await error_response(error)(scope, receive, send)
            return
        account.timeout_s = shortest(self._config.request_timeout_s, given)
        await self._app(scope, timely_body(receive, account.remaining_s, account.reading), send)

    def _open(self, scope: Scope) -> Account:
        state = scope.setdefault("state", {})
        headers = scope["headers"]
        traced = {name: value for name in ("traceparent", "tracestate") if (value := header_of(headers, name.encode()))}
        state["account"] = account = Account(
            scope["method"],
            scope["path"],
            state.get("request_id") or uuid.uuid4().hex,
            self._traffic,
            self._listener,
            self._report,
            queue_timeout_s=self._config.queue_timeout_s,
            trace_headers=traced,
        )
        return account

    def _report(self, account: Account) -> None:
        for report in self._reports:
            report(account)
