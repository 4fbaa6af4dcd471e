package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// governedTurn is a turn, done by users who may do their part only.
type governedTurn struct {
	*testing.T
	ctx                           context.Context
	as                            func(string) *bus.Bus
	app, orchestrator, llm, tools *bus.Bus
	conversation, call, large     string
	heard                         chan events.Channel // by the llm-worker
	said, decision                uint64
	llmQueue, toolQueue           topology.Queue
}

func (g *governedTurn) done(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func TestRolesCanDoTheirWork(t *testing.T) {
	t.Parallel()
	rolesWork(t, newGoverned(t), id())
}

// rolesWork does a turn of a conversation, each part as the user of its role.
func rolesWork(t *testing.T, server *governed, conversation string) {
	t.Helper()
	as := server.as
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	g := &governedTurn{T: t, ctx: ctx, as: as, conversation: conversation, call: id(), large: strings.Repeat("a large text ", 100_000),
		app: as("app"), orchestrator: as("orchestrator"), llm: as("llm-worker"), tools: as("tool-worker"),
		heard: make(chan events.Channel, 99)}
	watch, _ := server.Connect(t, "viewer")
	live, err := watch.SubscribeSync(topology.Everything(topology.Live, 2, g.conversation))
	g.done(err)
	g.done(watch.Flush())
	unlisten, err := g.llm.Conversation(g.conversation).Listen(func(m bus.Message) { g.heard <- m.Channel })
	g.done(err)
	defer unlisten()
	listening, _ := g.llm.Raw()
	g.done(listening.Flush()) // two connections: the server must know first
	g.announce()
	g.send()
	lease, err := g.orchestrator.Shard(0).TakeLease(ctx, "o")
	g.done(err)
	keeping, release := context.WithCancel(ctx)
	kept := make(chan error, 1)
	go func() { kept <- lease.Keep(keeping) }()
	g.decide()
	if owners, err := g.app.Deployment().Owners(ctx); err != nil || owners[0] != "o" {
		t.Errorf("owners: %v, %v", owners, err)
	}
	g.work()
	release()
	if err := take(t, kept); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.read()
	for n := range 5 {
		if _, err := live.NextMsg(time.Minute); err != nil {
			t.Fatalf("the viewer saw %d messages: %v", n, err)
		}
	}
}

// announce: workers announce what they offer; the orchestrator and the app see it.
func (g *governedTurn) announce() {
	g.done(g.llm.Presence().Announce(g.ctx, []bus.Offer{{Kind: "llm", Name: "scripted", Worker: "w", Model: "scripted/m"}}))
	g.done(g.tools.Presence().Announce(g.ctx, []bus.Offer{{Kind: "tool", Name: "clock", Worker: "w", Tool: &events.ToolSpec{Name: "clock"}}}))
	for _, b := range []*bus.Bus{g.app, g.orchestrator} {
		if offers, err := b.Presence().Offers(g.ctx); err != nil || len(offers) != 2 {
			g.Errorf("%d offers, %v", len(offers), err)
		}
		g.done(roster(g.ctx, b, 1))
	}
}

// send: a person sends a message, by reference because it is long.
func (g *governedTurn) send() {
	input := id()
	said, err := g.app.Conversation(g.conversation).Publish(g.ctx, input, &events.UserMessage{ID: input, Text: g.large})
	g.done(err)
	g.said = said
	if got := take(g.T, g.heard); got != events.ChannelIn {
		g.Errorf("the worker hears %s", got)
	}
}

// decide: the orchestrator follows, decides, and publishes both jobs.
func (g *governedTurn) decide() {
	g.done(g.orchestrator.Shard(0).SetCheckpoint(g.ctx, 1))
	if _, err := g.orchestrator.Shard(0).Checkpoint(g.ctx); err != nil {
		g.Error(err)
	}
	for _, name := range []string{"old", "clock"} {
		_, err := g.orchestrator.Presence().KeepTool(g.ctx, offer.Known{Tool: events.ToolSpec{Name: name}}, 0)
		g.done(err)
	}
	g.done(g.orchestrator.Presence().DropTool(g.ctx, "old"))
	if known, err := g.orchestrator.Presence().KnownTools(g.ctx); err != nil || len(known) != 1 || known["clock"].Tool.Name != "clock" {
		g.Errorf("known tools: %+v, %v", known, err)
	}
	following, enough := context.WithCancel(g.ctx)
	err := g.orchestrator.Shard(topology.ShardOf(g.conversation, 2)).Follow(following, 0, func(m bus.Message) error {
		g.done(g.orchestrator.Objects().Fetch(following, &m))
		if m.Bad == nil && m.Sequence == g.said && m.Lines[0].Event.(*events.UserMessage).Text == g.large {
			enough()
		}
		return m.Bad
	}, func() error { return nil })
	enough()
	if !errors.Is(err, context.Canceled) {
		g.Fatal(err)
	}
	g.decision = decide(g.T, g.orchestrator, g.conversation, 0, "o")
	generation := id()
	subjectOf := func(s string, err error) string { g.done(err); return s }
	g.llmQueue, err = topology.LLMQueue("scripted/m")
	g.done(err)
	g.toolQueue, err = topology.ToolQueue("clock")
	g.done(err)
	g.done(g.orchestrator.Jobs().EnsureQueue(g.ctx, g.llmQueue)) // the other one its worker makes
	g.done(g.orchestrator.Jobs().Publish(g.ctx, g.conversation, subjectOf(topology.GenerationJob("scripted/m", generation)), generation, &events.GenerationJob{Generation: generation, System: g.large}))
	g.done(g.orchestrator.Jobs().Publish(g.ctx, g.conversation, subjectOf(topology.ToolJob("clock", g.call)), g.call, &events.ToolJob{Call: g.call}))
}

// work: the workers work, one on the gen lane, one on the call's.
func (g *governedTurn) work() {
	worked := make(chan error, 9)
	run := func(b *bus.Bus, q topology.Queue, handle jobs.Handler) (wait func()) {
		ctx, stop := context.WithCancel(g.ctx)
		ended := make(chan error, 1)
		w := jobs.WorkerPool{Bus: b, Queues: map[topology.Queue]jobs.Work{q: {Handle: func(ctx context.Context, j jobs.Job) error {
			err := handle(ctx, j)
			worked <- err
			return err
		}}}}
		go func() { ended <- w.Run(ctx) }()
		return func() { stop(); g.done(take(g.T, ended)) }
	}
	result := topology.OfCall(2, g.conversation, events.ChannelCall, g.call)
	stopLLM := run(g.llm, g.llmQueue, func(ctx context.Context, j jobs.Job) error {
		if j.Event.(*events.GenerationJob).System != g.large {
			return errors.New("the job is not what was published")
		}
		return g.write(ctx, g.llm, topology.At(2, g.conversation, events.ChannelGen), chunk("a", 0))
	})
	stopTools := run(g.tools, g.toolQueue, func(ctx context.Context, _ jobs.Job) error {
		g.done(g.tools.Lane(topology.OfCall(2, g.conversation, events.ChannelOut, g.call)).Show(&events.ToolOutput{Call: g.call, Text: "…"}))
		err := g.write(ctx, g.tools, result, &events.ToolResult{Call: g.call, Content: g.large})
		return errors.Join(err, jobs.Reject(errors.New("to see that it can")))
	})
	for range 2 {
		if err := take(g.T, worked); err != nil && !strings.Contains(err.Error(), "see that it can") {
			g.Fatal(err)
		}
	}
	admin := g.as("admin")
	eventually(g.T, func() bool {
		last, err := admin.Lane(result).Last(g.ctx)
		return err == nil && last.Sequence > 0
	}, "no result")
	stopLLM()
	stopTools()
}

func (g *governedTurn) write(ctx context.Context, b *bus.Bus, a topology.Address, e events.Event) error {
	if _, err := b.Lane(topology.At(2, g.conversation, events.ChannelTurn)).Last(ctx); err != nil {
		return err
	}
	lane := b.Lane(a).Open(ctx, 0)
	err := lane.Append(e)
	_, closing := lane.Close()
	return errors.Join(err, closing)
}

// read: every reader sees all of it.
func (g *governedTurn) read() {
	for _, b := range []*bus.Bus{g.app, g.orchestrator} {
		n := 0
		g.done(b.Conversation(g.conversation).Facts(g.ctx, 0, func(m bus.Message) error { n++; return m.Bad }))
		if d, seq, err := b.Conversation(g.conversation).LastDecision(g.ctx, 0); n != 3 || err != nil || d == nil || seq != g.decision {
			g.Errorf("%d facts, decision at %d, %v", n, seq, err)
		}
	}
	if got, err := follow(g.ctx, g.app, g.conversation, bus.From{}, 5); err != nil || len(got) != 5 {
		g.Errorf("the app sees %d events, %v", len(got), err)
	}
}

// TestRolesCanWait: the orchestrator sets timers and calls hooks, the app sees what
// waits and answers.
func TestRolesCanWait(t *testing.T) {
	t.Parallel()
	as := newGoverned(t).as
	app, orchestrator := as("app"), as("orchestrator")
	ctx := within(t, 5*time.Minute)
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	conversation, other := id(), id()
	done(orchestrator.Timers().Set(ctx, other, time.Now().Add(time.Hour)))
	done(orchestrator.Timers().Set(ctx, conversation, time.Now()))
	if ids, err := app.Timers().List(ctx); err != nil || len(ids) != 2 {
		t.Errorf("%v wait, %v", ids, err)
	}
	done(orchestrator.Timers().Stop(ctx, other))
	enough := errors.New("enough")
	if err := orchestrator.Shard(topology.ShardOf(conversation, 2)).FollowDue(ctx, func(d bus.Due) error {
		return errors.Join(orchestrator.Timers().DropDue(ctx, d), enough)
	}); !errors.Is(err, enough) {
		t.Errorf("following the timers: %v", err)
	}
	if ids, err := app.Timers().List(ctx); err != nil || len(ids) != 0 {
		t.Errorf("%v wait, %v", ids, err)
	}
	answering, stop := context.WithCancel(ctx)
	answered := make(chan error, 1)
	go func() {
		answered <- app.Hooks().Serve(answering, events.HookBefore, "tone", func(_ context.Context, call *events.HookCall) (*events.HookAnswered, error) {
			return &events.HookAnswered{Context: strings.Repeat(call.Answer, 2)}, nil
		})
	}()
	call := before(2 * time.Minute)
	call.Answer = strings.Repeat("a large text ", 100_000) // by reference
	if a, err := orchestrator.Hooks().Call(ctx, call); err != nil || len(a.Context) != 2*len(call.Answer) {
		t.Errorf("the hook answers %.100v, %v", a, err)
	}
	stop()
	if err := take(t, answered); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	decided := followDecisions(t, app, nothing)
	take(t, decided.resync)
	decide(t, orchestrator, conversation, 0, "o")
	if m := take(t, decided.got); m.Conversation != conversation {
		t.Errorf("%+v", m)
	}
}

func TestDeniedRolesAreTold(t *testing.T) {
	t.Parallel()
	g := newGoverned(t)
	as := g.as
	conversation := id()
	t.Run("a denied append fails with the reason", func(t *testing.T) {
		t.Parallel()
		b := as("tool-worker")
		input := id()
		if _, err := b.Conversation(conversation).Publish(within(t, 20*time.Second), input, &events.Verdict{ID: input}); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish: %v", err)
		}
		if _, err := b.Lane(topology.At(2, conversation, events.ChannelTurn)).Append(within(t, 20*time.Second), 0, []byte(`{"type":"Decision"}`)); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("append: %v", err)
		}
	})
	t.Run("so does a timer, and a hook's call", func(t *testing.T) {
		t.Parallel()
		b := as("app")
		if err := b.Timers().Set(within(t, 20*time.Second), conversation, time.Now()); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("set: %v", err)
		}
		if err := b.Timers().Stop(within(t, 20*time.Second), conversation); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("stop: %v", err)
		}
		if _, err := b.Conversation(conversation).Purge(within(t, 20*time.Second), 1); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("purge: %v", err)
		}
		if _, err := b.Hooks().Call(t.Context(), before(20*time.Second)); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("call: %v", err)
		}
		if err := as("tool-worker").Hooks().Serve(within(t, 20*time.Second), events.HookBefore, "tone", nil); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("answer: %v", err)
		}
	})
	t.Run("a viewer that connects as if it had JetStream gets the reason", func(t *testing.T) {
		t.Parallel()
		ctx := within(t, 20*time.Second)
		b, err := bus.Connect(ctx, g.config("viewer"), nil)
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, nats.ErrPermissionViolation) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
	})
}
