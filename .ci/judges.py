"""The rows of the table in the inputs' README.md: what runs, and what must come out.

A judge gets the Outcome of its row, says what is wrong with Outcome.need, and returns
what came out in a few words.
"""
import json, os, re, subprocess


class Outcome:
    """Outcome is what a row printed and left behind, and what of that is wrong."""

    def __init__(self, text, seconds, directory, env):
        self.text, self.seconds, self.directory, self.env = text, seconds, directory, env
        self.wrong = []

    def need(self, ok, what):
        if not ok:
            self.wrong.append(what)
        return bool(ok)

    def blocks(self, mark="== "):
        """The parts of the text by their headings, in order."""
        found = re.split(r"(?m)^%s(.*)$" % re.escape(mark), self.text)
        return dict(zip(found[1::2], found[2::2]))

    def log(self, pattern="requests.ndjson"):
        """The requests with a body that the fake provider logged."""
        for root, _, files in os.walk(self.directory):
            if pattern in files:
                with open(os.path.join(root, pattern)) as f:
                    return [r for r in map(json.loads, f) if r.get("method") == "POST"]
        return []

    def codes(self):
        return [int(c) for c in re.findall(r"(?m)^rc=(\d+)", self.text)]


FAILED = re.compile(r"(?m)^[✗x] failed")
JUDGES, ROWS = {}, {}


def row(name, command, timeout, needs=(), fronted=False):
    """Registers a row: its command below the inputs, its seconds at most, what it needs."""
    def add(judge):
        ROWS[name] = (command, timeout, needs, fronted)
        JUDGES[name] = judge
        return judge
    return add


def wire(case, timeout=60, **more):
    return row("wirecases/" + case, ["python3", "wirecases.py", case], timeout, **more)


def roles(request):
    return [m["role"] for m in request["body"]["messages"] if m["role"] in ("user", "assistant") and not m.get("tool_calls")]


def alternates(request):
    r = roles(request)
    return all(a != b for a, b in zip(r, r[1:])) and r[0] == "user"


# --- a tool that a provider refuses

def schema(o, tool):
    blocks = o.blocks()
    o.need(len(blocks) == 2, "two providers were to be asked, not %d" % len(blocks))
    said = []
    for name, text in blocks.items():
        o.need(re.search(r"(?m)^fine$", text) and "rc=0" in text, name + ": the turn failed")
        offered = next((json.loads(l) for l in text.splitlines() if l.startswith('["')), [])
        o.need(any(t.startswith("good ") for t in offered), name + ": the good tool is missing")
        if any(t.startswith(tool + " ") for t in offered):
            said.append("offered")
            continue
        o.need(re.search(r"server odd.*tool %s.*left out: " % tool, text), name + ": %s is neither offered nor said to be left out" % tool)
        said.append("left out, and said so")
    return "fine with OpenAI and Anthropic; the tool is " + " and ".join(sorted(set(said)))


@row("schemas/noprops", ["bash", "schemas.sh", "noprops"], 60)
def _(o):
    return schema(o, "accounts")


@row("schemas/topany", ["bash", "schemas.sh", "topany"], 60)
def _(o):
    return schema(o, "either")


@row("mcplist", ["bash", "mcplist.sh"], 150)
def _(o):
    blocks = o.blocks()
    for name in ("many", "loop", "names", "noise", "hang"):
        o.need(re.search(r"(?m)^fine$", blocks.get(name, "")), name + ": the turn failed")
    many = blocks.get("many", "")
    counts = re.search(r'"n":(\d+)', many)
    rest = re.search(r"(\d+) tools are too many for one request: the model finds them with find_tools", many)
    if o.need(counts and rest and '"find_tools"' in many, "many: nothing says which tools the request leaves out"):
        o.need(int(counts[1]) <= 128, "many: %s tools in a request" % counts[1])
        o.need(int(counts[1]) - 1 + int(rest[1]) == 203, "many: %s offered and %s findable are not 203" % (counts[1], rest[1]))
    for tool in ("docs.create", "docs/create"):
        o.need(re.search(r"server one: tool %s is left out: " % tool, blocks.get("names", "")), "names: nothing says that %s is left out" % tool)
    o.need(re.search(r"server slow: its tools are missing", blocks.get("hang", "")), "hang: nothing says that the tools of slow are missing")
    return "203 tools: %d offered, %s found with find_tools; tools with doubled names are said to be left out" % (int(counts[1]) - 1 if counts else 0, rest and rest[1])


# --- history of another model

@row("switch_models", ["bash", "switch_models.sh"], 90)
def _(o):
    turns = re.split(r"(?m)^--- ", o.text.split("\n{")[0])[1:]
    o.need(len(turns) == 9, "9 turns, not %d" % len(turns))
    for i, t in enumerate(turns):
        # The fake answers /responses in the wire of Chat Completions: of the sixth
        # turn only the request can be judged.
        o.need(i == 5 or "answer of " in t and not FAILED.search(t), "turn %d has no answer: %s" % (i + 1, t.splitlines()[0][-40:]))
    log = o.log()
    for r in log:
        for signature in re.findall(r"sig-([a-z0-9-]+)-\d+\"", json.dumps(r["body"])):
            o.need(signature == r["body"]["model"], "request %d to %s has a signature of %s" % (r["n"], r["body"]["model"], signature))
    back = [r for r in log if r["body"]["model"] == "claude-opus-4-8" and "back" in json.dumps(r["body"]["messages"][-1])]
    o.need(back and "sig-claude-opus-4-8-0" in json.dumps(back[0]["body"]), "the signatures do not go back to the model that wrote them")
    o.need(any(r["path"] == "/v1/responses" for r in log), "nothing was asked of Responses")
    return "8 of 9 turns answered, signatures only to their model (turn 6 by its request: the fake has no Responses wire)"


@row("bound_prefix", ["bash", "bound_prefix.sh"], 120, fronted=True)
def _(o):
    turns = re.split(r"(?m)^--- ", o.text)[1:]
    o.need(len(turns) == 9, "9 turns, not %d" % len(turns))
    for i, t in enumerate(turns):
        o.need(re.search(r"(?m)^fine \d+", t) and not FAILED.search(t), "turn %d has no answer: %s" % (i + 1, t.strip()[-150:]))
    systems = {json.dumps(r["body"].get("system")) for r in o.log()}
    o.need(sum("It is " in s for s in systems) >= 2, "the hook's context did not change the prompt: the row shows nothing")
    o.need(any("hello" in [t["name"] for t in r["body"].get("tools", [])] for r in o.log()), "the second worker's tool never arrived: the row shows nothing")
    return "9 of 9 turns answered in %d requests" % len(o.log())


# --- hosts with strict roles

@row("alternate", ["bash", "alternate.sh"], 120)
def _(o):
    o.need(not FAILED.search(o.text), "a turn failed")
    o.need(len(re.findall(r"(?m)^(?:fine|late)$", o.text)) >= 7, "not each conversation lives on")
    o.need(o.text.count("cancelled —") + o.text.count("cancelled ---") >= 2, "two turns were to be cancelled")
    log = o.log()
    o.need(log and all(alternates(r) for r in log), "a request has roles that do not alternate")
    o.need(any("slow please" in str(m["content"]) and "what now" in str(m["content"]) for r in log for m in r["body"]["messages"]), "neighbouring user messages are not one")
    return "%d requests, all alternate; answered after each cancel" % len(log)


@wire("roles_must_alternate")
def _(o):
    o.need(o.codes() == [1, 0, 0], "exit codes %s, not 1 0 0" % o.codes())
    log = o.log("log")
    o.need(len(log) == 3 and all(alternates(r) for r in log), "a request has roles that do not alternate")
    o.need(len(log) > 1 and "one" in str(log[1]["body"]["messages"][-1]) and "two" in str(log[1]["body"]["messages"][-1]), "neighbouring user messages are not one")
    return "exit codes 1 0 0; one and two in one message"


# --- raw JSON of a model

@wire("anth_args_lone_surrogate")
def _(o):
    o.need(o.codes() == [0, 0], "exit codes %s, not 0 0" % o.codes())
    log = o.log("log")
    o.need(len(log) == 3, "%d requests, not 3" % len(log))
    half = re.compile("[\ud800-\udfff]")
    o.need(not any(half.search(json.dumps(r["body"], ensure_ascii=False)) for r in log), "half a surrogate pair went out")
    return "exit codes 0 0; only whole characters in 3 requests"


# --- retries

def gaps(log):
    return [b["t"] - a["t"] for a, b in zip(log, log[1:])]


@wire("429_forever", timeout=150)
def _(o):
    log = o.log("log")
    waits = gaps(log)
    o.need(o.codes() == [1], "exit code %s, not 1" % o.codes())
    o.need(2 <= len(log) <= 4, "%d requests, not 2 to 4" % len(log))
    o.need(all(b > 1.3 * a for a, b in zip(waits, waits[1:])), "the waits do not grow: %s" % waits)
    o.need("rate_limited" in o.text, "nothing says that the rate limit was the reason")
    return "%d requests, waits of %s s" % (len(log), " ".join("%.1f" % w for w in waits))


def too_long(o):
    log = o.log("log")
    o.need(o.codes() == [1] and len(log) == 1, "exit code %s after %d requests, not 1 after 1" % (o.codes(), len(log)))
    took = [float(s) for s in re.findall(r"(?m)^rc=\d+ ([\d.]+)s", o.text)]
    o.need(took and took[0] < 6, "the end came after %s s, not at once" % took)
    o.need("longer than the turn may last" in o.text, "nothing says why")
    return "ended after %s s and 1 request, and says why" % (took[0] if took else "?")


wire("429_long")(too_long)
wire("retry_after_beyond_turn")(too_long)


# --- first minute

@row("ollama_embed", ["bash", "ollama_embed.sh"], 60)
def _(o):
    o.need(o.text.count("from qwen") == 3 and o.codes() == [0], "not answered three times by the model that can chat")
    o.need(re.search(r"ok +models +ollama/qwen3:8b", o.text), "doctor does not name the model that can chat")
    asked = {r["body"]["model"] for r in o.log() if r["path"] == "/api/chat"}
    o.need(asked == {"qwen3:8b"}, "asked to chat: %s" % asked)
    return "qwen3:8b is chosen; doctor says why"


# --- tools that are missing

@row("mcpstart", ["bash", "mcpstart.sh"], 150)
def _(o):
    blocks = o.blocks()
    for name, server in (("delay3", "slow"), ("delay12", "slow"), ("delay40", "slow"), ("missing", "none"), ("exits", "none")):
        text = blocks.get(name, "")
        offered = next((json.loads(l) for l in text.splitlines() if l.startswith('["')), [])
        o.need("fine" in text, name + ": the turn failed")
        o.need("one" in offered or re.search(r"server %s: its tools are missing: \S" % server, text), name + ": a tool is missing and nothing says so")
        took = re.search(r"took (\d+) s", text)
        o.need(took and int(took[1]) < (5 if server == "none" else 20), name + ": took " + (took[1] if took else "?") + " s")
    o.need("executable file not found" in blocks.get("missing", ""), "missing: the reason is not said")
    o.need("cannot find the database" in blocks.get("exits", ""), "exits: what the program wrote is not said")
    return "waits 3 s for one; the others are said to be missing, with the reason"


@row("mcphttp/401", ["bash", "mcphttp.sh", "401"], 90)
def _(o):
    o.need(len(re.findall(r"MCP server web: its tools are missing: .*HTTP 401", o.text)) >= 2, "not each ask says that the server refuses access")
    o.need(o.text.count("no tool look; have") == 2, "not both turns were answered")
    return "each ask names the server and HTTP 401"


@row("mcphttp/401later", ["bash", "mcphttp.sh", "401later"], 90)
def _(o):
    o.need("result: seen 1" in o.text, "the first call failed")
    refused = re.search(r"w_look failed: .*MCP server web.*HTTP 401.*\((?:(\d+) ms|([\d.]+) s)\)", o.text)
    o.need(refused and (refused[1] or float(refused[2]) < 3), "the second call does not fail at once with the reason")
    o.need(re.search(r"result: .*HTTP 401", o.text), "the model does not learn the reason")
    return "the second call fails after %s ms; person and model learn why" % (refused[1] if refused else "?")


@row("toolgone", ["bash", "toolgone.sh"], 90)
def _(o):
    o.need("result: called with {}" in o.text, "the first call failed")
    o.need(not re.search(r"(?m)^alpha\t", o.text), "parley tools lists the withdrawn tool")
    o.need('"status":"unknown_tool"' in o.text, "the call of a withdrawn tool is not unknown_tool")
    end = re.search(r"rc=(\d+) (\d+) s", o.text)
    o.need(end and end[1] == "0" and int(end[2]) < 5, "ended with rc=%s after %s s" % (end[1], end[2]) if end else "did not end")
    return "unknown_tool after %s s, no longer offered" % (end and end[2])


# --- keys

def header(name, value):
    def judge(o):
        log = o.log("log")
        o.need(o.codes() == [0] and len(log) == 1, "exit code %s after %d requests" % (o.codes(), len(log)))
        sent = [{k.lower(): v for k, v in r["headers"].items()}.get(name) for r in log]
        o.need(sent == [value], "the header %s was %r" % (name, sent))
        o.need("secret123" not in o.text, "the key was printed")
        return "trimmed"
    return judge


wire("key_newline")(header("authorization", "Bearer sk-secret123"))
wire("key_crlf_anthropic")(header("x-api-key", "sk-secret123"))
wire("key_file_bom_crlf")(header("authorization", "Bearer sk-secret123"))


@wire("key_embedded_newline")
def _(o):
    o.need(o.codes() == [2] and not o.log("log"), "exit code %s, not 2 before any request" % o.codes())
    o.need("OPENAI_API_KEY" in o.text and "line break" in o.text, "the refusal does not name the variable and why")
    o.need("secret" not in o.text, "the key was printed")
    return "refused at the start, names OPENAI_API_KEY"


# --- one stranger's message

@row("badsubject", ["bash", "badsubject.sh"], 180, fronted=True)
def _(o):
    o.need("front: " not in o.text and "Traceback" not in o.text, "the stranger's message was not published")
    o.need(re.search(r'"stream": ?"CONV_', o.text), "nothing says that the stranger's message was published")
    blocks = o.blocks("## ")
    for command in ("ls", "approvals", "doctor", "top -n 1", "tools"):
        text = blocks.get(command, "")
        o.need("rc=0" in text and len(text.strip().splitlines()) > 1, "%s: %s" % (command, text.strip()[-150:] or "nothing"))
    for step in ("ask", "restart"):
        o.need("parley replay" in blocks.get(step, "") and not FAILED.search(blocks.get(step, "")), step + ": no answer")
    o.need("ls rc=0" in blocks.get("restart", ""), "ls fails after a restart")
    return "ls, approvals, doctor, top, tools, ask work, also after a restart"


# --- images

@row("results", ["bash", "results.sh"], 120)
def _(o):
    blocks = o.blocks("### ")
    for tool, text in blocks.items():
        o.need("MODEL GOT" in text, tool + ": the turn failed")
    # The fake takes the message with the image for a call, so what the model sees is
    # judged by the request.
    shown = [p for r in o.log() for m in r["body"]["messages"] if m["role"] == "user" and isinstance(m["content"], list) for p in m["content"]]
    o.need(any(p["type"] == "image_url" and p["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo") for p in shown), "no request has the image of image_only")
    o.need("image_only" in str([p.get("text") for p in shown]), "nothing tells the model which result the image is of")
    return "%d results; the image of image_only is in the next request, named" % len(blocks)


# --- base URLs, files

def base(o):
    log = o.log("log")
    paths = sorted({r["path"] for r in log})
    if o.codes() == [0]:
        o.need(re.search(r"(?m)^ok$", o.text), "exit code 0 without the answer")
        return "works: " + " ".join(paths)
    o.need(o.codes() == [1] and len(paths) == 1, "exit code %s after requests to %s" % (o.codes(), paths))
    o.need(paths and re.search(r"http://127\.0\.0\.1:\d+%s(?!\S)" % re.escape(paths[0]), o.text), "the error does not name the URL asked")
    return "the error names the URL asked, with " + " ".join(paths)


@row("bom_crlf_tools.yaml", ["bash", "-c", 'CASE=bom; . ./lib.sh; fake strict_chat.py; OPENAI_BASE_URL=http://127.0.0.1:$PORT/v1 P ask --model openai/m --tools-file bom_crlf_tools.yaml hello 2>&1; echo "rc=$?"; stopfake'], 60)
def _(o):
    o.need(o.codes() == [0], "exit code %s" % o.codes())
    o.need(any("hello" in [t["function"]["name"] for t in r["body"]["tools"]] for r in o.log()), "the file's tool is not offered")
    return "works: its tool is offered"


# --- window exceeded

def commands_exist(o):
    """The commands that an error names must be there, and it says what helps one turn."""
    named = set(re.findall(r"\(parley ([a-z]+) [^)]*\)", o.text))
    o.need("ask" in named, "the error names no command that chooses another model")
    o.need("this turn alone is longer than the model's window; send a shorter message" in o.text, "it is not said what helps where a compaction leaves nothing out")
    for command in sorted(named):
        r = subprocess.run([o.env["PARLEY"], command, "--help"], env=o.env, capture_output=True, timeout=20)
        o.need(r.returncode == 0, "parley %s, which the error names, does not exist" % command)


def compact(o):
    """What the error proposes is run on the conversation that it was about."""
    for root, directories, _ in os.walk(o.directory):
        if "data" in directories:
            env = dict(o.env, XDG_DATA_HOME=os.path.join(root, "data"), OLLAMA_HOST="127.0.0.1:9")
            run = lambda *a: subprocess.run([env["PARLEY"], *a], env=env, capture_output=True, text=True, timeout=40)
            listed = run("ls").stdout.split()
            if not o.need(listed, "parley ls does not list the conversation"):
                return "nothing to compact"
            r = run("compact", listed[0])
            return "parley compact: rc=%d %s" % (r.returncode, (r.stdout + r.stderr).strip().replace("\n", " ")[-160:])
    return ""


@wire("ctx_exceeded")
def _(o):
    o.need(o.codes() == [1, 1], "exit codes %s, not 1 1" % o.codes())
    commands_exist(o)
    log = o.log("log")
    o.need(re.search(r"no longer sent", o.text), "nothing says that the history was shortened")
    o.need(len(log) == 3 and len(log[2]["body"]["messages"]) < len(log[1]["body"]["messages"]) + 1, "the history was not shortened before it was asked again")
    return "shortened and asked again; then told what could be shorter"


@wire("ctx_exceeded_anth")
def _(o):
    o.need(o.codes() == [1], "exit codes %s, not 1" % o.codes())
    commands_exist(o)
    o.need("parley compact" not in o.text, "parley compact is named, which leaves nothing out of one turn")
    return "told what could be shorter, for " + compact(o)


# --- the bus lost something

def ends(text):
    """What each ask of a block ended with: exit code and seconds."""
    return [(int(c), int(s)) for c, s in re.findall(r"rc=(\d+) (\d+) s", text)]


DISK = "its disk is full"


@row("diskfull", ["bash", "diskfull.sh"], 300, needs=("root",))
def _(o):
    before, *rest = re.split(r"(?m)^### ", o.text)
    blocks = {r.split("\n", 1)[0]: r for r in rest}
    full = blocks.get("another while full", "")
    # 124 and 137: timeout ended it, because it neither ended nor said anything.
    code = ends(before)[0] if ends(before) else (None, None)
    o.need(code[0] not in (None, 124, 137) and DISK in before, "the disk fills during a turn: its ask ends with rc=%s after %s s and %s why" % (*code, "says" if DISK in before else "does not say"))
    o.need(ends(full) and ends(full)[0][0] not in (0, 124, 137) and DISK in full, "an ask while the disk is full does not say so")
    o.need("FAIL  disk" in full and "FAIL  writes" in full, "doctor does not fail for the disk")
    room = blocks.get("room again", "")
    o.need("rc=0" in room, "room again: the conversation does not go on: %s" % room[-150:])
    restart = blocks.get("restart", "")
    codes = [int(c) for c in re.findall(r"(?m)^rc=(\d+)", restart)]
    o.need(codes and (codes[0] == 0 or DISK in restart.split("rc=")[0] and codes[0] not in (124, 137)), "after a restart, on a disk that this turn fills: its ask ends with rc=%s" % (codes[:1] or "nothing"))
    return "said while the disk is full; works again by itself, also after a restart"


@row("diskfull2", ["bash", "diskfull2.sh"], 150, needs=("root",))
def _(o):
    during, after = (o.text.split("room again: ", 1) + [""])[:2]
    codes = ends(during)
    o.need(len(codes) == 2 and all(c not in (0, 124, 137) for c, _ in codes) and during.count(DISK) >= 3, "while full: asks ended with %s" % codes)
    o.need(re.search(r"(?m)^readyz .* 503", during) and "FAIL  disk" in during, "while full: readyz or doctor does not say so")
    again = ends("rc=" + after.split("rc=", 1)[-1])
    o.need(len(again) == 3 and all(c == 0 for c, _ in again), "room again: asks ended with %s" % again)
    o.need(re.search(r"(?m)^readyz ok +200", after), "room again: not ready")
    return "asks fail in %s s and say why, readyz 503, doctor FAIL; room again: works by itself, 200" % " ".join(str(s) for _, s in codes)


@row("natslimits", ["bash", "natslimits.sh"], 250)
def _(o):
    said, blocks = [], o.blocks("### ")
    for name in ("nojetstream", "maxpayload8k", "bytesrequired", "fewstreams", "fewconsumers", "smallfile"):
        text = blocks.get(name, "")
        if "397.8" in text:
            said.append(name + " works")
            continue
        first = (text.strip().splitlines() or [""])[0]
        remedy = re.search(r"start it with `[^`]+`|turn \w+ off|raise its \w+", first)
        if o.need(first.startswith("parley: ") and remedy, "%s: neither works nor says what to change: %s" % (name, first[:150])):
            said.append("%s: %s" % (name, remedy[0]))
        o.need("FAIL  server" in text, name + ": doctor does not fail")
    return ", ".join(said)


@row("natslost", ["bash", "natslost.sh"], 500)
def _(o):
    blocks, said = o.blocks("### "), []
    for name, text in blocks.items():
        if name == "log":
            continue
        for i, (code, seconds) in enumerate(ends(text)):
            # An ask in the seconds after the loss may fail if it says why; the next may not.
            excused = name.startswith("the server comes back") and i == 0 and code not in (124, 137) and "parley: " in text
            o.need(code == 0 and "397.8" in text or excused, "%s: ask ended with rc=%d after %d s: %s" % (name, code, seconds, text.split("rc=")[0].strip()[-200:]))
    o.need(len(blocks) >= 9, "only %d of 9 parts" % len(blocks))
    names = re.findall(r"(?m)^(\[.*\])$", o.text)
    streams = [set(json.loads(n)) for n in names if "CONV_0" in n or "HISTORY" in n]
    o.need(len(streams) == 2 and streams[0] == streams[1], "the streams before and after an empty volume differ: %s" % streams)
    o.need(all(c == "200" or "cannot" in rest or c == "503" for c, rest in re.findall(r"readyz: (\d+)(.*)", o.text)), "readyz is neither 200 nor 503 with a reason")
    return "works after each loss: slowest ask %d s; streams are made again" % max((s for t in blocks.values() for _, s in ends(t)), default=0)
