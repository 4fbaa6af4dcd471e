package doctor_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/doctor"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	// nats-server waits some seconds for a source that was shut down with it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// patient is a deployment with an owner of its shard, a model and a tool.
type patient struct {
	*testing.T
	b   *bus.Bus
	js  jetstream.JetStream
	x   *doctor.Examination
	one string // a conversation
}

func (p *patient) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func id() string { return uuid.Must(uuid.NewV7()).String() }

func spec(effect events.Effect) *events.ToolSpec {
	return &events.ToolSpec{Name: "clock", Schema: json.RawMessage(`{"type":"object"}`), Effect: effect}
}

func healthy(t *testing.T) *patient {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{Options: []nats.Option{s.InProcess()}}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	_, js := b.Raw()
	p := &patient{T: t, b: b, js: js, one: id(), x: &doctor.Examination{Bus: b, Where: "here", Tolerance: doctor.DefaultTolerance()}}
	_, err = b.Shard(0).TakeLease(t.Context(), "owner")
	p.must(err)
	p.must(b.Presence().Announce(t.Context(), []bus.Offer{{Kind: "llm", Name: "scripted", Worker: "w", Model: "scripted/demo"},
		{Kind: "tool", Name: "clock", Worker: "w", Tool: spec(events.EffectPure)}}))
	return p
}

// write publishes an input, which has no answer.
func (p *patient) write(e events.Event) {
	_, err := p.b.Conversation(p.one).Publish(p.Context(), id(), e)
	p.must(err)
}

func (p *patient) job(tool string) {
	q, err := topology.ToolQueue(tool)
	p.must(err)
	p.must(p.b.Jobs().EnsureQueue(p.Context(), q))
	call := id()
	subject, err := topology.ToolJob(tool, call)
	p.must(err)
	p.must(p.b.Jobs().Publish(p.Context(), p.one, subject, call, &events.ToolJob{Call: call, Tool: tool, Arguments: json.RawMessage("{}")}))
}

// announce stores a record of presence as a stranger would.
func (p *patient) announce(key string, record any) {
	raw, err := json.Marshal(record)
	p.must(err)
	_, err = p.js.Publish(p.Context(), "$KV.PARLEY_PRESENCE."+key, raw)
	p.must(err)
}

// change changes the configuration of a stream.
func (p *patient) change(name string, to func(*jetstream.StreamConfig)) {
	s, err := p.js.Stream(p.Context(), name)
	p.must(err)
	cfg := s.CachedInfo().Config
	to(&cfg)
	_, err = p.js.UpdateStream(p.Context(), cfg)
	p.must(err)
}

// illness is one thing that is wrong, the check that finds it, and words of its
// remedy.
type illness struct {
	upset func(*patient)
	check string
	says  string
	cured bool // --fix removes it
}

func illnesses() map[string]illness {
	return map[string]illness{
		"nothing":                  {func(*patient) {}, "", "", false},
		"no orchestrator":          {func(p *patient) { p.must(p.b.Deployment().BreakLeases(p.Context())) }, "orchestrator", "parley up --only orchestrator", false},
		"a stream is gone":         {func(p *patient) { p.must(p.js.DeleteStream(p.Context(), topology.StreamDead)) }, "streams", "DEAD is missing", true},
		"a bucket is gone":         {func(p *patient) { p.must(p.js.DeleteStream(p.Context(), "KV_"+topology.BucketCheckpoints)) }, "streams", "KV_PARLEY_CHECKPOINTS is missing", true},
		"the object store is gone": {func(p *patient) { p.must(p.js.DeleteStream(p.Context(), "OBJ_"+topology.BucketObjects)) }, "streams", "OBJ_PARLEY_OBJECTS is missing", true},
		"a stream differs": {func(p *patient) {
			p.change(topology.StreamTimers, func(c *jetstream.StreamConfig) { c.Subjects = []string{"timer.>"} })
		}, "streams", "TIMERS differs (subjects)", true},
		"the log is not republished": {func(p *patient) {
			p.change(topology.ConvStream(0), func(c *jetstream.StreamConfig) { c.RePublish = nil })
		}, "streams", "CONV_0 differs (republish)", true},
		"the log is full": {func(p *patient) {
			p.change(topology.ConvStream(0), func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1, jetstream.DiscardNew })
		}, "writes", "no space left", false},
		"messages are not stored": {func(p *patient) {
			p.change("KV_"+topology.BucketPresence, func(c *jetstream.StreamConfig) { c.NoAck = true })
		}, "writes", "its disk is full or was", true},
		"the disk is nearly full": {func(p *patient) { p.x.Dir, p.x.Tolerance.FreeBytes = p.TempDir(), 1<<62 }, "disk", "free some", false},
		"the clocks differ":       {func(p *patient) { p.x.Tolerance.ClockSkew = -1 }, "clock", "NTP", false},
		"no model": {func(p *patient) {
			p.must(p.js.DeleteStream(p.Context(), "KV_"+topology.BucketPresence))
			_, err := p.b.Deployment().Repair(p.Context())
			p.must(err)
		}, "workers", "parley up --only llm-worker", false},
		"jobs of a tool that nobody serves": {func(p *patient) { p.job("gone") }, "queues", `"gone" wait and no worker serves it`, false},
		"jobs that nobody takes":            {func(p *patient) { p.job("clock") }, "queues", `"clock" wait and its workers take none`, false},
		"a worker of a later protocol": {func(p *patient) {
			p.announce("llm.next.new", map[string]any{"kind": "llm", "name": "next", "worker": "new", "model": "next/a", "protocol": topology.Protocol + 1})
		}, "versions", "worker new speaks protocol 2, this program protocol 1", false},
		"two tools of one name": {func(p *patient) {
			p.announce("tool.clock.other", bus.Offer{Kind: "tool", Name: "clock", Worker: "other", Tool: spec(events.EffectOnce)})
		}, "tools", "stop one of the two, or rename its tool", false},
		"a tool whose schema cannot be used": {func(p *patient) {
			bomb := spec(events.EffectPure)
			bomb.Name, bomb.Schema = "bomb", json.RawMessage(`{"type":"object","$dynamicRef":"#x"}`)
			p.announce("tool.bomb.other", bus.Offer{Kind: "tool", Name: "bomb", Worker: "other", Tool: bomb})
		}, "tools", "tool bomb of worker other is not offered to models", false},
		"rules for a tool that nobody serves": {func(p *patient) {
			p.x.Rules = policy.Defaults{Policy: &events.Policy{Rules: []events.Rule{{Tool: "clok", Action: events.ActionAuto}}}}
		}, "tools", `"clok", which no worker serves`, false},
		"a pool of models that nobody serves": {func(p *patient) {
			p.x.Rules = policy.Defaults{Pools: policy.Pools{"fast": {{Model: "gone/a"}, {Model: "gone/b"}}}}
		}, "pools", "no worker serves a model of pool fast (gone/a, gone/b)", false},
		"settings with a tool that nobody serves": {func(p *patient) { p.write(&events.Settings{Tools: []string{"c*", "clok"}}) }, "tools", oneOf, false},
		"an input without an answer": {func(p *patient) {
			p.x.Tolerance.Overdue = 0
			p.write(&events.UserMessage{Text: "hello"})
		}, "stuck", "parley cancel", false},
		"a turn without an end": {func(p *patient) {
			p.x.Tolerance.Overdue = 0
			d := &events.Decision{Owner: "owner", State: events.State{Phase: events.PhaseGenerating, Turn: id(), Generation: id(), StartedMS: time.Now().Add(-time.Hour).UnixMilli()}}
			frame, err := events.AppendFrame(nil, d)
			p.must(err)
			_, err = p.b.Lane(topology.At(1, p.one, events.ChannelTurn)).Append(p.Context(), 0, frame)
			p.must(err)
		}, "stuck", "its turn has been open for 1h0m", false},
		"a timer that nobody handles": {func(p *patient) {
			p.x.Tolerance.Overdue = 0
			_, err := p.js.Publish(p.Context(), topology.Due(1, p.one), nil)
			p.must(err)
		}, "stuck", "was not handled", false},
		"a checkpoint past the end": {func(p *patient) { p.must(p.b.Shard(0).SetCheckpoint(p.Context(), 1000)) }, "history", "checkpoint of shard 0", true},
		"HISTORY behind": {func(p *patient) {
			p.x.Tolerance.HistoryLag, p.x.Tolerance.Overdue = 0, time.Hour
			p.change(topology.StreamHistory, func(c *jetstream.StreamConfig) { c.Sources = nil })
			p.write(&events.UserMessage{Text: "hello"})
		}, "history", "HISTORY is behind CONV_0", true},
		"an MCP server that is down": {func(p *patient) { p.x.Servers = []*mcp.Server{{Name: "files", Command: []string{"false"}}} }, "mcp", `"files" does not list its tools`, false},
	}
}

// oneOf replaces the conversation's id in what a check reports.
const oneOf = "conversation "

func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, ill := range illnesses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy(t)
			ill.upset(p)
			found := slices.Collect(p.x.Run(t.Context()))
			if got := failed(found); ill.check == "" && len(got) > 0 || ill.check != "" && !strings.Contains(got[ill.check], ill.says) {
				t.Errorf("it says %v, want %q from %q", got, ill.says, ill.check)
			}
			p.x.Fix = true
			found = slices.Collect(p.x.Run(t.Context()))
			if got := failed(found)[ill.check]; ill.cured != (got == "" && ill.check != "") {
				t.Errorf("after --fix %q says %q", ill.check, got)
			}
			if ill.cured && !slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Fixed != "" }) {
				t.Errorf("%+v does not say what was done", found)
			}
		})
	}
}

// failed returns the checks that failed and their texts, without line breaks.
func failed(found []doctor.Finding) map[string]string {
	all := map[string]string{}
	for _, f := range found {
		if !f.OK {
			all[f.Check] = strings.ReplaceAll(f.Says, "\n", " ")
		}
	}
	return all
}

func TestDoctorNamesTheKeyThatIsRefused(t *testing.T) {
	t.Parallel()
	status := http.StatusUnauthorized
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	env := map[string]string{"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": s.URL + "/v1", "ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": s.URL, "OLLAMA_HOST": "127.0.0.1:9"}
	getenv := func(name string) string { return env[name] }
	c, err := catalog.Open(t.Context(), catalog.Options{Getenv: getenv})
	if err != nil {
		t.Fatal(err)
	}
	keys := failed(doctor.Models(t.Context(), c))["keys"]
	for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "401"} {
		if !strings.Contains(keys, name) {
			t.Errorf("%q does not name %s", keys, name)
		}
	}
	if strings.Contains(keys, "sk-x") {
		t.Errorf("%q has the key itself", keys)
	}
	status = http.StatusOK
	if got := failed(doctor.Models(t.Context(), c)); len(got) > 0 {
		t.Errorf("%v", got)
	}
	s.Close()
	if got := failed(doctor.Models(t.Context(), c)); !strings.Contains(got["keys"], "cannot be reached") {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	doctor.Models(ctx, c) // returns
}

// TestAFindingIsKnownBeforeTheNextCheck: checks of a server that does not answer take
// long, and what was found before them is printed meanwhile.
func TestAFindingIsKnownBeforeTheNextCheck(t *testing.T) {
	p := healthy(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var found []doctor.Finding
	for f := range p.x.Run(ctx) {
		cancel()
		found = append(found, f)
	}
	if len(found) < 2 || !found[0].OK || found[1].OK {
		t.Errorf("with a context that ends at the first result: %+v", found)
	}
}
