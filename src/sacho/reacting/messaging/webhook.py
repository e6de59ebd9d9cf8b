"""Messages to a webhook: signed as the Standard Webhooks specification says, each in a request that is bounded in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sacho.errors import (
    InvalidTarget,
    MissingExtra,
    TargetUnreachable,
    WebhookFailed,
    WebhookGone,
    WebhookRefused,
)
from sacho.reacting.messaging.looping import LoopTarget
from sacho.reacting.messaging.message import CONTENT_TYPE, Message
from sacho.reacting.messaging.signing import Secrets
from sacho.reacting.messaging.target import Outcome, lanes

if TYPE_CHECKING:
    import httpx

AT_ONCE: Final = 128
IN_PARALLEL: Final = 16
SECONDS: Final = 15.0
MOST_ANSWER_BYTES: Final = 16 * 1024
MOST_SHOWN: Final = 200
AGAIN: Final = frozenset({408, 425, 429})
GONE: Final = 410


class WebhookTarget(LoopTarget):
    """Posts messages to a URL: `WebhookTarget("https://example.org/hooks", secret="whsec_…")`.

    Each is a CloudEvent in the structured mode, with `webhook-id` (the message's id, the same each time), `webhook-timestamp`
    and `webhook-signature`. `secret` is base64 with `whsec_` before it; of several, all sign, so that one can be replaced.
    `timeout` bounds a whole request in seconds, whatever the receiver sends meanwhile. Up to `in_parallel` requests are under
    way together, of different keys. Redirects are not followed.

    2xx is an acknowledgement. 408, 425, 429, 5xx and no answer in time are tried again by the relay's `retry`, not before
    what `Retry-After` asks (up to a minute); then the message is parked. Any other answer parks it at once. While nothing
    can be connected to, the relay waits.

    Raises InvalidTarget, MissingExtra.
    """

    at_once = AT_ONCE

    def __init__(
        self,
        url: str,
        *,
        secret: str | Sequence[str],
        timeout: float = SECONDS,
        in_parallel: int = IN_PARALLEL,
    ) -> None:
        super().__init__("sacho-webhook")
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("a webhook", "messages") from error
        self._url, name_and_password, self.where = _checked_url(url)
        self._auth = httpx.BasicAuth(*name_and_password) if name_and_password else None
        self._secrets = Secrets(secret)
        self._timeout = timeout
        self._in_parallel = in_parallel
        self._client: httpx.AsyncClient | None = None
        self._of: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Semaphore(in_parallel)

    def __repr__(self) -> str:
        return f"<WebhookTarget {self.where}>"

    # --- in the loop ----------------------------------------------------------------------------------

    async def _send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        client = self._connected()
        outcomes: list[Outcome] = [None] * len(messages)
        room = self._room

        async def go(lane: Sequence[int]) -> None:
            error: BaseException | None = None
            for place in lane:
                if error is None:
                    async with room:
                        error = await self._posted(client, messages[place])
                outcomes[place] = error

        await asyncio.gather(*(go(lane) for lane in lanes(messages)))
        return outcomes

    def _connected(self) -> httpx.AsyncClient:
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._of is not loop:  # after a fork the loop is another one
            limits = httpx.Limits(max_connections=self._in_parallel, max_keepalive_connections=self._in_parallel)
            self._client = httpx.AsyncClient(
                limits=limits,
                timeout=self._timeout,  # of each step; the whole is bounded where it is posted
                follow_redirects=False,
                auth=self._auth,
            )
            self._of, self._room = loop, asyncio.Semaphore(self._in_parallel)
        return self._client

    async def _closed(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._of is asyncio.get_running_loop():
            await client.aclose()

    async def _posted(self, client: httpx.AsyncClient, message: Message) -> Outcome:
        """Post one message; return what became of it."""
        import httpx

        body = message.structured()
        timestamp = int(time.time())
        headers = {
            "content-type": CONTENT_TYPE,
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._secrets.signature(message.id, timestamp, body),
        }
        try:
            async with asyncio.timeout(self._timeout):
                async with client.stream("POST", self._url, content=body, headers=headers) as answer:
                    return self._judged(answer, await _beginning(answer))
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
            return WebhookFailed(self.where, None, f"it did not answer within {self._timeout:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return TargetUnreachable(self.where, _said(error))
        except Exception as error:
            return WebhookFailed(self.where, None, _said(error))

    def _judged(self, answer: httpx.Response, text: str) -> Outcome:
        status = answer.status_code
        if 200 <= status < 300:
            return None
        reason = f"it answered {status}{': ' + text if text else ''}"
        if status in AGAIN or status >= 500:
            return WebhookFailed(self.where, status, reason, retry_after(answer.headers.get("retry-after")))
        if status == GONE:
            return WebhookGone(self.where, status, reason)
        if 300 <= status < 400:
            reason = f"it answered {status}, and redirects are not followed; give the target the URL itself"
        return WebhookRefused(self.where, status, reason)


async def _beginning(answer: httpx.Response) -> str:
    """Return the beginning of an answer's text in one line; what goes on for long is not heard to its end."""
    found = b""
    async for part in answer.aiter_raw():
        found += part
        if len(found) > MOST_ANSWER_BYTES:
            break
    text = found[: 4 * MOST_SHOWN].decode("utf-8", "replace").strip().partition("\n")[0]
    return "".join(one if one.isprintable() else "?" for one in text)[:MOST_SHOWN]


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a header `Retry-After` asks for, by a number or a date; None if there is none."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _checked_url(url: object) -> tuple[str, tuple[str, str] | None, str]:
    """Return a URL without its credentials, these, and how it is shown: without a query, which may have some, too."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        is_right = parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right, parts = False, None
    if not is_right or parts is None:
        raise InvalidTarget("the URL of a webhook is http:// or https:// with a host")
    host = parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=host, fragment="")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return bare.geturl(), auth, bare._replace(query="").geturl()


def _said(error: BaseException) -> str:
    """Return what lies at the bottom of an error: the client tells a refused connection as one of many attempts."""
    inner = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    found = inner if isinstance(inner, OSError) else error
    return str(found) or type(found).__name__
