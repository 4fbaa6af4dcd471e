package scripted_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

const basics = `
rules:
  - match: ['weather in (?P<city>\w+)', '(?P<day>today|tomorrow)']
    steps:
      - reasoning: think
        text: 'looking for {{.Match.city}}'
        calls:
          - tool: a
            arguments: {city: '{{.Match.city}}', day: '{{.Match.day}}', count: 2, deep: [{x: 'q: {{.Question}}'}]}
          - tool: b
            raw: '{"step": {{.Step}}, "q": {{json .Question}}}'
      - text: '{{result 0}} and {{result 1}} ({{status 1}}), step {{.Step}}'
  - contains: [ÅRE, Storlien]
    steps: [{text: two places}]
  - contains: unknown
    steps: [{calls: [{tool: z}]}]
  - contains: force
    steps: [{calls: [{tool: z, unoffered: true, id: toolu_1}]}]
  - contains: refuse
    steps: [{refusal: I will not}]
  - contains: often
    loop: true
    steps: [{repeat: 2, calls: [{tool: a}]}, {text: 'round {{.Step}}'}]
  - contains: broken
    steps: [{text: '{{result 0}}'}]
  - steps: [{text: the default}]
`

func TestProviderChoosesFromTheRequestAlone(t *testing.T) {
	p := provider(t, basics)
	assistant := message(events.RoleAssistant, "hm")
	for _, c := range []struct {
		name     string
		messages []events.Message
		want     string
	}{
		{"the first step reasons, speaks and makes parallel calls", []events.Message{user("Weather in Oslo \"today\"?")},
			`think | looking for Oslo | a{"city":"Oslo","count":2,"day":"today","deep":[{"x":"q: Weather in Oslo \"today\"?"}]} | b{"step": 1, "q": "Weather in Oslo \"today\"?"}`},
		{"all patterns must match", []events.Message{user("weather in Oslo")}, "the default"},
		{"the second step quotes the results in order", []events.Message{user("weather in Oslo today"), assistant, result("sun", "ok"), result("rain", "failed")},
			"sun and rain (failed), step 2"},
		{"results of an earlier turn do not count", []events.Message{user("x"), assistant, result("old", "ok"), assistant, user("weather in Rome today"), assistant, result("new", "ok"), result("2", "ok")},
			"new and 2 (ok), step 2"},
		{"a script that is at its end says so", []events.Message{user("weather in Oslo today"), assistant, result("sun", "ok"), assistant},
			`The rule "1" of my script has 2 step(s), and this would be step 3: I have nothing more to say.`},
		{"substrings must all occur, in any case", []events.Message{user("from åre to STORLIEN")}, "two places"},
		{"one substring is not enough", []events.Message{user("from åre")}, "the default"},
		{"a tool that is not offered is not called", []events.Message{user("unknown")},
			`For this I would call the tool "z", but this conversation does not offer it. Start a tool worker that serves it, or allow it in the conversation's settings, and ask again.`},
		{"a tool that is not offered is called when the script insists", []events.Message{user("force")}, "z{}"},
		{"a refusal is one", []events.Message{user("refuse")}, "I will not"},
		{"a step is repeated", []events.Message{user("often"), assistant}, "a{}"},
		{"a loop goes through its steps", []events.Message{user("often"), assistant, assistant}, "round 3"},
		{"a loop begins again", []events.Message{user("often"), assistant, assistant, assistant}, "a{}"},
		{"no question at all gets the default", nil, "the default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := replyOf(t, p, c.messages...)
			if got := compact(r); got != c.want || r.end.Error != nil || !r.end.Terminated {
				t.Fatalf("got  %s\nwant %s\n%+v", got, c.want, r.end)
			}
			if again := replyOf(t, p, c.messages...); compact(again) != c.want {
				t.Fatalf("asked again: %s", compact(again))
			}
		})
	}
}

func TestProviderAnswers(t *testing.T) {
	p := provider(t, basics)
	t.Run("text comes word by word and nothing is lost", func(t *testing.T) {
		r := replyOf(t, p, user("from åre to storlien"))
		if strings.Join(r.chunks, "/") != "two /places" || r.end.Finish != events.FinishStop || r.end.Model != "any" {
			t.Fatalf("%q %+v", r.chunks, r.end)
		}
	})
	t.Run("calls have ids of their own and the finish says so", func(t *testing.T) {
		r := replyOf(t, p, user("weather in Oslo today"))
		if r.calls[0].ProviderID == r.calls[1].ProviderID || r.end.Finish != events.FinishToolCalls || r.calls[0].Invalid != "" {
			t.Fatalf("%+v %+v", r.calls, r.end)
		}
		if !strings.Contains(r.kinds, "aa") {
			t.Fatalf("%s: the arguments came in one piece", r.kinds)
		}
	})
	t.Run("an id of the script is used", func(t *testing.T) {
		if r := replyOf(t, p, user("force")); r.calls[0].ProviderID != "toolu_1" {
			t.Fatalf("%+v", r.calls)
		}
	})
	t.Run("words are counted as tokens", func(t *testing.T) {
		req := request(user("from åre to storlien"))
		req.System = "be brief"
		u := listen(t, p.Stream(t.Context(), req)).end.Usage
		if *u.InputTokens != 6 || *u.OutputTokens != 2 || *u.TotalTokens != 8 || u.ReasoningTokens != nil {
			t.Fatalf("%+v", u)
		}
	})
	t.Run("an answer that is asked for whole comes in one piece per block", func(t *testing.T) {
		req := request(user("weather in Oslo today"))
		req.Whole = true
		if r := listen(t, p.Stream(t.Context(), req)); r.kinds != "rt(a)(a)" {
			t.Fatal(r.kinds)
		}
	})
	t.Run("a template that cannot be filled in is an internal error", func(t *testing.T) {
		r := replyOf(t, p, user("broken"))
		if r.end.Error == nil || r.end.Error.Class != events.ErrInternal || !strings.Contains(r.end.Error.Message, "there is no result 0") {
			t.Fatalf("%+v", r.end)
		}
	})
	t.Run("a consumer may stop at any event", func(t *testing.T) {
		for n := range 12 {
			seen := 0
			for range p.Stream(t.Context(), request(user("weather in Oslo today"))) {
				if seen++; seen > n {
					break
				}
			}
		}
	})
	t.Run("it is a provider with tools", func(t *testing.T) {
		var i llm.Provider = p
		if c := i.Capabilities("x"); i.Name() != "test" || !c.Tools || !c.StreamTools {
			t.Fatalf("%+v", c)
		}
	})
}

const endings = `
rules:
  - {contains: limited, steps: [{text: never said, error: {class: rate_limited, message: slow down, code: rate_limit_exceeded, http_status: 429, retry_after_ms: 1500}}]}
  - {contains: twice, steps: [{text: at last, fail_first: 2, error: {class: overloaded}}]}
  - {contains: middle, steps: [{text: one two three four, after: 2, error: {class: network, message: gone}}]}
  - {contains: cut text, steps: [{text: one two three, cut: true, after: 1}]}
  - {contains: cut late, steps: [{text: one two, cut: true, calls: [{tool: a, arguments: {x: 1}}]}]}
  - {contains: cut call, steps: [{cut: true, after: 1, calls: [{tool: a, arguments: {long: argument}}]}]}
  - {contains: length, steps: [{finish: length, after: 1, calls: [{tool: a, arguments: {long: argument}}]}]}
  - {contains: filter, steps: [{text: one two three, finish: content_filter, after: 1}]}
  - {contains: stall, steps: [{text: one two three, stall: true, after: 2}]}
  - {contains: nothing, steps: [{}]}
  - {contains: counted, steps: [{text: x, usage: {input: 10, output: 20, reasoning: 5}}]}
  - {contains: unsaid, steps: [{text: x, no_usage: true}]}
`

func TestProviderEndings(t *testing.T) {
	p := provider(t, endings)
	for _, c := range []struct {
		question, text, class string
		finish                events.Finish
	}{
		{"limited", "", "rate_limited", events.FinishError},
		{"middle", "one two ", "network", events.FinishError},
		{"cut text", "one ", "cut", events.FinishError},
		{"cut late", `one two | a{"x":1}`, "cut", events.FinishError},
		{"cut call", `a{"long":`, "cut", events.FinishError},
		{"length", `a{"long":`, "", events.FinishLength},
		{"filter", "one ", "", events.FinishContentFilter},
		{"nothing", "", "", events.FinishStop},
	} {
		t.Run("the ending "+c.question+" is played", func(t *testing.T) {
			r := replyOf(t, p, user(c.question))
			class := ""
			if r.end.Error != nil {
				class = string(r.end.Error.Class)
			}
			if compact(r) != c.text || class != c.class || r.end.Finish != c.finish || r.end.Terminated != (class == "") {
				t.Fatalf("%q %+v %v", compact(r), r.end, r.end.Error)
			}
			if (r.end.Usage != nil) != r.end.Terminated {
				t.Fatalf("usage %+v", r.end.Usage)
			}
			if half := strings.Contains(c.text, `"long"`); len(r.calls) > 0 && (r.calls[0].Invalid != "") != half {
				t.Fatalf("%+v", r.calls)
			}
		})
	}
	t.Run("an error carries what the provider said", func(t *testing.T) {
		e := replyOf(t, p, user("limited")).end.Error
		if e.Message != "slow down" || e.Code != "rate_limit_exceeded" || e.HTTPStatus != 429 || e.RetryAfter() != 1500*time.Millisecond || !e.Retryable() {
			t.Fatalf("%+v", e)
		}
	})
	t.Run("a step fails the first times and then succeeds, for each question anew", func(t *testing.T) {
		for round := range 2 {
			for try, want := range []string{"", "", "at last"} {
				if r := replyOf(t, p, user("twice")); r.text != want || (r.end.Error == nil) != (want != "") {
					t.Fatalf("round %d try %d: %q %v", round, try, r.text, r.end.Error)
				}
			}
		}
		if r := replyOf(t, p, user("twice please")); r.end.Error == nil {
			t.Fatal("another question succeeded at once")
		}
	})
	t.Run("usage of the script is kept, and none is none", func(t *testing.T) {
		u := replyOf(t, p, user("counted")).end.Usage
		if *u.InputTokens != 10 || *u.OutputTokens != 20 || *u.ReasoningTokens != 5 {
			t.Fatalf("%+v", u)
		}
		if u := replyOf(t, p, user("unsaid")).end.Usage; u != nil {
			t.Fatalf("%+v", u)
		}
	})
	t.Run("a script without a default says that it has none", func(t *testing.T) {
		if r := replyOf(t, p, user("else")); !strings.Contains(r.text, "no rule matches") {
			t.Fatal(r.text)
		}
	})
}

func TestProviderKeepsTime(t *testing.T) {
	const slow = `
pace: 20
rules:
  - {contains: slow, steps: [{delay: 1000, text: one two three}]}
  - {contains: pairs, steps: [{pace: 5, chunk: 2, text: one two three four}]}
  - {contains: stall, steps: [{pace: 0, text: one two, stall: true}]}
`
	p := provider(t, slow)
	for _, c := range []struct {
		name, question string
		whole          bool
		want           time.Duration
	}{
		{"a delay, then the pace before each word", "slow", false, 1060 * time.Millisecond},
		{"a pace and a chunk of the step's own", "pairs", false, 10 * time.Millisecond},
		{"whole, it only delays", "slow", true, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				req := request(user(c.question))
				req.Whole = c.whole
				listen(t, p.Stream(t.Context(), req))
				if d := time.Since(start); d != c.want {
					t.Fatalf("took %s", d)
				}
			})
		})
	}
	t.Run("a stalled answer ends when its context does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			start := time.Now()
			r := listen(t, p.Stream(ctx, request(user("stall"))))
			if time.Since(start) != time.Hour || r.text != "one two" || r.end.Error.Class != events.ErrCancelled || r.end.Terminated {
				t.Fatalf("%s %+v", time.Since(start), r)
			}
		})
	})
	t.Run("an answer ends between two words when its context does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 1030*time.Millisecond)
			defer cancel()
			r := listen(t, p.Stream(ctx, request(user("slow"))))
			if r.text != "one " || r.end.Error.Class != events.ErrCancelled || r.end.Finish != events.FinishCancelled {
				t.Fatalf("%+v", r)
			}
		})
	})
	t.Run("a context that has ended gives no word", func(t *testing.T) {
		r := listen(t, p.Stream(cancelled(t.Context()), request(user("slow"))))
		if r.kinds != "" || r.end.Error.Class != events.ErrCancelled {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("the reason of a cancelled context is passed on", func(t *testing.T) {
		idle := &events.Error{Class: events.ErrIdle, Message: "nothing came"}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(idle)
		r := listen(t, p.Stream(ctx, request(user("slow"))))
		if !errors.Is(r.end.Error, idle) {
			t.Fatalf("%+v", r.end.Error)
		}
	})
}
