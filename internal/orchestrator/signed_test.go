package orchestrator

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
)

// The keys of tests. Anna has two; the worker's key is that of no identity.
const (
	annasKey = iota + 1
	annasOther
	bensKey
	carlasKey
	bossKey
	workersKey
)

func keyOf(n byte) *identity.Key {
	raw := make([]byte, ed25519.SeedSize)
	raw[0] = n
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteUser, raw)
	if err != nil {
		panic(err) // the length is right
	}
	key, err := identity.ParseKey(seed)
	if err != nil {
		panic(err)
	}
	return key
}

// people are anna, ben and carla of finance, and the boss.
func people() []identity.Identity {
	id := func(name string, keys ...byte) identity.Identity {
		one := identity.Identity{Name: name}
		for _, n := range keys {
			one.Keys = append(one.Keys, keyOf(n).Public())
		}
		return one
	}
	all := []identity.Identity{id("anna", annasKey, annasOther), id("ben", bensKey), id("carla", carlasKey), id("boss", bossKey)}
	for i := range 3 {
		all[i].Groups = []string{"finance"}
	}
	all[3].Tags = []string{"oncall"}
	return all
}

func bookOf(inputs identity.Inputs, all ...identity.Identity) *identity.Book {
	book, at, err := identity.New(all, inputs)
	if err != nil {
		panic(at + ": " + err.Error())
	}
	return book
}

// signedLine is an input signed for a conversation.
func signedLine(key byte, conversation string, e events.Event) events.Line {
	signed, err := keyOf(key).Sign(conversation, overTheWire(e).Raw)
	if err != nil {
		panic(err)
	}
	line, err := events.DecodeLine(signed)
	if err != nil {
		panic(err)
	}
	return line
}

// line writes an input as it is.
func (s *scene) line(l events.Line) []events.Event {
	s.t.Helper()
	s.append(accumulator.Message{Channel: events.ChannelIn, Lines: []events.Line{l}})
	s.foldAll()
	return s.decide()
}

// signed writes an input signed with a key; 0 is no key.
func (s *scene) signed(key byte, e events.Event) []events.Event {
	s.t.Helper()
	if key == 0 {
		return s.in(e)
	}
	return s.line(signedLine(key, s.conversationLog.id, e))
}

func (s *scene) sayAs(key byte, text string) []events.Event {
	s.t.Helper()
	return s.signed(key, &events.UserMessage{ID: s.id(), Text: text})
}

// approval is a deployment in which calls of g need somebody, and one that waits.
func approval(t *testing.T, n events.Need) (s *scene, call string) {
	s = newScene(t)
	s.env.Identities = bookOf(identity.Inputs{}, people()...)
	s.env.Policy = &events.Policy{ReminderMS: 3_600_000, Rules: []events.Rule{{Tool: "g", Action: events.ActionApprove, Reason: "money", Need: n}, {Action: events.ActionAuto}}}
	s.sayAs(carlasKey, "pay")
	p := s.part("g", `{"amount":7}`)
	s.model("", p)
	return s, p.Call
}

// answerTo is the answer to the input of a decision.
func answerTo(t *testing.T, es []events.Event) *events.InputAnswered {
	t.Helper()
	a := only[*events.InputAnswered](es)
	if len(a) != 1 {
		t.Fatalf("%d answers: %s", len(a), written(es))
	}
	return a[0]
}

// ran reports whether a call was requested.
func ran(es []events.Event, call string) bool {
	return slices.ContainsFunc(only[*events.ToolCallRequested](es), func(r *events.ToolCallRequested) bool { return r.Call == call })
}
