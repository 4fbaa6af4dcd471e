import base64, json, time
from types import SimpleNamespace as NS
from .. import errors as base_errors
from . import errors
class JetStreamContext:
    def __init__(self, nc): self._nc = nc
    async def _api(self, subject, req=b""):
        r = json.loads((await self._nc.request(subject, req, timeout=5)).data)
        if "error" in r: raise errors.APIError.from_error(r["error"])
        return r
    async def publish(self, subject, payload=b"", timeout=5, stream=None, headers=None):
        r = json.loads((await self._nc.request(subject, payload, timeout=timeout, headers=headers)).data)
        if "error" in r: raise errors.APIError.from_error(r["error"])
        return NS(stream=r["stream"], seq=r["seq"])
    def _info(self, r): return NS(name=r["name"], config=NS(ack_wait=r["config"]["ack_wait"] / 1e9))
    async def consumer_info(self, stream, consumer): return self._info(await self._api(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}"))
    async def add_consumer(self, stream, config=None, timeout=None, **p):
        c = {"deliver_policy": "all", "ack_policy": "explicit", "replay_policy": "instant", **p}
        c["ack_wait"] = int(c["ack_wait"] * 1e9)
        return self._info(await self._api(f"$JS.API.CONSUMER.CREATE.{stream}.{c['name']}.{c['filter_subject']}", json.dumps({"stream_name": stream, "config": c}).encode()))
    async def get_last_msg(self, stream, subject, direct=False):
        if not direct:
            r = (await self._api(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"last_by_subj": subject}).encode()))["message"]
            return NS(seq=r["seq"], data=base64.b64decode(r["data"]))
        return self._lift(await self._nc.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout=5))
    async def get_msg(self, stream, seq=None, subject=None, direct=False, next=False):
        assert direct and next
        return self._lift(await self._nc.request(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": seq, "next_by_subj": subject}).encode(), timeout=5))
    def _lift(self, m):
        if not m.data and m.headers.get("Status"):
            if m.headers.get("Status") == "404": raise errors.NotFoundError
            raise errors.APIError(m.headers)
        return NS(seq=int(m.headers["Nats-Sequence"]), data=m.data, headers=m.headers)
    async def pull_subscribe_bind(self, consumer=None, stream=None):
        inbox = self._nc.new_inbox()
        return Pull(self._nc, await self._nc.subscribe(inbox), inbox, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
    async def key_value(self, bucket):
        await self._api(f"$JS.API.STREAM.INFO.KV_{bucket}")
        return KV(self, f"$KV.{bucket}.")
    async def object_store(self, bucket):
        await self._api(f"$JS.API.STREAM.INFO.OBJ_{bucket}")
        return Obj(self, bucket)
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
                raise errors.APIError(m.headers)
            except TimeoutError:
                if end < time.monotonic(): raise
class KV:
    def __init__(self, js, pre): self.js, self.pre = js, pre
    async def get(self, key):
        try: m = await self.js.get_last_msg("KV_" + self.pre.split(".")[1], self.pre + key, direct=True)
        except errors.NotFoundError: raise errors.KeyNotFoundError
        if m.headers.get("KV-Operation") in ("DEL", "PURGE"): raise errors.KeyNotFoundError
        return NS(value=m.data, revision=m.seq)
    async def put(self, key, value): return (await self.js.publish(self.pre + key, value)).seq
    async def delete(self, key): await self.js.publish(self.pre + key, headers={"KV-Operation": "DEL"}); return True
class Obj:
    def __init__(self, js, bucket): self.js, self.bucket = js, bucket
    async def get(self, name):
        meta = f"$O.{self.bucket}.M." + base64.urlsafe_b64encode(name.encode()).decode()
        info = json.loads((await self.js.get_last_msg("OBJ_" + self.bucket, meta)).data)
        subj = f"$O.{self.bucket}.C.{info['nuid']}"
        stream = (await self.js._api("$JS.API.STREAM.NAMES", json.dumps({"subject": subj}).encode()))["streams"][0]
        deliver = self.js._nc.new_inbox(); sub = await self.js._nc.subscribe(deliver)
        await self.js._api(f"$JS.API.CONSUMER.CREATE.{stream}", json.dumps({"stream_name": stream, "config": {"deliver_subject": deliver, "filter_subject": subj, "ack_policy": "none", "deliver_policy": "all", "replay_policy": "instant", "max_deliver": 1, "flow_control": True, "idle_heartbeat": 5_000_000_000, "num_replicas": 1, "mem_storage": True}}).encode())
        data = b""
        while True:
            m = await sub.next_msg(5)
            if (m.headers or {}).get("Status"): continue
            data += m.data
            if m.reply.split(".")[8] == "0": break
        await sub.unsubscribe()
        return NS(data=data)
