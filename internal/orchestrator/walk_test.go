package orchestrator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/policy"
)

// walk is a conversation in which everything happens in a random order: people send
// inputs, workers answer, die and answer again, time passes, and the owner
// reads and decides, now and then without knowing the latest messages.
type walk struct {
	*conversationLog
	t   *rapid.T
	env Env
	now time.Time
	ids int

	inputs     []string // inputs that need an answer
	published  []events.Event
	lane       *attempt          // who writes the gen lane
	generation string            // of the latest job
	calls      []string          // calls requested and not answered by a worker
	attempts   map[string]string // who runs a call
	odd        bool              // others write what no program of ours does
	long       bool              // answers have many calls, and tools answer meanwhile
	check      func(*events.Decision)
	superseded map[string]bool
}

// attempt is a worker's try at a generation.
type attempt struct {
	id, generation string
	index, blocks  int
	open           string // the call in the last block, when it has not ended
	ended          bool
}

func newWalk(t *rapid.T) *walk {
	w := &walk{conversationLog: newLog("00000000-0000-7000-8000-c00000000000"), t: t, env: testEnv(), now: time.UnixMilli(1000), superseded: map[string]bool{}, attempts: map[string]string{}}
	w.env.Limits = events.Limits{Steps: 3, Tokens: 200, TimeMS: 60_000, Calls: map[string]int{"g": 3}, Repeats: 3, Parallel: 2}
	w.env.Limits.OnLimit = choose(w, events.LimitEnd, events.LimitAsk)
	if choose(w, false, true) {
		w.env.Identities = bookOf(identity.Inputs{}, people()...)
	}
	w.env.Policy = w.policy()
	if choose(w, false, false, true) {
		w.env.Hooks = []events.Hook{{Name: "b", When: events.HookBefore}, {Name: "o", When: events.HookBefore, Optional: true}, {Name: "a", When: events.HookAfter}}
	}
	if choose(w, false, true) {
		w.env.Route, w.env.Pools = "fast", choose(w, policy.Pools{"fast": three()}, policy.Pools{"fast": {{Model: "a/1", Weight: 1}, {Model: "b/2", Weight: 1, Window: 512}}})
	}
	return w
}

// policy is one of several; without one, f runs and a person must approve g.
func (w *walk) policy() *events.Policy {
	return choose(w, nil,
		&events.Policy{Rules: []events.Rule{{Action: events.ActionAuto}}},
		&events.Policy{ReminderMS: 5_000, DeadlineMS: 30_000, Rules: []events.Rule{{Tool: "f", Action: events.ActionApprove, Need: events.Need{Approvals: 2}},
			{Tool: "g", Action: events.ActionDefer, DeadlineMS: 20_000, Need: events.Need{Approvers: []string{"group:finance"}, NotRequester: true}}}},
		&events.Policy{ReminderMS: 7_000, DeadlineMS: 30_000, Rules: []events.Rule{{Tool: "f", When: "args.x == 2", Action: events.ActionDeny, Reason: "no twos"}, {Tool: "f", Action: events.ActionDefer, DelayMS: 3_000}}},
		&events.Policy{Rules: []events.Rule{{Tool: "g", Action: events.ActionDefer, DeadlineMS: 20_000}, {Tool: "f", Action: events.ActionApprove}}})
}

func (w *walk) id(kind string) string {
	w.ids++
	return fmt.Sprintf("00000000-0000-7000-8000-%s%0*d", kind, 12-len(kind), w.ids)
}

// pick draws a number below n. It is made of coins, because rapid prefers small
// numbers and a walk would go round in circles.
func (w *walk) pick(n int) int {
	v := 0
	for range 6 {
		v <<= 1
		if rapid.Bool().Draw(w.t, "coin") {
			v++
		}
	}
	return v % n
}

func choose[T any](w *walk, from ...T) T { return from[w.pick(len(from))] }

// step lets one thing happen.
func (w *walk) step() {
	steps := []string{"say", "tool", "fold", "fold", "decide", "decide", "wait", "repeat"}
	if w.long {
		steps = []string{"fold", "decide", "tool"}
		if w.state.Turn == "" || choose(w, false, false, false, true) {
			steps = append(steps, "say")
		}
	}
	if w.odd {
		steps = append(steps, "odd", "odd")
	}
	switch w.state.Phase {
	case events.PhaseGenerating:
		steps = append(steps, "work", "work", "work", "work", "work", "work")
	case events.PhaseCalling:
		steps = append(steps, "tool", "tool", "say")
	case events.PhasePaused:
		steps = append(steps, "tool", "verdict", "verdict", "verdict", "outside")
	}
	if len(w.state.Hooks) > 0 {
		steps = append(steps, "hook", "hook")
	}
	switch choose(w, steps...) {
	case "say":
		w.say()
	case "repeat":
		w.repeat()
	case "odd":
		w.write(w.odds())
	case "work":
		w.work(w.pick(10))
	case "tool":
		w.tool()
	case "verdict":
		w.verdict()
	case "outside":
		w.outside()
	case "hook":
		w.hook()
	case "fold":
		w.fold()
	case "decide":
		if choose(w, false, true) {
			w.foldAll()
		}
		w.decide()
	case "wait":
		w.now = w.now.Add(time.Duration(choose(w, 1, 700, 5_000, 20_000)) * time.Millisecond)
	}
}

func (w *walk) write(channel events.Channel, call string, e events.Event) {
	if channel == events.ChannelIn {
		w.published = append(w.published, e)
	}
	line := overTheWire(e)
	if channel == events.ChannelIn && w.env.Identities != nil {
		switch _, s := events.SignatureOf(e); {
		case s != nil: // published again
		case choose(w, false, true, true, true):
			line = signedLine(byte(1+w.pick(workersKey)), choose(w, w.conversationLog.id, w.conversationLog.id, w.conversationLog.id, "another"), e)
			w.published[len(w.published)-1] = line.Event
		}
	}
	w.append(accumulator.Message{Channel: channel, Call: call, Lines: []events.Line{line}})
}

// repeat publishes an input again that was published before.
func (w *walk) repeat() {
	if len(w.published) > 0 {
		w.append(accumulator.Message{Channel: events.ChannelIn, Lines: []events.Line{overTheWire(w.published[w.pick(len(w.published))])}})
	}
}

func (w *walk) say() {
	id := w.id("1")
	var e events.Event
	switch w.pick(8) {
	case 0, 1:
		c := &events.Cancel{ID: id, Turn: choose(w, "", "", w.state.Turn, "another"), Scope: choose(w, events.Scope(""), "", events.ScopeTurn, events.ScopeQueue, events.ScopeAll)}
		if len(w.state.Calls) > 0 && c.Scope == "" {
			c.Call = choose(w, "", w.state.Calls[w.pick(len(w.state.Calls))].Call, "00000000-0000-7000-8000-000000000bad")
		}
		e = c
	case 2:
		e = &events.Settings{ID: id, Route: choose(w, "", "scripted/b", "bad route"), System: choose(w, "", "", "be brief"), AnswerSchema: choose(w, nil, nil, nil, json.RawMessage("null"), json.RawMessage(`{"type":"object"}`)), Limits: events.Limits{Steps: w.pick(5) - 1}, Policy: w.policy(), AddRules: w.added(),
			WhileRunning: choose(w, events.Arrival(""), "", events.ArrivalInterrupt, events.ArrivalRefuse, "nonsense"), WhileWaiting: choose(w, events.Arrival(""), events.ArrivalSupersede, events.ArrivalInterrupt)}
	case 3:
		w.verdict()
		return
	case 4:
		e = &events.UserMessage{ID: id, Text: " "}
	default:
		e = &events.UserMessage{ID: id, Text: "say " + id, Arrival: choose(w, events.Arrival(""), "", "", events.ArrivalInterrupt, events.ArrivalSupersede, events.ArrivalRefuse, "nonsense")}
	}
	w.inputs = append(w.inputs, id)
	w.write(events.ChannelIn, "", e)
}

// added are rules that Settings may add to the existing ones.
func (w *walk) added() []events.Rule {
	return choose(w, nil, nil, nil, []events.Rule{{Tool: "g", Action: events.ActionApprove}}, []events.Rule{{Tool: "f", When: "args.x == 3", Action: events.ActionDeny}}, []events.Rule{{Action: "nonsense"}})
}

// verdict sends a verdict on what waits, on what does not, or nonsense.
func (w *walk) verdict() {
	v := &events.Verdict{ID: w.id("1"), Verdict: choose(w, events.RulingApprove, events.RulingApprove, events.RulingReject, events.RulingEdit, events.RulingAnswer, events.RulingAlways, events.RulingRevoke, "nonsense")}
	for _, c := range w.state.Calls {
		if choose(w, false, true, true) {
			v.Calls = append(v.Calls, events.CallVerdict{Call: c.Call, Digest: choose(w, c.Digest, c.Digest, c.Digest, "", "other"),
				Arguments: json.RawMessage(choose(w, "", `{"x":3}`, `{"x":2}`, `{"y":1}`)), Content: choose(w, "", "42")})
		}
	}
	if q := w.state.Question; q != nil {
		v.Calls = append(v.Calls, events.CallVerdict{Call: q.ID, Digest: choose(w, q.Digest, q.Digest, "other")})
	}
	if choose(w, false, false, true) {
		v.Calls = append(v.Calls, events.CallVerdict{Call: w.id("4"), Digest: "none"})
	}
	w.inputs = append(w.inputs, v.ID)
	w.write(events.ChannelIn, "", v)
}

// outside writes the result of a call that waits, as an app may.
func (w *walk) outside() {
	for _, c := range w.state.Calls {
		if c.Waiting() && choose(w, false, true) {
			w.write(events.ChannelCall, c.Call, &events.ToolResult{Call: c.Call, Status: events.StatusOK, Content: "from outside"})
		}
	}
}

// hook lets a hook answer.
func (w *walk) hook() {
	h := w.state.Hooks[w.pick(len(w.state.Hooks))]
	w.env.HookAnswers = append(w.env.HookAnswers, &events.HookAnswered{Turn: h.Turn, When: h.When, Hook: h.Name, Context: "mind this",
		Refuse: choose(w, "", "", "", "no"), Error: choose(w, "", "", "", "it broke")})
}

// work lets the worker of the latest generation do something: start, also when
// another has started (which then cannot write any more), continue, end.
func (w *walk) work(what int) {
	a := w.lane
	if w.generation != "" && (a == nil || a.generation != w.generation || what == 0 && !a.ended) {
		if a != nil && a.generation == w.generation {
			w.superseded[a.id] = true
		}
		w.lane = &attempt{id: w.id("2"), generation: w.generation}
		w.emit(&events.GenerationStarted{Generation: w.generation, Provider: "scripted", Model: "echo"})
		return
	}
	if a == nil || a.ended {
		return
	}
	switch what {
	case 1, 2:
		w.emit(&events.TextChunk{Block: a.blocks, Text: "word "})
	case 3:
		w.emit(&events.ReasoningChunk{Block: 100 + a.blocks, Text: "hm ", Summary: choose(w, false, true)})
	case 4, 5, 6:
		if a.open == "" {
			a.blocks++
			a.open = w.id("3")
			name := choose(w, "f", "f", "f", "g", "g", "g", "nope", "")
			if w.long {
				name = choose(w, "f", "f", "f", "g")
			}
			w.emit(&events.ToolCallStart{Block: a.blocks, Call: a.open, Name: name})
			return
		}
		w.emit(&events.ToolCallDelta{Block: a.blocks, Call: a.open, Arguments: choose(w, `{"x":1}`, `{"x":2}`, `{`)})
		w.close("")
		if choose(w, false, true) { // the owner reads while the answer is written
			w.foldAll()
			w.decide()
		}
	default:
		if !w.long || choose(w, false, false, true) {
			w.end()
		}
	}
}

func (w *walk) close(invalid string) {
	w.emit(&events.ToolCallEnd{Block: w.lane.blocks, Call: w.lane.open, Invalid: invalid})
	w.lane.open = ""
	w.lane.blocks++
}

func (w *walk) end() {
	if w.lane.open != "" {
		w.close("it was cut")
	}
	e := &events.GenerationEnded{Generation: w.lane.generation, Finish: events.FinishStop, Terminated: true, EventCount: choose(w, 0, w.lane.index+1, w.lane.index+1)}
	tokens := int64(w.pick(60))
	switch w.pick(13) {
	case 0:
		e.Finish, e.Terminated, e.Error = events.FinishError, false, &events.Error{Class: events.ErrOverloaded, Message: "busy", RetryAfterMS: 100}
	case 1:
		e.Finish, e.Terminated, e.Error = events.FinishError, false, &events.Error{Class: events.ErrAuth, Message: "no"}
	case 2:
		e.Terminated = false
	case 3:
		e.Finish = events.FinishPause
	case 4:
		e.Finish = events.FinishLength
	default:
		e.Usage = &events.Usage{InputTokens: &tokens, OutputTokens: &tokens}
	}
	w.emit(e)
	w.lane.ended = true
}

func (w *walk) emit(e events.Stamped) {
	e.Stamp(w.lane.id, w.lane.index)
	w.lane.index++
	w.write(events.ChannelGen, "", e)
}

// tool lets the worker of a call start or write its one result, also when nobody
// waits for it any more.
func (w *walk) tool() {
	if len(w.calls) == 0 {
		return
	}
	i := w.pick(len(w.calls))
	call := w.calls[i]
	if w.attempts[call] == "" || choose(w, false, false, true) {
		w.attempts[call] = w.id("5")
		w.write(events.ChannelCall, call, &events.ToolStarted{Call: call, Attempt: w.attempts[call]})
		return
	}
	if choose(w, false, false, true) { // of one that was replaced, or a stranger
		w.write(events.ChannelCall, call, &events.ToolResult{Call: call, Attempt: choose(w, "", w.id("5")), Status: events.StatusOK, Content: "forged"})
		return
	}
	w.calls = slices.Delete(w.calls, i, i+1)
	w.write(events.ChannelCall, call, &events.ToolResult{Call: call, Attempt: w.attempts[call], Status: choose(w, events.StatusOK, events.StatusFailed, ""), Content: "result"})
}

// decide decides and publishes the jobs, and checks what must hold of any
// decision.
func (w *walk) decide() bool {
	w.env.Settings = w.state.Transcript.Settings
	before := looks(w.state)
	w.env.Complete, w.complete = w.complete, nil
	d, draft, _ := Decide(w.state, w.env, w.now)
	es := eventsOf(d)
	if again, _, _ := Decide(w.state, w.env, w.now); written(eventsOf(again)) != written(es) {
		w.t.Fatalf("decided twice, and otherwise:\n%s\n%s", written(es), written(eventsOf(again)))
	}
	if after := looks(w.state); after != before {
		w.t.Fatalf("deciding changed the conversation from\n%s\nto\n%s", before, after)
	}
	if len(es) == 0 {
		return false
	}
	w.decided(d, draft)
	w.generation = w.state.Generation
	for _, e := range es {
		if r, ok := e.(*events.ToolCallRequested); ok {
			w.calls = append(w.calls, r.Call)
		}
	}
	if w.check != nil {
		w.check(w.messages[len(w.messages)-1].Lines[0].Event.(*events.Decision))
	}
	if fault := strict(w.state.Transcript.Messages()); fault != "" {
		w.t.Fatalf("no strict provider takes this history: %s\n%s", fault, looks(w.state))
	}
	return true
}

func written(es []events.Event) string {
	raw, err := events.AppendFrame(nil, es...)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// drain lets everything end.
func (w *walk) drain() {
	for range 1000 {
		w.foldAll()
		if w.decide() {
			continue
		}
		switch {
		case len(w.state.Hooks) > 0:
			w.hook()
		case w.state.Phase == events.PhasePaused && w.state.Quiet():
			if next := time.UnixMilli(w.state.NextMS()); next.After(w.now) {
				w.now = next
			}
		case w.state.Phase == events.PhasePaused:
			w.tool()
		case w.state.Quiet():
			return
		case w.state.Phase == events.PhaseCalling:
			w.tool()
		default:
			w.work(7)
		}
	}
	w.t.Fatalf("the conversation does not come to an end:\n%s", looks(w.state))
}

// strict returns what a strict provider would refuse in a history.
func strict(all []events.Message) string {
	for i := 0; i < len(all); i++ {
		m := all[i]
		switch {
		case len(m.Parts) == 0:
			return fmt.Sprintf("message %d is empty", i)
		case i == 0 && m.Role != events.RoleUser:
			return "it does not begin with a user"
		case m.Role == events.RoleTool:
			return fmt.Sprintf("message %d is a result that follows no call", i)
		}
		for _, p := range m.Parts {
			if p.Kind != events.PartCall {
				continue
			}
			i++
			if i == len(all) || all[i].Role != events.RoleTool || len(all[i].Parts) != 1 || all[i].Parts[0].Call != p.Call || all[i].Parts[0].Status == "" {
				return fmt.Sprintf("call %s has no result in its place, message %d", p.Call, i)
			}
		}
	}
	return ""
}
