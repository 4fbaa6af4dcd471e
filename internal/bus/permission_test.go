package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

// governed is a server whose users are the roles, set up by the admin.
func governed(t *testing.T) (url string, as func(topology.Role) *bus.Bus) {
	t.Helper()
	opts := &server.Options{JetStream: true}
	for _, r := range []topology.Role{topology.Viewer, topology.App, topology.LLMWorker, topology.ToolWorker, topology.Orchestrator, topology.Admin} {
		publish, subscribe := topology.Permissions(r, topology.Plan{Shards: 2})
		opts.Users = append(opts.Users, &server.User{Username: string(r), Password: "p", Permissions: &server.Permissions{
			Publish: allow(publish), Subscribe: allow(subscribe)}})
	}
	url = foreign(t, opts)
	as = func(r topology.Role) *bus.Bus {
		t.Helper()
		cfg := bus.Config{URL: url, User: string(r), Password: "p", InboxPrefix: r.Inbox()}
		var setup *topology.Plan
		if r == topology.Admin {
			setup = &topology.Plan{Shards: 2}
		}
		b, err := bus.Connect(t.Context(), cfg, setup)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		t.Cleanup(b.Close)
		return b
	}
	as(topology.Admin)
	return url, as
}

func allow(subjects []string) *server.SubjectPermission {
	if len(subjects) == 0 {
		return &server.SubjectPermission{Deny: []string{">"}}
	}
	return &server.SubjectPermission{Allow: subjects}
}

// governedTurn is a turn whose parts are done by users with their role's permissions.
type governedTurn struct {
	*testing.T
	ctx                           context.Context
	as                            func(topology.Role) *bus.Bus
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
	url, as := governed(t)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	g := &governedTurn{T: t, ctx: ctx, as: as, conversation: id(), call: id(), large: strings.Repeat("a large text ", 100_000),
		app: as(topology.App), orchestrator: as(topology.Orchestrator), llm: as(topology.LLMWorker), tools: as(topology.ToolWorker),
		heard: make(chan events.Channel, 99)}
	watch, err := nats.Connect(url, nats.UserInfo(string(topology.Viewer), "p"), nats.CustomInboxPrefix(topology.Viewer.Inbox()))
	g.done(err)
	defer watch.Close()
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
		if _, err := live.NextMsg(5 * time.Second); err != nil {
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
	g.done(g.orchestrator.Presence().KeepTool(g.ctx, events.ToolSpec{Name: "old"}, time.Now()))
	g.done(g.orchestrator.Presence().KeepTool(g.ctx, events.ToolSpec{Name: "clock"}, time.Now()))
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
	eventually(g.T, func() bool {
		last, err := g.as(topology.Admin).Lane(result).Last(g.ctx)
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
	_, as := governed(t)
	app, orchestrator := as(topology.App), as(topology.Orchestrator)
	ctx := within(t, 30*time.Second)
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
	call := before(10 * time.Second)
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

func TestRolesCannotDoTheWorkOfOthers(t *testing.T) {
	t.Parallel()
	url, _ := governed(t)
	conversation, call := id(), id()
	conv := func(channel string) string { return "conv.0." + conversation + "." + channel }
	channels := map[string]string{
		"in": conv("in"), "turn": conv("turn"), "gen": conv("gen"), "call": conv("call." + call), "out": conv("out." + call),
		"live": "live.0." + conversation + ".gen", "history": "history.0." + conversation + ".turn",
		"llm job": "jobs.llm.scripted." + id(), "tool job": "jobs.tool.clock." + call, "timer": "timer.0." + conversation + ".t",
		"ack": "$JS.ACK.JOBS.llm_x.1.2.3.4.5", "dead letter": "dead.jobs.x",
		"create a stream": "$JS.API.STREAM.CREATE.MINE", "change a stream": "$JS.API.STREAM.UPDATE.CONV_0",
		"purge": "$JS.API.STREAM.PURGE.CONV_0", "delete a stream": "$JS.API.STREAM.DELETE.HISTORY", "delete a message": "$JS.API.STREAM.MSG.DELETE.CONV_0",
		"list streams": "$JS.API.STREAM.NAMES", "read": "$JS.API.CONSUMER.CREATE.CONV_1.x", "read one": "$JS.API.DIRECT.GET.CONV_0.x",
		"take jobs": "$JS.API.CONSUMER.MSG.NEXT.JOBS.llm_x", "read jobs": "$JS.API.CONSUMER.CREATE.JOBS.x", "lease": "$KV.PARLEY_LEASES.shard.0",
		"checkpoint": "$KV.PARLEY_CHECKPOINTS.shard.0", "be an llm": "$KV.PARLEY_PRESENCE.llm.x.y", "be a tool": "$KV.PARLEY_PRESENCE.tool.x.y",
		"know a tool": "$KV.PARLEY_TOOLS.x", "read known tools": "$JS.API.DIRECT.GET.KV_PARLEY_TOOLS.x",
		"call a hook": "hooks.before.x", "fire": "due.0." + conversation, "see what waits": "$JS.API.STREAM.INFO.TIMERS",
		"follow timers": "$JS.API.CONSUMER.CREATE.TIMERS.x.due.0.*", "read timers": "$JS.API.CONSUMER.CREATE.TIMERS.x.timer.>",
		"take timers": "$JS.API.CONSUMER.MSG.NEXT.TIMERS.x", "stop a timer": "$JS.API.STREAM.PURGE.TIMERS", "delete a timer": "$JS.API.STREAM.MSG.DELETE.TIMERS",
		"answer a hook": "_INBOX_orchestrator.x", "object": "$O.PARLEY_OBJECTS.C.x", "system": "$SYS.REQ.SERVER.PING", "others' answers": "_INBOX_app.x",
	}
	reads := []string{"read", "read one", "object"}
	for role, may := range map[topology.Role][]string{
		topology.Viewer:     nil,
		topology.App:        append([]string{"in", "call", "see what waits", "answer a hook"}, reads...),
		topology.LLMWorker:  append([]string{"gen", "ack", "dead letter", "take jobs", "be an llm"}, reads...),
		topology.ToolWorker: append([]string{"call", "out", "ack", "dead letter", "take jobs", "be a tool"}, reads...),
		topology.Orchestrator: append([]string{"turn", "llm job", "tool job", "timer", "dead letter", "read jobs", "lease", "checkpoint", "know a tool", "read known tools",
			"call a hook", "see what waits", "follow timers", "take timers", "stop a timer", "purge"}, reads...),
	} {
		t.Run(string(role)+" publishes what is its own only", func(t *testing.T) {
			violations := make(chan error, 1)
			nc, err := nats.Connect(url, nats.UserInfo(string(role), "p"), nats.CustomInboxPrefix(role.Inbox()),
				nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			for what, subject := range channels {
				if err := nc.Publish(subject, []byte(`{"type":"Forged"}`)); err != nil {
					t.Fatal(err)
				}
				if err := nc.Flush(); err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(may, what) {
					if err := take(t, violations); !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), subject) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			foreign := []string{">", "conv.>", "history.>", "jobs.>", "_INBOX.>", "_INBOX_admin.>", "$JS.>", "$KV.>", "$SYS.>"}
			if role != topology.Viewer && role != topology.App {
				foreign = append(foreign, "live.>", "live.*.*.gen", "hooks.>")
			}
			for _, subject := range foreign {
				if _, err := nc.Subscribe(subject, func(*nats.Msg) {}); err != nil {
					t.Fatal(err)
				}
				if err := take(t, violations); !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "Subscription") {
					t.Errorf("subscribe to %s: %v", subject, err)
				}
			}
			if len(violations) > 0 {
				t.Errorf("something allowed was denied: %v", <-violations)
			}
		})
	}
}

func TestDeniedRolesGetTheReason(t *testing.T) {
	t.Parallel()
	url, as := governed(t)
	conversation := id()
	t.Run("a denied append fails with the reason", func(t *testing.T) {
		t.Parallel()
		b := as(topology.ToolWorker)
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
		b := as(topology.App)
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
		if err := as(topology.ToolWorker).Hooks().Serve(within(t, 20*time.Second), events.HookBefore, "tone", nil); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("answer: %v", err)
		}
	})
	t.Run("a viewer that connects as if it had JetStream gets the reason", func(t *testing.T) {
		t.Parallel()
		ctx := within(t, 20*time.Second)
		b, err := bus.Connect(ctx, bus.Config{URL: url, User: string(topology.Viewer), Password: "p", InboxPrefix: topology.Viewer.Inbox()}, nil)
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, nats.ErrPermissionViolation) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
	})
}
