# A Parley tool worker that needs only a NATS client; docs/tool-workers.md explains it. It runs one call at a time: start more workers for more.
import asyncio, base64, hashlib, json, os, re, signal, ssl, sys, time, uuid, nats
TOOL = {"name": "word_count", "effect": "pure", "timeout_ms": 60_000, "description": "Counts the words of a text.", "schema": {
    "type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "pause_ms": {"type": "integer"}}}}
env, dump = lambda name, default=None: os.environ.get(name) or default, lambda **event: json.dumps(event).encode()
QUEUE, WORKER, nc = "tool_" + TOOL["name"], f"{env('PARLEY_NAME', 'py')}-{uuid.uuid4().hex[:6]}", nats.NATS()
js, since, missed = nc.jetstream(prefix=env("NATS_JS_API_PREFIX", "$JS.API")), [time.monotonic()], {}  # connected since; workers without a key, since when
async def run(args, show):
    await show("counting\n")
    await asyncio.sleep(args.get("pause_ms", 0) / 1000)  # to try what happens during a call
    return f"{len(args['text'].split())} words"
async def get(stream, subject, seq=None):  # from the stream's leader: the last message of a subject, or the next one from a sequence on
    try: return await js.get_msg(stream, seq, subject=subject, next=seq is not None)
    except nats.js.errors.NotFoundError as err: assert err.err_code == 10037, err  # there is no such message; any other code is an error
async def stored(stream, subject, seq=0):  # the messages of a subject, in order
    while m := await get(stream, subject, seq + 1): yield (seq := m.seq, m.data or b"")
async def load(ref):  # an object; the first description whose content has the digest counts: others may be forged
    async for _, text in stored("OBJ_PARLEY_OBJECTS", "$O.PARLEY_OBJECTS.M." + base64.urlsafe_b64encode(ref["name"].encode()).decode()):
        content, found = bytearray(), re.search(r'"nuid": *"(\w+)"', text.decode(errors="replace"))
        async for _, chunk in stored("OBJ_PARLEY_OBJECTS", f"$O.PARLEY_OBJECTS.C.{found and found[1]}"):
            if content.extend(chunk) or len(content) >= ref["size"]: break
        if hashlib.sha256(content).hexdigest() == ref["sha256"]: return content
    raise LookupError(f"object {ref['name']} is missing, or is not what was stored")
async def read(data):  # one event per line; the object store has what is too large for a message
    lines = [json.loads(line) for line in data.splitlines()]
    return lines if lines[0]["type"] != "Claim" else await read(await load(lines[0]["object"]))
async def gone(worker, once):  # reports whether the worker is dead: its key is missing and we were connected for the key's lifetime, twice that for a once call
    if (key := await get("KV_PARLEY_PRESENCE", f"$KV.PARLEY_PRESENCE.tool.{TOOL['name']}.{worker}")) and key.data: return missed.pop(worker, None) and False
    return time.monotonic() - max(since[0], missed.setdefault(worker, time.monotonic()) if once else 0) >= 12
async def call(m, leaving, watch):  # returns None to acknowledge the job, or the delay in seconds after which to redeliver it
    job, stop, began = (await read(m.data))[0], asyncio.get_running_loop().create_future(), time.time_ns() // 1_000_000
    is_open = lambda d: not job["decision"] or any(c["call"] == job["call"] and not c.get("status") for c in d["state"].get("calls", []))
    stops = lambda e: e["type"] == "Decision" and not is_open(e) or e["type"] == "Cancel" and e.get("turn", job["turn"]) == job["turn"] and (e.get("call") == job["call"]
        if (scope := e.get("scope", "call" if e.get("call") else "turn")) == "call" else job["decision"] and e.get("turn") and scope in ("turn", "all"))
    async def hear(msg): any(map(stops, await read(msg.data))) and (stop.done() or stop.set_result("cancelled"))
    (_, shard, conversation, *_), seq, events = job["subject"].split("."), 0, []  # subscribe first, so that no event is missed
    watch += [await nc.subscribe(f"live.{shard}.{conversation}.{channel}", cb=hear) for channel in ("turn", "in")]
    async for seq, data in stored(f"CONV_{shard}", job["subject"]): events += await read(data) if seq > job["decision"] else []
    turn, once, index = await get(f"CONV_{shard}", f"conv.{shard}.{conversation}.turn"), job["effect"] not in ("pure", "idempotent"), iter(range(sys.maxsize))
    starts, released = [e for e in events if e["type"] == "ToolStarted"], {e["attempt"]: e.get("error") for e in events if e["type"] == "ToolReleased"}
    done = any(e["type"] == "ToolResult" and e.get("attempt") == s["attempt"] for s in starts[-1:] for e in events)
    if done or turn and turn.seq >= job["decision"] and not is_open((await read(turn.data))[-1]): return None  # it has a result, or the job is stale
    if starts and starts[-1]["attempt"] not in released and (other := starts[-1].get("worker", WORKER)) != WORKER and not await gone(other, once): return 3
    own, timeout = {"call": job["call"], "attempt": f"{began >> 16:08x}-{began & 0xffff:04x}-7{str(uuid.uuid4())[15:]}"}, (job.get("timeout_ms") or TOOL["timeout_ms"]) / 1000
    append = lambda kind, after, **e: js.publish(job["subject"], dump(type=kind, **own, tool=job["tool"], **e), headers={"Nats-Expected-Last-Subject-Sequence": str(after)})
    async def end(status, text, after): await append("ToolResult", after, status=status, content=text, took_ms=time.time_ns() // 1_000_000 - began)
    start = await append("ToolStarted", seq, worker=WORKER, delivery=m.metadata.num_delivered)  # now the lane refuses older attempts, and our result counts
    failed = sum(released.get(s["attempt"], "its worker died") is not None for s in starts)
    if (died := starts and once) or failed >= 100: return await end("unknown" if died else "failed", "it was tried before, and came to no end", start.seq)
    show = lambda text: nc.publish(job["output"], dump(type="ToolOutput", **own, index=next(index), text=text))
    await asyncio.wait({task := asyncio.create_task(run(job["arguments"], show)), stop, leaving}, timeout=timeout, return_when="FIRST_COMPLETED")
    if task.done(): return await end("failed" if task.exception() else "ok", str(task.exception() or task.result()), start.seq)
    status = task.cancel() and next((f.result() for f in (stop, leaving) if f.done()), "timeout")
    if status == "unknown" and not once: return await append("ToolReleased", start.seq) and 0  # another worker may take it at once
    return await end(status, f"{TOOL['name']} was stopped before it was done", start.seq)
async def main():
    async def back(): since[0] = time.monotonic()
    await nc.connect(env("NATS_URL", "nats://127.0.0.1:4222").split(","), user=env("NATS_USER"), password=env("NATS_PASSWORD"), token=env("NATS_TOKEN"), name=WORKER,
        nkeys_seed_str=env("NATS_NKEY") and open(env("NATS_NKEY")).read().strip(), tls=env("NATS_CA") and ssl.create_default_context(cafile=env("NATS_CA")),
        inbox_prefix=env("NATS_INBOX_PREFIX", "_INBOX_tool-worker").encode(), max_reconnect_attempts=-1, reconnected_cb=back)
    key, offer, queue = f"$KV.PARLEY_PRESENCE.tool.{TOOL['name']}.{WORKER}", dump(kind="tool", name=TOOL["name"], worker=WORKER, beat_ms=1000, tool=TOOL), None
    while not queue:  # an orchestrator creates a missing one
        try: queue = await js.consumer_info("JOBS", QUEUE)
        except nats.js.errors.NotFoundError: print("requested", QUEUE, await asyncio.gather(nc.request("queue." + QUEUE, timeout=5), asyncio.sleep(0.5), return_exceptions=True))
    loop, leaving, now, watch = asyncio.get_running_loop(), asyncio.get_running_loop().create_future(), [], []
    loop.add_signal_handler(signal.SIGTERM, lambda: leaving.done() or leaving.set_result("unknown"))
    async def pulse():
        while not leaving.done() and await asyncio.gather(js.publish(key, offer), *(m.in_progress() for m in now), return_exceptions=True):
            await asyncio.sleep(min(1, queue.config.ack_wait / 3))
    beat, jobs = asyncio.create_task(pulse()), await js.pull_subscribe_bind(QUEUE, stream="JOBS")
    while not leaving.done():
        try: now = await jobs.fetch(1, timeout=1)
        except TimeoutError: continue
        try: back = 0 if leaving.done() else await call(now[0], leaving, watch)
        except Exception as err: back = print(now[0].subject, repr(err), file=sys.stderr) or 6
        await (now.pop().ack() if back is None else now.pop().nak(back))
        while watch: await watch.pop().unsubscribe()
    await js.publish(key, headers={"KV-Operation": "DEL"}) and await nc.drain()
asyncio.run(main())
