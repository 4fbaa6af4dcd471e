package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

type hookFunc = func(context.Context, *events.HookCall) (*events.HookAnswered, error)

// answering answers the hook "tone" before turns until the test or stop ends
// it.
func answering(t *testing.T, b *bus.Bus, fn hookFunc) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Hooks().Serve(ctx, events.HookBefore, "tone", fn) }()
	nc, _ := b.Raw()
	eventually(t, func() bool { // what is no HookCall is answered without fn
		_, err := nc.Request("hooks.before.tone", []byte(`{"type":"Probe"}`), time.Second)
		return err == nil
	}, "nobody answers")
	return func() error { cancel(); return take(t, ended) }
}

// anotherClock is a time by a clock that is years behind: no code may compare it
// with its own.
const anotherClock = 1_000_000_000_000

func before(wait time.Duration) *events.HookCall {
	return &events.HookCall{Hook: "tone", When: events.HookBefore, Conversation: id(), Turn: id(),
		Message: &events.Message{Role: events.RoleUser}, TimeoutMS: wait.Milliseconds(), DeadlineMS: anotherClock}
}

// plain answers a hook as a program without this package does.
func plain(t *testing.T, nc *nats.Conn, subject, answer string) (asked <-chan string) {
	t.Helper()
	requests := make(chan string, 100)
	subscribe(t, nc, subject, func(m *nats.Msg) {
		requests <- string(m.Data)
		_ = m.Respond([]byte(answer)) // the caller finds out
	})
	return requests
}

func TestHooksAreAnsweredInPlainJSON(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	nc, _ := b.Raw()
	call := before(10 * time.Second)
	for name, c := range map[string]struct {
		answer string
		want   events.HookAnswered
		wrong  string // part of the error
	}{
		"with the whole answer":          {`{"type":"HookAnswered","turn":"` + call.Turn + `","when":"before","hook":"tone","context":"be kind"}`, events.HookAnswered{Context: "be kind"}, ""},
		"with its own field only":        {`{"type":"HookAnswered","refuse":"closed"}`, events.HookAnswered{Refuse: "closed"}, ""},
		"without a type":                 {`{"context":"be kind"}`, events.HookAnswered{Context: "be kind"}, ""},
		"with nothing to add":            {`{}`, events.HookAnswered{}, ""},
		"with an error of the app's":     {`{"error":"no database"}` + "\n", events.HookAnswered{Error: "no database"}, ""},
		"with fields of a later version": {`{"type":"HookAnswered","context":"a","more":1}`, events.HookAnswered{Context: "a"}, ""},
		"with a slip":                    {`{"contxt":"be kind"}`, events.HookAnswered{}, "contxt"},
		"with nothing at all":            {``, events.HookAnswered{}, "empty"},
		"with a text":                    {`be kind`, events.HookAnswered{}, "JSON"},
		"with a list":                    {`[]`, events.HookAnswered{}, "JSON"},
		"with null":                      {`null`, events.HookAnswered{}, "type"},
		"with a type that is none":       {`{"type":null}`, events.HookAnswered{}, "type"},
		"with another event":             {`{"type":"Verdict","id":"x"}`, events.HookAnswered{}, "Verdict"},
		"with an unknown type":           {`{"type":"Great"}`, events.HookAnswered{}, "Great"},
		"with two events":                {"{\"type\":\"HookAnswered\"}\n{\"type\":\"HookAnswered\"}", events.HookAnswered{}, "2 events"},
		"with a number for a text":       {`{"type":"HookAnswered","context":1}`, events.HookAnswered{}, "context"},
		"for another turn":               {`{"type":"HookAnswered","turn":"other"}`, events.HookAnswered{}, `turn is "other"`},
		"for another time":               {`{"when":"after"}`, events.HookAnswered{}, `when is "after"`},
		"for another hook":               {`{"hook":"x"}`, events.HookAnswered{}, `hook is "x"`},
		"with what is not UTF-8":         {"{\"type\":\"HookAnswered\",\"context\":\"\xff\"}", events.HookAnswered{}, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := plain(t, nc, "hooks.before.tone", c.answer)
			defer func() {
				var request map[string]any
				if err := json.Unmarshal([]byte(take(t, asked)), &request); err != nil || request["type"] != "HookCall" || request["turn"] != call.Turn {
					t.Errorf("asked %v, %v", request, err)
				}
			}()
			got, err := b.Hooks().Call(t.Context(), call)
			if c.wrong != "" {
				if err == nil || errors.Is(err, bus.ErrNoAnswer) || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "hooks.before.tone") {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			c.want.Turn, c.want.When, c.want.Hook = call.Turn, call.When, call.Hook
			if err != nil || *got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
		for sub := true; sub; { // the previous subscription is gone for the server too
			_, err := nc.Request("hooks.before.tone", nil, time.Second)
			sub = !errors.Is(err, nats.ErrNoResponders)
		}
	}
}

func TestHooksThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	nc, _ := b.Raw()
	silent, err := nc.SubscribeSync("hooks.after.silent")
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancelCause(t.Context())
	why := errors.New("the shard is another's")
	stop(why)
	tone, quiet := events.HookCall{Hook: "tone", When: events.HookBefore}, events.HookCall{Hook: "silent", When: events.HookAfter}
	for name, c := range map[string]struct {
		ctx  context.Context
		call events.HookCall
		wait time.Duration
		is   error
		says string
	}{
		"nobody subscribes":       {t.Context(), tone, 300 * time.Millisecond, bus.ErrNoAnswer, "nobody subscribes"},
		"a subscriber is silent":  {t.Context(), quiet, 300 * time.Millisecond, bus.ErrNoAnswer, "did not answer"},
		"the deadline has passed": {t.Context(), quiet, -time.Hour, bus.ErrNoAnswer, "had passed"},
		"the asker is stopped":    {stopped, tone, time.Hour, why, "hooks.before.tone"},
		"a name is none":          {t.Context(), events.HookCall{Hook: "a.b", When: events.HookBefore}, time.Hour, topology.ErrBadID, "a.b"},
		"a time is none":          {t.Context(), events.HookCall{Hook: "a", When: "during"}, time.Hour, topology.ErrBadID, "during"},
	} {
		t.Run(name, func(t *testing.T) {
			c.call.TimeoutMS, c.call.DeadlineMS = c.wait.Milliseconds(), anotherClock
			a, err := b.Hooks().Call(c.ctx, &c.call)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || a != nil {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	t.Run("the asker has less time", func(t *testing.T) {
		tone.TimeoutMS = time.Hour.Milliseconds()
		if _, err := b.Hooks().Call(within(t, 300*time.Millisecond), &tone); !errors.Is(err, bus.ErrNoAnswer) || !strings.Contains(err.Error(), "nobody subscribes") {
			t.Error(err)
		}
	})
	if n, _, err := silent.Pending(); n != 1 || err != nil {
		t.Errorf("the silent app got %d requests, %v", n, err)
	}
	if err := b.Hooks().Serve(t.Context(), "during", "tone", nil); !errors.Is(err, topology.ErrBadID) {
		t.Error(err)
	}
}

func TestHooksAreCalledUntilTheAppIsBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, app := join(t, s.URL()), join(t, s.URL())
	type result struct {
		answer *events.HookAnswered
		err    error
	}
	call := func() <-chan result {
		done := make(chan result, 1)
		go func() {
			a, err := b.Hooks().Call(t.Context(), before(9*time.Second))
			done <- result{a, err}
		}()
		return done
	}
	t.Run("when it starts late", func(t *testing.T) {
		done := call()
		nc, _ := b.Raw()
		sent := nc.Stats().OutMsgs
		eventually(t, func() bool { return nc.Stats().OutMsgs > sent+2 }, "it does not repeat the request")
		asked, _ := app.Raw()
		plain(t, asked, "hooks.before.tone", `{"context":"here I am"}`)
		if r := take(t, done); r.err != nil || r.answer.Context != "here I am" {
			t.Errorf("%+v, %v", r.answer, r.err)
		}
	})
	t.Run("when the connection is lost in the middle", func(t *testing.T) {
		p := through(t, s.URL())
		cut := join(t, p.url())
		nc, _ := app.Raw()
		requests := make(chan *nats.Msg, 10)
		sub, err := nc.ChanSubscribe("hooks.after.slow", requests)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		done := make(chan result, 1)
		go func() {
			a, err := cut.Hooks().Call(t.Context(), &events.HookCall{Hook: "slow", When: events.HookAfter, Turn: "t", TimeoutMS: time.Minute.Milliseconds()})
			done <- result{a, err}
		}()
		take(t, requests)
		p.cut()
		again := take(t, requests)
		if err := again.Respond([]byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		if r := take(t, done); r.err != nil || r.answer.Turn != "t" {
			t.Errorf("%+v, %v", r.answer, r.err)
		}
	})
}

func TestHooksAreAnswered(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := join(t, s.URL())
	large := strings.Repeat("a large text ", 100_000)
	var fn atomic.Value
	fn.Store(hookFunc(nil))
	serve := func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
		return fn.Load().(hookFunc)(ctx, call)
	}
	for range 3 {
		stop := answering(t, join(t, s.URL()), serve)
		defer func() {
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("answering ended with %v", err)
			}
		}()
	}
	var times atomic.Int32
	for name, c := range map[string]struct {
		fn   hookFunc
		want events.HookAnswered
	}{
		"with fn's answer": {func(_ context.Context, call *events.HookCall) (*events.HookAnswered, error) {
			return &events.HookAnswered{Context: call.Conversation, Turn: "of no account"}, nil
		}, events.HookAnswered{Context: "m"}},
		"with nothing when fn has nothing": {func(context.Context, *events.HookCall) (*events.HookAnswered, error) { return nil, nil }, events.HookAnswered{}},
		"with fn's error in one line": {func(context.Context, *events.HookCall) (*events.HookAnswered, error) {
			return nil, errors.New("no\ndatabase")
		}, events.HookAnswered{Error: "no database"}},
		"by reference when it is large": {func(_ context.Context, call *events.HookCall) (*events.HookAnswered, error) {
			return &events.HookAnswered{Context: large + call.Answer}, nil
		}, events.HookAnswered{Context: large + large}},
		"with a context that ends with the timeout, whatever the clocks show": {func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > time.Duration(call.TimeoutMS)*time.Millisecond || time.Until(end) < time.Second {
				return nil, errors.New("another deadline")
			}
			return nil, nil
		}, events.HookAnswered{}},
	} {
		t.Run(name, func(t *testing.T) {
			times.Store(0)
			fn.Store(hookFunc(func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
				times.Add(1)
				return c.fn(ctx, call)
			}))
			call := before(9 * time.Second)
			if call.Conversation = "m"; len(c.want.Context) > len(large) {
				call.Answer = large
			}
			got, err := b.Hooks().Call(t.Context(), call)
			c.want.Turn, c.want.When, c.want.Hook = call.Turn, call.When, call.Hook
			if err != nil || *got != c.want || times.Load() != 1 {
				t.Errorf("%.200v, %v; fn ran %d times", got, err, times.Load())
			}
		})
	}
	t.Run("with an error when the request is none", func(t *testing.T) {
		nc, _ := b.Raw()
		for _, request := range []string{"", "hello", `{"type":"HookAnswered"}`, `{"type":"HookCall","deadline_ms":"x"}`} {
			m, err := nc.Request("hooks.before.tone", []byte(request), 5*time.Second)
			if err != nil || !strings.HasPrefix(string(m.Data), `{"type":"HookAnswered"`) || !strings.Contains(string(m.Data), `"error":"`) {
				t.Errorf("%q: %+v, %v", request, m, err)
			}
		}
	})
}

func TestAnAppThatIsStoppedAnswersWhatItHas(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, app := join(t, s.URL()), join(t, s.URL())
	working, finish := make(chan struct{}, 100), make(chan struct{})
	stop := answering(t, app, func(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
		working <- struct{}{}
		select {
		case <-finish:
			return &events.HookAnswered{Context: call.Turn}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	const n = 80 // more than are answered at once
	answers := make(chan error, n)
	nc, _ := app.Raw()
	had := nc.Stats().InMsgs
	for range n {
		call := before(9 * time.Second)
		go func() {
			a, err := b.Hooks().Call(t.Context(), call)
			if err == nil && (a.Context != call.Turn || a.Error != "") {
				err = errors.New(a.Context + a.Error)
			}
			answers <- err
		}()
	}
	for range 64 {
		take(t, working)
	}
	eventually(t, func() bool { return nc.Stats().InMsgs >= had+n }, "the requests do not come")
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	close(finish)
	for range n {
		if err := take(t, answers); err != nil {
			t.Error(err)
		}
	}
	if err := take(t, ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The server learns a moment later that the subscription has ended.
	eventually(t, func() bool {
		_, err := b.Hooks().Call(t.Context(), before(200*time.Millisecond))
		return errors.Is(err, bus.ErrNoAnswer) && strings.Contains(err.Error(), "nobody subscribes")
	}, "it still answers")
}
