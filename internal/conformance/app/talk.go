package app

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// line is what an app prints.
type line struct {
	Answered *events.InputAnswered `json:"answered"`
	Result   *given                `json:"result"`
	Error    *failure              `json:"error"`
}

// given says whether the result of a deferred call was stored.
type given struct {
	Call     string `json:"call"`
	Accepted bool   `json:"accepted"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// talk is a conversation with the app as the person's.
type talk struct {
	*stage
	id    string
	shard int
	p     *conformance.Process
	read  int    // lines
	stop  func() // ends the deployment
}

// talk starts the app on a new conversation.
func (s *stage) talk() *talk {
	id := conformance.NewID()
	t := &talk{stage: s, id: id, shard: topology.ShardOf(id, s.Shards())}
	t.p = s.Launch("app", "PARLEY_CONVERSATION="+id)
	return t
}

// do gives the app a command.
func (t *talk) do(format string, args ...any) { t.p.Tell(fmt.Sprintf(format, args...)) }

// next waits for the next line that the app prints.
func (t *talk) next() line {
	t.Eventually(2*conformance.Soon, "it prints a line in answer to the command", func() bool {
		t.p.Running()
		return len(t.p.Lines()) > t.read
	})
	text := t.p.Lines()[t.read]
	t.read++
	var l line
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.Answered == nil && l.Result == nil && l.Error == nil {
		t.Fatalf("it prints %q, expected one JSON object with answered, result or error", text)
	}
	return l
}

// answered waits for the answer to the command, and checks it.
func (t *talk) answered(want events.Answer) *events.InputAnswered {
	l := t.next()
	if l.Answered == nil {
		t.Fatalf("it prints %s, expected {\"answered\":…} with the InputAnswered", t.p.Lines()[t.read-1])
	}
	if l.Answered.Answer != want {
		t.Fatalf("the input was answered %s (%s), expected %s", l.Answered.Answer, l.Answered.Reason, want)
	}
	return l.Answered
}

// stored is an input as the server stores it.
type stored struct {
	at     uint64
	id     string
	event  events.Event
	raw    json.RawMessage
	header map[string][]string
}

// inputs returns the inputs of the conversation.
func (t *talk) inputs() []stored {
	var all []stored
	for _, w := range t.ReadLane(topology.At(t.Shards(), t.id, events.ChannelIn), 0) {
		all = append(all, stored{w.At, events.ID(w.Raw), w.Event, w.Raw, w.Header})
	}
	return all
}

// input waits for a number of inputs, and returns the last.
func (t *talk) input(n int) stored {
	t.Eventually(conformance.Soon, fmt.Sprintf("it publishes input %d to conv.<shard>.<conversation>.in", n), func() bool {
		t.p.Running()
		return len(t.inputs()) >= n
	})
	return t.inputs()[n-1]
}

// decided returns the events of all Decisions.
func (t *talk) decided() (all []events.Event) {
	for _, w := range t.ReadLane(topology.At(t.Shards(), t.id, events.ChannelTurn), 0) {
		if d, ok := w.Event.(*events.Decision); ok {
			for _, l := range d.Events {
				all = append(all, l.Event)
			}
		}
	}
	return all
}

// decision waits for an event of a Decision of the orchestrator.
func decision[E events.Event](t *talk, is func(E) bool) E {
	var found E
	t.Eventually(2*conformance.Soon, "the orchestrator decides "+found.Type(), func() bool {
		return slices.ContainsFunc(t.decided(), func(e events.Event) bool {
			one, ok := e.(E)
			if ok = ok && is(one); ok {
				found = one
			}
			return ok
		})
	})
	return found
}

// awaited waits until the turn waits for something, and returns that.
func (t *talk) awaited(what events.Wait) events.Awaited {
	var found events.Awaited
	decision(t, func(p *events.Paused) bool {
		for _, a := range p.Awaiting {
			if a.For == what {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// ended waits for the end of the turn.
func (t *talk) ended(want events.Outcome) *events.TurnEnded {
	e := decision(t, func(*events.TurnEnded) bool { return true })
	if e.Outcome != want {
		t.Errorf("the turn ended as %s (%s), expected %s", e.Outcome, e.Reason, want)
	}
	return e
}

// result returns the result of a call that is on its lane.
func (t *talk) result(call string) (result *events.ToolResult, w conformance.Written) {
	for _, w := range t.ReadLane(topology.OfCall(t.Shards(), t.id, events.ChannelCall, call), 0) {
		if r, ok := w.Event.(*events.ToolResult); ok {
			return r, w
		}
	}
	return nil, w
}

// put stores a message of another writer.
func (t *talk) put(channel events.Channel, data string) {
	_, err := t.JS.Publish(t.Within(conformance.Soon), topology.At(t.Shards(), t.id, channel).Subject(topology.Conv), []byte(data))
	t.Must(err)
}

// script is a model that calls tools with arguments, as it writes them, and then ends.
func script(calls ...[2]string) string {
	var b strings.Builder
	b.WriteString("model: rule\nrules:\n  - loop: true\n    steps:\n")
	if len(calls) > 0 {
		b.WriteString("      - calls:\n")
	}
	for _, c := range calls {
		fmt.Fprintf(&b, "          - tool: %s\n            raw: '%s'\n", c[0], c[1])
	}
	b.WriteString("      - text: Done.\n")
	return b.String()
}

// slowly is a model that takes longer than a rule.
const slowly = "model: rule\nrules:\n  - loop: true\n    steps:\n      - delay: 90000\n        text: Done.\n"

// lateMost is how long is watched for something that must not come.
const lateMost = time.Second

// msgID is the message id of an input.
func (i stored) msgID() string { return strings.Join(i.header[jetstream.MsgIDHeader], ",") }
