# A Parley tool worker that needs only a NATS client; docs/tool-workers.md explains it. It runs one call at a time: start more workers for more.
import asyncio, json, os, signal, sys, time, uuid, nats
TOOL = {"name": "word_count", "effect": "pure", "timeout_ms": 60_000, "description": "Counts the words of a text.", "schema": {
    "type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "pause_ms": {"type": "integer"}}}}
QUEUE, WORKER, js = "tool_" + TOOL["name"], f"{os.environ.get('PARLEY_NAME', 'py')}-{uuid.uuid4().hex[:6]}", (nc := nats.NATS()).jetstream()
AFTER, TTL, since, missed, dump = "Nats-Expected-Last-Subject-Sequence", 12, [time.monotonic()], {}, lambda **event: json.dumps(event).encode()
async def run(args, show):
    await show("counting\n")
    await asyncio.sleep(args.get("pause_ms", 0) / 1000)  # to try what happens during a call
    return f"{len(args['text'].split())} words"
async def read(data):  # one event per line; the object store has what is too large for a message
    lines = [json.loads(line) for line in data.splitlines()]
    return lines if lines[0]["type"] != "Claim" else await read((await (await js.object_store("PARLEY_OBJECTS")).get(lines[0]["object"]["name"])).data)
async def last(subject):  # the stream CONV_0 stores conv.0.…
    try: return (m := await js.get_last_msg("CONV_" + subject.split(".")[1], subject, direct=True)).seq, (await read(m.data))[-1]
    except nats.js.errors.NotFoundError: return 0, {"type": None}
async def lane(subject, after):  # the lane's last sequence, and its events after a position
    seq, events = 0, []
    try:
        while m := await js.get_msg("CONV_" + subject.split(".")[1], seq + 1, subject=subject, direct=True, next=True):
            seq, events = m.seq, events + (await read(m.data) if m.seq > after else [])
    except nats.js.errors.NotFoundError: return seq, events
async def gone(worker, once):  # reports whether the worker is dead: its key is missing and we were connected for the key's lifetime, twice that for a once call
    try: return await (await js.key_value("PARLEY_PRESENCE")).get(f"tool.{TOOL['name']}.{worker}") and missed.pop(worker, None) and False
    except nats.js.errors.KeyNotFoundError: return time.monotonic() - max(since[0], missed.setdefault(worker, time.monotonic()) if once else 0) >= TTL
async def call(m, leaving, watch):  # returns None to acknowledge the job, or the delay in seconds after which to redeliver it
    job, stop, began = (await read(m.data))[0], asyncio.get_running_loop().create_future(), time.time_ns() // 1_000_000
    is_open = lambda d: not job["decision"] or any(c["call"] == job["call"] and not c.get("status") for c in d["state"].get("calls", []))
    stops = lambda e: e["type"] == "Decision" and not is_open(e) or e["type"] == "Cancel" and (
        e.get("call") == job["call"] and e.get("turn", job["turn"]) == job["turn"] if (scope := e.get("scope", "call" if e.get("call") else "turn")) == "call"
        else job["decision"] and e.get("turn") == job["turn"] and scope in ("turn", "all"))
    async def hear(msg): any(map(stops, await read(msg.data))) and (stop.done() or stop.set_result("cancelled"))
    of = job["subject"].removeprefix("conv.").split(".call.")[0]  # <shard>.<conversation>; subscribe first, so that no event is missed
    watch += [await nc.subscribe(f"live.{of}.{channel}", cb=hear) for channel in ("turn", "in")]
    (seq, events), (at, decision) = await lane(job["subject"], job["decision"]), await last(f"conv.{of}.turn")
    starts, released = [e for e in events if e["type"] == "ToolStarted"], {e["attempt"]: e.get("error") for e in events if e["type"] == "ToolReleased"}
    done = any(e["type"] == "ToolResult" and e.get("attempt") == s["attempt"] for s in starts[-1:] for e in events)
    if done or at >= job["decision"] and not is_open(decision): return None  # it has a result, or the job is stale
    once, delivery, index = job["effect"] not in ("pure", "idempotent"), m.metadata.num_delivered, iter(range(sys.maxsize))
    if starts and starts[-1]["attempt"] not in released and (other := starts[-1].get("worker", WORKER)) != WORKER and not await gone(other, once): return 3
    own, timeout = {"call": job["call"], "attempt": f"{began >> 16:08x}-{began & 0xffff:04x}-7{str(uuid.uuid4())[15:]}"}, (job.get("timeout_ms") or TOOL["timeout_ms"]) / 1000
    append = lambda kind, after, **e: js.publish(job["subject"], dump(type=kind, **own, tool=job["tool"], **e), headers={AFTER: str(after)})
    async def end(status, text, after): await append("ToolResult", after, status=status, content=text, took_ms=time.time_ns() // 1_000_000 - began)
    start = await append("ToolStarted", seq, worker=WORKER, delivery=delivery)  # from now on the lane refuses older attempts, and our result counts
    failed = sum(released.get(s["attempt"], "its worker died") is not None for s in starts)
    if (died := starts and once) or failed >= 100: return await end("unknown" if died else "failed", "it was tried before, and came to no end", start.seq)
    show = lambda text: nc.publish(job["output"], dump(type="ToolOutput", **own, index=next(index), text=text))
    await asyncio.wait({task := asyncio.create_task(run(job["arguments"], show)), stop, leaving}, timeout=timeout, return_when="FIRST_COMPLETED")
    if task.done(): return await end("failed" if task.exception() else "ok", str(task.exception() or task.result()), start.seq)
    status = task.cancel() and next((f.result() for f in (stop, leaving) if f.done()), "timeout")
    if status == "unknown" and not once: return await append("ToolReleased", start.seq) and 0  # another worker may take it at once
    return await end(status, f"{TOOL['name']} was stopped before it was done", start.seq)
async def main():
    user, password, url = os.environ.get("NATS_USER"), os.environ.get("NATS_PASSWORD"), os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async def back(): since[0] = time.monotonic()
    await nc.connect(url, user=user, password=password, name=WORKER, inbox_prefix=b"_INBOX_tool-worker", max_reconnect_attempts=-1, reconnected_cb=back)
    try: info = await js.consumer_info("JOBS", QUEUE)
    except nats.js.errors.NotFoundError: info = await js.add_consumer("JOBS", name=QUEUE, durable_name=QUEUE, filter_subject=f"jobs.tool.{TOOL['name']}.*", ack_wait=6, max_deliver=-1, max_ack_pending=10_000)
    kv, key, loop, now, watch = await js.key_value("PARLEY_PRESENCE"), f"tool.{TOOL['name']}.{WORKER}", asyncio.get_running_loop(), [], []
    offer, leaving = dump(kind="tool", name=TOOL["name"], worker=WORKER, tool=TOOL), loop.create_future()
    loop.add_signal_handler(signal.SIGTERM, lambda: leaving.done() or leaving.set_result("unknown"))
    async def pulse():
        while not leaving.done() and await asyncio.gather(kv.put(key, offer), *(m.in_progress() for m in now), return_exceptions=True):
            await asyncio.sleep(min(3, info.config.ack_wait / 3))
    beat, jobs = asyncio.create_task(pulse()), await js.pull_subscribe_bind(QUEUE, stream="JOBS")
    while not leaving.done():
        try: now = await jobs.fetch(1, timeout=1)
        except TimeoutError: continue
        try: back = 0 if leaving.done() else await call(now[0], leaving, watch)
        except Exception as err: back = print(now[0].subject, repr(err), file=sys.stderr) or 6
        await (now.pop().ack() if back is None else now.pop().nak(back))
        while watch: await watch.pop().unsubscribe()
    await kv.delete(key)
    await nc.drain()
asyncio.run(main())
