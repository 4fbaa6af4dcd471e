package orchestrator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// pooled is a scene whose conversation asks the pool fast.
func pooled(t *testing.T, members ...policy.Member) *scene {
	s := newScene(t)
	s.env.Route, s.env.Pools = "fast", policy.Pools{"fast": members}
	return s
}

func three() []policy.Member { return []policy.Member{{Model: "a/1"}, {Model: "b/2"}, {Model: "c/3"}} }

// refuses ends the open generation with a failure and decides. The next decision is made
// by another process.
func (s *scene) refuses(failure *events.Error, window int64) []events.Event {
	s.t.Helper()
	all := s.begin("")
	end := &events.GenerationEnded{Generation: s.state.Generation, Finish: events.FinishError, Error: failure, Window: window, Requests: s.requests}
	end.Stamp(all[0].(*events.GenerationStarted).Attempt, 1)
	s.now = s.now.Add(time.Second)
	s.write(events.ChannelGen, "", append(all, end)...)
	s.restart() // the owner died between the failure and the next request
	es := s.decide()
	s.restart()
	return es
}

func (s *scene) madeRequests() []*events.GenerationRequested {
	return only[*events.GenerationRequested](s.everything())
}

// asked lists the models that were asked, in order, with the waits before them.
func (s *scene) asked() string {
	var all []string
	for _, r := range s.madeRequests() {
		model := r.Route
		if r.NotBefore > 0 {
			model = "wait " + model
		}
		all = append(all, model)
	}
	return strings.Join(all, ", ")
}

// TestAFailureGoesToTheNextModelOfThePool: each class of failures, when every model of a
// pool of three fails in the same way. All requests count in the one budget of the step.
func TestAFailureGoesToTheNextModelOfThePool(t *testing.T) {
	const all, once = "a/1, b/2, c/3", "a/1"
	for class, want := range map[events.ErrorClass]string{
		events.ErrRateLimited: all + ", wait a/1",
		events.ErrOverloaded:  all + ", a/1", events.ErrNetwork: all + ", a/1", // its wait has passed while the others were asked
		events.ErrAuth: all, events.ErrInvalidRequest: all, events.ErrUnsupported: all, events.ErrInternal: all, events.ErrContextLength: all,
		events.ErrCut: all, events.ErrIdle: "a/1, b/2",
		events.ErrContentFilter: once, events.ErrCeiling: once, events.ErrCancelled: once, events.ErrEmpty: once,
	} {
		t.Run(string(class), func(t *testing.T) {
			s := pooled(t, three()...)
			s.say("hello")
			for s.state.Turn != "" {
				s.refuses(&events.Error{Class: class, Message: "no"}, 0)
				if next := s.madeRequests(); next[len(next)-1].NotBefore > 0 {
					s.now = time.UnixMilli(next[len(next)-1].NotBefore)
				}
			}
			if got := s.asked(); got != want {
				t.Errorf("asked %s; want %s", got, want)
			}
			requests := s.madeRequests()
			for i, r := range requests {
				if r.Pool != "fast" || r.Try != i+1 || r.Reason == "" {
					t.Errorf("request %d is %+v", i, r)
				}
				if i > 0 && (r.Failed == nil || r.Failed.Route != requests[i-1].Route || r.Failed.Class != class || !strings.Contains(r.Reason, string(class)+" by "+r.Failed.Route)) {
					t.Errorf("request %d does not say why: %+v", i, r)
				}
			}
			end := only[*events.TurnEnded](s.everything())[0]
			if end.Error == nil || end.Reason != string(class) || len(requests) > 2 && !strings.Contains(end.Error.Message, "b/2 ("+string(class)+")") {
				t.Errorf("the turn ended as %+v", end)
			}
			if s.state.Failed != nil {
				t.Errorf("the next turn begins with failures: %+v", s.state.Failed)
			}
		})
	}
}

// TestRefusedRequestsDoNotShortenTheFallback: of a pool too they count in the budget of
// the step, not in that of a class or in the time until a model is asked again.
func TestRefusedRequestsDoNotShortenTheFallback(t *testing.T) {
	for _, c := range []struct {
		class    events.ErrorClass
		requests []int // of each attempt, those that were refused included
		want     string
	}{
		{events.ErrIdle, []int{2, 1}, "a/1, b/2"},
		{events.ErrIdle, []int{3, 1}, "a/1, b/2"},
		{events.ErrCut, []int{2, 1, 1}, "a/1, b/2, c/3"},
		{events.ErrCut, []int{1, 2, 1}, "a/1, b/2, c/3"},
		{events.ErrCut, []int{3, 1}, "a/1, b/2"},
		{events.ErrCut, []int{4}, "a/1"},
		{events.ErrAuth, []int{2, 2}, "a/1, b/2"},
		{events.ErrAuth, []int{2, 1, 1}, "a/1, b/2, c/3"},
	} {
		s := pooled(t, three()...)
		s.say("hello")
		for _, s.requests = range c.requests {
			if s.state.Turn == "" {
				break
			}
			s.refuses(&events.Error{Class: c.class, Message: "no"}, 0)
		}
		if got := s.asked(); got != c.want || s.state.Turn != "" {
			t.Errorf("%s after %v requests: asked %s; want %s", c.class, c.requests, got, c.want)
		}
	}
	s := pooled(t, three()[:2]...)
	s.say("hello")
	s.requests = 2
	s.refuses(&events.Error{Class: events.ErrRateLimited, Message: "no"}, 0)
	if f := s.madeRequests()[1].Failed; f == nil {
		t.Errorf("no failure is told")
	} else if wait := time.UnixMilli(f.UntilMS).Sub(s.now); wait < 5*time.Second || wait > 7*time.Second {
		t.Errorf("the step leaves the first model alone for %v; want the wait after one failure, 5s", wait)
	}
}

// TestAPoolWaitsForTheModelThatMayBeAskedFirst: when all have failed, what the providers
// asked for decides, and a key that was refused stays refused.
func TestAPoolWaitsForTheModelThatMayBeAskedFirst(t *testing.T) {
	s := pooled(t, three()...)
	s.say("hello")
	s.refuses(&events.Error{Class: events.ErrRateLimited, RetryAfterMS: 60_000}, 0)
	s.refuses(&events.Error{Class: events.ErrOverloaded, RetryAfterMS: 8_000}, 0)
	s.refuses(&events.Error{Class: events.ErrAuth, Message: "no key"}, 0)
	if got := s.asked(); got != "a/1, b/2, c/3, wait b/2" {
		t.Fatalf("asked %s", got)
	}
	wait := time.UnixMilli(s.madeRequests()[3].NotBefore).Sub(s.now)
	if wait < 6*time.Second || wait > 10*time.Second {
		t.Errorf("it waits %v; b/2 asked for 8s a second ago", wait)
	}
	s.model("hi")
	if e := only[*events.TurnEnded](s.everything())[0]; e.Outcome != events.OutcomeCompleted {
		t.Errorf("the turn ended as %+v", e)
	}

	t.Run("but not past the turn's time limit", func(t *testing.T) {
		s := pooled(t, three()[:2]...)
		s.say("hello")
		s.refuses(&events.Error{Class: events.ErrRateLimited, RetryAfterMS: 7_200_000}, 0)
		s.refuses(&events.Error{Class: events.ErrRateLimited, RetryAfterMS: 7_200_000}, 0)
		end := only[*events.TurnEnded](s.everything())
		if len(end) != 1 || !strings.Contains(end[0].Error.Message, "2h0m0s") || !strings.Contains(end[0].Error.Message, "a/1 (rate_limited)") {
			t.Errorf("%+v", end)
		}
	})
}

// TestAPoolKeepsTheModelThatAnswers: within a turn always, and in later turns a model
// with a weight, for the provider's cache; a model without one gives way again.
func TestAPoolKeepsTheModelThatAnswers(t *testing.T) {
	overloaded := &events.Error{Class: events.ErrOverloaded, Message: "busy"}
	turn := func(s *scene, failures int) {
		s.say("hello")
		for range failures {
			s.refuses(overloaded, 0)
		}
		call := s.part("f", `{"x":1}`)
		s.model("", call)
		s.restart()
		s.result(call.Call, events.StatusOK, "done")
		s.model("done")
		s.restart()
	}
	t.Run("in order", func(t *testing.T) {
		s := pooled(t, three()...)
		turn(s, 1)
		turn(s, 0)
		if got, want := s.asked(), "a/1, b/2, b/2, a/1, a/1"; got != want {
			t.Errorf("asked %s; want %s", got, want)
		}
	})
	t.Run("by weight", func(t *testing.T) {
		s := pooled(t, policy.Member{Model: "a/1", Weight: 1}, policy.Member{Model: "b/2", Weight: 1})
		turn(s, 1)
		turn(s, 0)
		routes := strings.Split(s.asked(), ", ")
		first, other := routes[0], routes[1]
		if want := []string{first, other, other, other, other}; first == other || !slices.Equal(routes, want) {
			t.Errorf("asked %q; want %q", routes, want)
		}
	})
	t.Run("until its breaker opens", func(t *testing.T) {
		s := pooled(t, three()...)
		turn(s, 0)
		s.say("again")
		call := s.part("f", `{"x":1}`)
		s.model("", call)
		s.env.Endpoints = map[string]Endpoint{"a/1": {Until: s.now.Add(time.Minute), Class: events.ErrRateLimited}}
		s.result(call.Call, events.StatusOK, "done")
		r := s.madeRequests()
		if last := r[len(r)-1]; last.Route != "b/2" || !strings.Contains(last.Reason, "left out: a/1 (rate_limited)") {
			t.Errorf("asked %+v", last)
		}
	})
}

// TestAPoolSharesByWeight: the share of conversations follows the weights, and deciding
// again chooses the same model.
func TestAPoolSharesByWeight(t *testing.T) {
	count := map[string]int{}
	const conversations = 400
	for i := range conversations {
		s := pooled(t, policy.Member{Model: "a/1", Weight: 3}, policy.Member{Model: "b/2", Weight: 1}, policy.Member{Model: "c/3"})
		s.ids = 1000 * i
		s.write(events.ChannelIn, "", &events.UserMessage{ID: s.id(), Text: "hello"})
		again, _, _ := Decide(s.state, s.env, s.now)
		s.decide()
		r := s.madeRequests()[0]
		count[r.Route]++
		if diff := cmp.Diff(only[*events.GenerationRequested](eventsOf(again))[0], r); diff != "" {
			t.Fatalf("another owner decides otherwise\n%s", diff)
		}
	}
	if a := count["a/1"]; a < conversations*65/100 || a > conversations*85/100 || count["c/3"] > 0 {
		t.Errorf("the shares are %v, want 3 to 1 to nothing", count)
	}
}

func TestAPoolPrefersModelsThatCanAnswer(t *testing.T) {
	later := func(d time.Duration) Endpoint {
		return Endpoint{Until: time.UnixMilli(1000).Add(d), Class: events.ErrOverloaded}
	}
	for _, c := range []struct {
		name, want string
		env        func(*Env)
		settings   *events.Settings
	}{
		{"nothing is known", "a/1", func(*Env) {}, nil},
		{"no worker serves it", "b/2", func(e *Env) { e.Providers = map[string]bool{"a": false, "b": true} }, nil},
		{"no worker serves any", "a/1", func(e *Env) { e.Providers = map[string]bool{} }, nil},
		{"its breaker is open", "b/2", func(e *Env) { e.Endpoints = map[string]Endpoint{"a/1": later(time.Second)} }, nil},
		{"its breaker lets a request through", "a/1", func(e *Env) { e.Endpoints = map[string]Endpoint{"a/1": later(0)} }, nil},
		{"all breakers are open", "a/1", func(e *Env) {
			e.Endpoints = map[string]Endpoint{"a/1": later(time.Second), "b/2": later(time.Second), "c/3": later(time.Second)}
		}, nil},
		{"all breakers are open, one for a shorter time", "b/2", func(e *Env) {
			e.Endpoints = map[string]Endpoint{"a/1": later(time.Minute), "b/2": later(time.Second), "c/3": later(2 * time.Second)}
		}, nil},
		{"all breakers are open, and those that open first have a weight", "c/3", func(e *Env) {
			e.Pools["fast"][2].Weight = 1
			e.Endpoints = map[string]Endpoint{"a/1": later(time.Minute), "b/2": later(time.Second), "c/3": later(time.Second)}
		}, nil},
		{"all breakers of the models that are served are open", "b/2", func(e *Env) {
			e.Providers = map[string]bool{"a": true, "b": true}
			e.Endpoints = map[string]Endpoint{"a/1": later(time.Minute), "b/2": later(time.Second)}
		}, nil},
		{"it does not take the parameters", "b/2", func(e *Env) { e.Ceilings.Extra = map[string][]string{"*": {}, "b": {"knob"}} },
			&events.Settings{Parameters: events.Parameters{Extra: map[string]json.RawMessage{"knob": json.RawMessage("1")}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pooled(t, three()...)
			c.env(&s.env)
			if c.settings != nil {
				c.settings.ID = s.id()
				if a := only[*events.InputAnswered](s.in(c.settings)); a[0].Answer != events.AnswerAccepted {
					t.Errorf("the settings were answered %+v", a[0])
				}
			}
			s.say("hello")
			if got := s.asked(); got != c.want {
				t.Errorf("asked %s; want %s", got, c.want)
			}
		})
	}
}

// TestAHistoryThatIsTooLongGoesToAWiderModel, and is shortened only when there is none.
func TestAHistoryThatIsTooLongGoesToAWiderModel(t *testing.T) {
	long := func(s *scene) { // about 3,000 tokens in an earlier turn
		s.say("hello")
		call := s.part("f", `{"x":1}`)
		s.model("", call)
		s.result(call.Call, events.StatusOK, strings.Repeat("z", 12_000))
		s.model("done")
	}
	now := "and now " + strings.Repeat("y", 10_000)
	tooLong := &events.Error{Class: events.ErrContextLength, Message: "prompt is too long"}
	t.Run("before the request", func(t *testing.T) {
		s := pooled(t, policy.Member{Model: "a/1", Window: 2_000}, policy.Member{Model: "b/2", Window: 100_000})
		long(s)
		s.say(now)
		r := s.madeRequests()
		if last := r[len(r)-1]; last.Route != "b/2" || !strings.Contains(last.Reason, "a/1 (window of 2000 tokens)") {
			t.Errorf("asked %+v", last)
		}
		if n := len(only[*events.Compacted](s.everything())); n > 0 {
			t.Errorf("the history was shortened %d times", n)
		}
	})
	t.Run("after a refusal", func(t *testing.T) {
		s := pooled(t, policy.Member{Model: "a/1"}, policy.Member{Model: "b/2", Window: 1_000}, policy.Member{Model: "c/3", Window: 100_000})
		long(s)
		s.say("and now")
		s.refuses(tooLong, 2_000)
		s.model("done")
		if got, want := s.asked(), "a/1, a/1, a/1, c/3"; got != want || len(only[*events.Compacted](s.everything())) > 0 {
			t.Errorf("asked %s; want %s, and no compaction", got, want)
		}
	})
	t.Run("no other is wider", func(t *testing.T) {
		s := pooled(t, policy.Member{Model: "a/1"}, policy.Member{Model: "b/2", Window: 2_000})
		long(s)
		s.say("and now")
		s.refuses(tooLong, 2_000)
		s.model("done")
		s.restart()
		if got, want := s.asked(), "a/1, a/1, a/1, a/1"; got != want || len(only[*events.Compacted](s.everything())) != 1 {
			t.Errorf("asked %s; want %s, and one compaction", got, want)
		}
	})
	t.Run("all are too narrow before the request", func(t *testing.T) {
		s := pooled(t, policy.Member{Model: "a/1", Window: 2_000}, policy.Member{Model: "b/2", Window: 2_500})
		long(s)
		s.say(now)
		if got := only[*events.Compacted](s.everything()); len(got) != 1 || got[0].Window != 2_000 {
			t.Errorf("the history was not shortened to the window of a/1: %+v", got)
		}
	})
}

func TestARouteThatMayBeAPool(t *testing.T) {
	serves := map[string]bool{"scripted": true, "gone": false}
	for _, c := range []struct {
		name, route string
		pools       bool
		want        string // in the error; empty when it is requested
	}{
		{"a pool", "fast", true, ""},
		{"a pool that is not there", "fsat", true, `"fsat" is no pool of models, and no worker serves a provider of that name: the pools are fast;`},
		{"a provider", "scripted", true, ""},
		{"a provider whose workers are away", "gone", true, ""},
		{"a model of a provider that nobody serves", "who/knows", true, ""},
		{"a deployment without pools", "fsat", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pooled(t, three()...)
			s.env.Providers = serves
			if !c.pools {
				s.env.Pools = nil
			}
			s.in(&events.Settings{ID: s.id(), Route: c.route})
			s.say("hello")
			if c.want == "" {
				if len(s.madeRequests()) != 1 {
					t.Errorf("it was not asked: %s", written(s.everything()))
				}
				return
			}
			end := only[*events.TurnEnded](s.everything())
			if len(end) != 1 || end[0].Reason != "no_route" || !strings.Contains(end[0].Error.Message, c.want) {
				t.Errorf("%s", written(s.everything()))
			}
		})
	}
	t.Run("a pool that the deployment no longer has", func(t *testing.T) {
		s := pooled(t, three()...)
		s.env.Providers = serves
		s.in(&events.Settings{ID: s.id(), Route: "fast"})
		s.say("hello")
		s.model("hi")
		s.env.Pools = nil
		s.say("and now")
		end := only[*events.TurnEnded](s.everything())
		if last := end[len(end)-1]; last.Reason != "no_route" || !strings.Contains(last.Error.Message, "the deployment has no pools") {
			t.Errorf("%+v", last)
		}
	})
}

// TestAPoolThatChangesInTheMiddle: Settings and the deployment's file may change between
// a request and its failure.
func TestAPoolThatChangesInTheMiddle(t *testing.T) {
	busy := &events.Error{Class: events.ErrOverloaded, Message: "busy"}
	for _, c := range []struct {
		name, want string
		change     func(*scene)
	}{
		{"the pool is gone", "a/1, wait a/1", func(s *scene) { s.env.Pools = nil }},
		{"the model is gone from it", "a/1, b/2", func(s *scene) { s.env.Pools = policy.Pools{"fast": three()[1:]} }},
		{"settings name a model", "a/1, wait x/9", func(s *scene) { s.in(&events.Settings{ID: s.id(), Route: "x/9"}) }},
		{"settings name another pool", "a/1, x/9", func(s *scene) {
			s.env.Pools = policy.Pools{"fast": three(), "slow": {{Model: "x/9"}}}
			s.in(&events.Settings{ID: s.id(), Route: "slow"})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pooled(t, three()...)
			s.say("hello")
			c.change(s)
			s.refuses(busy, 0)
			if got := s.asked(); got != c.want {
				t.Errorf("asked %s; want %s", got, c.want)
			}
			s.model("hi")
			if e := only[*events.TurnEnded](s.everything()); len(e) != 1 || e[0].Outcome != events.OutcomeCompleted {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestACostLimitNeedsAPriceOfEachModelOfAPool: otherwise it would depend on chance
// whether the limit can be enforced.
func TestACostLimitNeedsAPriceOfEachModelOfAPool(t *testing.T) {
	s := pooled(t, three()...)
	s.env.Limits.CostUSD = 1
	s.env.Prices = policy.Prices{"a/1": {Input: 1}, "c/3": {Input: 1}}
	s.say("hello")
	end := only[*events.TurnEnded](s.everything())
	if len(end) != 1 || end[0].Reason != "no_price" || !strings.Contains(end[0].Error.Message, `["b/2"]`) {
		t.Errorf("%s", written(s.everything()))
	}
}

// TestLimitsAndTimeEndAPool: what ends a retry ends a fallback.
func TestLimitsAndTimeEndAPool(t *testing.T) {
	busy := &events.Error{Class: events.ErrCut, Message: "cut"}
	for name, limit := range map[string]events.Limits{"max_tokens": {Tokens: 1}, "cut": {TimeMS: 500}} {
		t.Run(name, func(t *testing.T) {
			s := pooled(t, three()...)
			s.env.Limits = limit
			s.say("hello")
			all := s.begin("some text")
			end := &events.GenerationEnded{Generation: s.state.Generation, Finish: events.FinishError, Error: busy}
			end.Stamp(all[0].(*events.GenerationStarted).Attempt, 2)
			s.now = s.now.Add(time.Second)
			s.write(events.ChannelGen, "", append(all, end)...)
			s.decide()
			if e := only[*events.TurnEnded](s.everything()); len(e) != 1 || e[0].Reason != name || s.asked() != "a/1" {
				t.Errorf("%s %s", s.asked(), fmt.Sprint(written(s.everything())))
			}
		})
	}
}
