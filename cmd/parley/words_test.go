package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley"
)

func TestPolicyInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule        parley.Rule
		match, says string
	}{
		{parley.Rule{}, "every tool", ""},
		{parley.Rule{Tool: "get_*", Effect: parley.EffectPure, When: "args.n > 1"}, "get_* of effect pure when args.n > 1", ""},
		{parley.Rule{Tool: "a", DelayMS: 90000, DeadlineMS: 3600000, Reason: "too early"}, "a", "after 1m30s; expires after 1h0m0s; too early"},
		{parley.Rule{AtMS: 1}, "every tool", "at 1970-01-01T00:00:00Z"},
	} {
		if match, says := ruleMatch(c.rule), ruleRest(c.rule); match != c.match || says != c.says {
			t.Errorf("%+v is %q: %q, want %q: %q", c.rule, match, says, c.match, c.says)
		}
	}
	got := limitsOf(parley.Limits{Steps: 3, Tokens: 1000, CostUSD: 0.5, TimeMS: 60000, Repeats: 2, Calls: map[string]int{"b": 1, "a": 2}, OnLimit: parley.LimitAsk})
	want := []string{"3 steps a turn", "1000 tokens a turn", "$0.5 a turn", "1m0s a turn", "2 rounds with the same call and result",
		"2 calls of a a turn", "1 calls of b a turn", "at a limit a person is asked"}
	if !slices.Equal(got, want) || limitsOf(parley.Limits{}) != nil {
		t.Errorf("the limits are %q, want %q", got, want)
	}
}

func TestVerdictsFitWhatWaits(t *testing.T) {
	t.Parallel()
	waits := map[string]parley.Waiting{
		"a call":       {Awaited: parley.Awaited{For: parley.WaitApproval}},
		"a limit":      {Awaited: parley.Awaited{For: parley.WaitLimit}},
		"a result":     {Awaited: parley.Awaited{For: parley.WaitResult}},
		"its time":     {Awaited: parley.Awaited{For: parley.WaitTime}},
		"what a tool":  {Awaited: parley.Awaited{For: parley.WaitAnswer, Arguments: []byte(`{"message":"how many?","schema":{"type":"object","properties":{"n":{"type":"number"}}}}`)}},
		"yes or no of": {Awaited: parley.Awaited{For: parley.WaitAnswer, Arguments: []byte(`{"message":"really?"}`)}},
	}
	for verdict, want := range map[parley.Ruling]string{
		parley.RulingApprove: "a call, a limit, yes or no of",
		parley.RulingAlways:  "a call, a limit",
		parley.RulingEdit:    "a call",
		parley.RulingAnswer:  "a call, a result, its time, what a tool",
		parley.RulingReject:  "a call, a limit, a result, its time, what a tool, yes or no of",
	} {
		var got []string
		for name, w := range waits {
			if (&ruling{verdict: verdict}).fits(w) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != want {
			t.Errorf("%s fits %q, want %q", verdict, strings.Join(got, ", "), want)
		}
	}
	if (&ruling{verdict: parley.RulingApprove, all: true}).fits(waits["yes or no of"]) {
		t.Error("tools' questions are approved one by one")
	}
}

func TestVerdictsInWords(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[parley.Ruling][2]string{
		parley.RulingApprove: {"approved", "answered yes to"}, parley.RulingAlways: {"approved", "answered yes to"},
		parley.RulingReject: {"rejected", "declined"}, parley.RulingEdit: {"edited", "edited"}, parley.RulingAnswer: {"answered", "answered"},
	} {
		r := &ruling{verdict: verdict}
		if got := [2]string{r.done(false), r.done(true)}; got != want {
			t.Errorf("%s is %q, want %q", verdict, got, want)
		}
	}
}

func TestAWordNamesOneThing(t *testing.T) {
	t.Parallel()
	type named struct{ id, name string }
	things := []named{{"0198-aa", "now"}, {"0198-ab", "pay"}, {"0199-ac", "pay"}}
	for word, want := range map[string]string{
		"0198-ab": "0198-ab", "0199": "0199-ac", "aa": "0198-aa", "now": "0198-aa",
		"0198c0de-0000-7000-8000-000000000000": "0198c0de-0000-7000-8000-000000000000", // of nothing here
		"0198":                                 "", "pay": "", "other": "",
	} {
		got, err := pick(word, things, func(n named) (string, string) { return n.id, n.name })
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", word, got, err, want)
		}
		if several := word == "0198" || word == "pay"; several != (codeOf(err) == exitUsage) {
			t.Errorf("%q exits with %d", word, codeOf(err))
		}
	}
}

func TestStatesInWords(t *testing.T) {
	t.Parallel()
	paused := &parley.State{Phase: parley.PhasePaused, Question: &parley.Question{}, Calls: []parley.CallState{{Waits: parley.WaitApproval}, {Waits: parley.WaitTime}, {}}}
	for want, s := range map[string]*parley.State{"new": {}, "idle": {Phase: parley.PhaseIdle}, "waits: 3": paused} {
		if got := phase(s); got != want {
			t.Errorf("the phase is %q, want %q", got, want)
		}
	}
	for w, want := range map[parley.Wait]string{parley.WaitTime: "its time", parley.WaitResult: "the app", parley.WaitApproval: "a person", parley.WaitAnswer: "a person"} {
		if got := waitsFor(w); got != want {
			t.Errorf("%s waits for %q, want %q", w, got, want)
		}
	}
	if got := receipt(&parley.ConversationDeleted{Messages: 1, History: 2, Jobs: 3}); got != "1 message, 2 copies in HISTORY, 3 jobs, 0 timers, 0 objects" {
		t.Errorf("the receipt is %q", got)
	}
}

func TestCommandsToCopyNameTheData(t *testing.T) {
	a := &app{data: "/elsewhere"}
	for awaits, want := range map[parley.Wait]string{
		parley.WaitApproval: "approve c 1", parley.WaitLimit: "approve c 1", parley.WaitResult: "answer c 1 TEXT",
	} {
		if got := a.decideWith("c", parley.Awaited{Call: "1", For: awaits}); got != "parley --data /elsewhere "+want {
			t.Errorf("%s is decided with %q", awaits, got)
		}
	}
	a.cfg.NATS.URL = "nats://127.0.0.1:4222"
	if got := a.commandLine("ls"); got != "parley ls" {
		t.Errorf("with NATS_URL it is %q", got)
	}
}
