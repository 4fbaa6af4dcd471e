# A stand-in for nats-py, to run examples/python/worker.py where PyPI is not
# reachable: the calls of nats-py that it uses, with the requests that nats-py
# 2.x makes for them (read from its source).
import asyncio, base64, json, os, random, ssl
from types import SimpleNamespace as NS
from urllib.parse import urlparse
from . import errors, js as jsmod
from . import js

class Msg:
    def __init__(self, nc, subject, reply, data, headers):
        self._client, self.subject, self.reply, self.data, self.headers, self._ackd = nc, subject, reply, data, headers, False
    def _check(self):
        if not self.reply: raise errors.Error("not js")
        if self._ackd: raise errors.MsgAlreadyAckdError()
    async def ack(self):
        self._check(); await self._client.publish(self.reply); self._ackd = True
    async def nak(self, delay=None):
        self._check()
        payload = b"-NAK"
        if delay: payload += b" " + json.dumps({"delay": int(delay * 10**9)}).encode()
        await self._client.publish(self.reply, payload); self._ackd = True
    async def in_progress(self):
        await self._client.publish(self.reply, b"+WPI")
    @property
    def metadata(self):
        t = self.reply.split(".")
        n = t[4] if len(t) == 9 else t[6]
        return NS(num_delivered=int(n))

class Sub:
    def __init__(self, nc, sid, subject, cb): self.nc, self.sid, self.subject, self.cb, self.q, self.closed = nc, sid, subject, cb, asyncio.Queue(), False; self.task = asyncio.create_task(self.loop()) if cb else None
    async def loop(self):
        while True:
            m = await self.q.get()
            try: await self.cb(m)
            except Exception as e: print("nats: callback:", repr(e))
    async def next_msg(self, timeout):
        try: return await asyncio.wait_for(self.q.get(), timeout)
        except asyncio.TimeoutError: raise errors.TimeoutError
    async def unsubscribe(self):
        if self.closed: raise errors.Error("nats: invalid subscription")
        self.closed = True
        self.nc.subs.pop(self.sid, None); self.nc.w.write(f"UNSUB {self.sid}\r\n".encode())
        if self.task: self.task.cancel()

class Client:
    def jetstream(self, **opts): return jsmod.JetStreamContext(self, **opts)
    async def connect(self, servers, user=None, password=None, token=None, tls=None, nkeys_seed_str=None, name=None, inbox_prefix=b"_INBOX", max_reconnect_attempts=60, reconnected_cb=None):
        assert isinstance(inbox_prefix, bytes)
        self.prefix, self.subs, self.sid, self.n = inbox_prefix.decode(), {}, 0, 0
        uri = urlparse(random.choice([servers] if isinstance(servers, str) else servers))
        self.r, self.w = await asyncio.open_connection(uri.hostname, uri.port, limit=2**26)
        info = await self.r.readline(); assert info.startswith(b"INFO")
        info = json.loads(info[5:])
        if info.get("tls_required"): await self.w.start_tls(tls or ssl.create_default_context(), server_hostname=uri.hostname)
        opts = dict(verbose=False, pedantic=False, headers=True, no_responders=True, lang="python3", version="2", protocol=1, name=name)
        if "nonce" in info and nkeys_seed_str:
            import nkeys
            pair = nkeys.from_seed(bytearray(nkeys_seed_str.encode()))
            opts.update(nkey=pair.public_key.decode(), sig=base64.b64encode(pair.sign(info["nonce"].encode())).decode())
        elif user is not None and password is not None: opts.update(user=user); opts["pass"] = password
        elif token is not None: opts["auth_token"] = token
        elif uri.username is not None and uri.password is None: opts["auth_token"] = uri.username
        elif uri.username is not None: opts.update(user=uri.username); opts["pass"] = uri.password
        self.w.write(b"CONNECT " + json.dumps(opts).encode() + b"\r\nPING\r\n")
        answer = (await self.r.readline()).decode()
        if not answer.startswith("PONG"): raise errors.Error("nats: " + answer.strip())
        self.reader = asyncio.create_task(self.read())
    async def read(self):
        while True:
            line = await self.r.readline()
            if not line: return
            t = line.decode().split()
            if t[0] == "PING": self.w.write(b"PONG\r\n")
            elif t[0] == "-ERR": print("nats:", line.decode().strip())
            elif t[0] in ("MSG", "HMSG"):
                h = t[0] == "HMSG"; total = int(t[-1]); hl = int(t[-2]) if h else 0
                rest = t[3:-2] if h else t[3:-1]
                body = await self.r.readexactly(total + 2)
                head, data, headers = body[:hl].decode(), body[hl:total], None
                if h:
                    headers = {}
                    first, *lines = head.split("\r\n")
                    if len(first.split(None, 2)) > 1: headers["Status"] = first.split(None, 2)[1]; headers["Description"] = (first.split(None, 2) + [""])[2]
                    for l in lines:
                        if ":" in l: k, v = l.split(":", 1); headers[k] = v.strip()
                s = self.subs.get(int(t[2]))
                if s: s.q.put_nowait(Msg(self, t[1], rest[0] if rest else "", data, headers))
    async def publish(self, subject, payload=b"", reply="", headers=None):
        assert isinstance(payload, (bytes, bytearray))
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n"
            self.w.write(f"HPUB {subject} {reply} {len(head)} {len(head)+len(payload)}\r\n".encode() + head + payload + b"\r\n")
        else: self.w.write(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
    async def subscribe(self, subject, queue="", cb=None):
        if cb and not asyncio.iscoroutinefunction(cb): raise errors.Error("nats: must use coroutine for subscriptions")
        self.sid += 1
        s = self.subs[self.sid] = Sub(self, self.sid, subject, cb)
        self.w.write(f"SUB {subject} {self.sid}\r\n".encode())
        return s
    def new_inbox(self):
        self.n += 1
        return f"{self.prefix}.{os.urandom(8).hex()}{self.n}"
    async def request(self, subject, payload=b"", timeout=0.5, headers=None):
        inbox = self.new_inbox(); s = await self.subscribe(inbox)
        try:
            await self.publish(subject, payload, inbox, headers)
            m = await s.next_msg(timeout)
        finally: await s.unsubscribe()
        if m.headers and m.headers.get("Status") == "503": raise errors.NoRespondersError
        return m
    async def drain(self):
        await self.w.drain(); self.reader.cancel(); self.w.close()
NATS = Client
