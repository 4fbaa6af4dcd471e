import base64, json, time
from types import SimpleNamespace as NS
from .. import errors as base_errors
from . import errors
class JetStreamContext:
    def __init__(self, conn, prefix="$JS.API", timeout=5): self._nc, self._prefix, self._timeout = conn, prefix, timeout
    async def _api_request(self, subject, req=b""):
        try: r = json.loads((await self._nc.request(subject, req, timeout=self._timeout)).data)
        except base_errors.NoRespondersError: raise errors.ServiceUnavailableError
        if "error" in r: errors.APIError.from_error(r["error"])
        return r
    async def publish(self, subject, payload=b"", timeout=None, stream=None, headers=None):
        try: r = json.loads((await self._nc.request(subject, payload, timeout=timeout or self._timeout, headers=headers)).data)
        except base_errors.NoRespondersError: raise errors.NoStreamResponseError
        if "error" in r: errors.APIError.from_error(r["error"])
        return NS(stream=r["stream"], seq=r["seq"])
    async def consumer_info(self, stream, consumer, timeout=None):
        r = await self._api_request(f"{self._prefix}.CONSUMER.INFO.{stream}.{consumer}")
        return NS(name=r["name"], config=NS(ack_wait=r["config"]["ack_wait"] / 1e9))
    async def get_msg(self, stream_name, seq=None, subject=None, direct=False, next=False):
        assert not direct # workers may not
        req = {"seq": seq} if seq else {}
        if subject: req = {"last_by_subj": subject}
        if next: req = {"seq": seq, "next_by_subj": subject}
        m = (await self._api_request(f"{self._prefix}.STREAM.MSG.GET.{stream_name}", json.dumps(req).encode()))["message"]
        return NS(subject=m["subject"], seq=m["seq"], data=base64.b64decode(m["data"]) if m.get("data") else None)
    async def get_last_msg(self, stream_name, subject, direct=False): return await self.get_msg(stream_name, subject=subject, direct=direct)
    async def pull_subscribe_bind(self, consumer=None, stream=None):
        inbox = self._nc.new_inbox()
        return Pull(self._nc, await self._nc.subscribe(inbox), inbox, f"{self._prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}")
class Pull:
    def __init__(self, nc, sub, inbox, nms): self.nc, self.sub, self.inbox, self.nms = nc, sub, inbox, nms
    async def fetch(self, batch=1, timeout=5):
        assert batch == 1
        q = self.sub.q
        while not q.empty():
            m = q.get_nowait()
            if not (m.headers or {}).get("Status"): return [m]
        await self.nc.publish(self.nms, json.dumps({"batch": 1, "expires": int(timeout * 1e9) - 100_000}).encode(), self.inbox)
        end = time.monotonic() + timeout
        while True:
            try:
                m = await self.sub.next_msg(end - time.monotonic())
                status = (m.headers or {}).get("Status")
                if not status: return [m]
                if status in ("404", "408", "409"): raise base_errors.TimeoutError
                errors.APIError.from_msg(m)
            except TimeoutError:
                if end < time.monotonic(): raise
