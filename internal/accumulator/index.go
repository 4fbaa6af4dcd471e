package accumulator

import (
	"crypto/sha256"
	"encoding/json"
	"regexp"

	"github.com/parleybus/parley/internal/events"
)

// index finds calls and turns of a transcript without a linear search. The
// zero value is that of a transcript without entries.
type index struct {
	calls map[string]place // the last call of an id
	turns map[string][]int // the entries of a turn
	// unsure are the calls whose outcome is, or may become, unknown, by tool
	// and canonical arguments.
	unsure map[[2]string][]string
	weak   map[string]bool  // tools of which a worker said that their calls' effect class is too weak
	rounds map[string]round // by call
	ids    *regexp.Regexp
}

// place is the position of a call: an entry of the transcript and a part of
// it.
type place struct{ entry, part int }

// add indexes an entry; at is its position.
func (x *index) add(e entry, at int) {
	if x.turns == nil {
		x.calls, x.turns, x.unsure, x.rounds = map[string]place{}, map[string][]int{}, map[[2]string][]string{}, map[string]round{}
	}
	x.turns[e.turn] = append(x.turns[e.turn], at)
	for i := len(e.message.Parts) - 1; i >= 0; i-- { // of duplicate ids the first counts
		if p := e.message.Parts[i]; p.Kind == events.PartCall {
			x.calls[p.Call] = place{at, i}
		}
	}
}

// endedAs records the status of a call: a call whose outcome may be unknown
// is found by its arguments from now on.
func (t *Transcript) endedAs(call string, status events.Status) {
	switch status {
	case events.StatusWeakEffect:
		if c, ok := t.Call(call); ok {
			if t.index.weak == nil {
				t.index.weak = map[string]bool{}
			}
			t.index.weak[c.Tool] = true
		}
		return
	case events.StatusUnknown, events.StatusTimeout, events.StatusCancelled, events.StatusCrashed:
	default:
		return
	}
	if c, ok := t.Call(call); ok {
		key := [2]string{c.Tool, events.Canonical(c.Arguments)}
		t.index.unsure[key] = append(t.index.unsure[key], call)
	}
}

// OutcomeUnknown reports whether the effect of a call is unknown: a worker
// started it, and its status leaves its effect unknown.
func (c *Called) OutcomeUnknown() bool {
	switch c.Status {
	case events.StatusUnknown:
		return true
	case events.StatusTimeout, events.StatusCancelled, events.StatusCrashed:
		return c.Started
	}
	return false
}

// OutcomeUnknown reports whether an earlier call of the tool with equivalent
// arguments has an unknown outcome; the call except is ignored.
func (t *Transcript) OutcomeUnknown(tool, arguments, except string) bool {
	if t == nil || len(t.index.unsure) == 0 {
		return false
	}
	for _, call := range t.index.unsure[[2]string{tool, events.Canonical(arguments)}] {
		if c, ok := t.Call(call); ok && call != except && c.OutcomeUnknown() {
			return true
		}
	}
	return false
}

// WeakEffect reports whether a worker refused a call of a tool because the tool
// is stricter than the call. Later calls are as strict as can be.
func (t *Transcript) WeakEffect(tool string) bool { return t != nil && t.index.weak[tool] }

// Round is a digest of a call and how it ended. Two rounds of the same call with
// the same result have the same one; ids in either do not make a difference.
type Round [sha256.Size]byte

// round is the last computed Round of a call.
type round struct {
	arguments, content string
	status             events.Status
	digest             Round
}

// Round returns the Round of a call. It is computed once per call and
// result: a turn compares all its calls before each step.
func (t *Transcript) Round(c Called) Round {
	if r, ok := t.index.rounds[c.Call]; ok && r.arguments == c.Arguments && r.status == c.Status && r.content == c.Content {
		return r.digest
	}
	if t.index.ids == nil {
		t.index.ids = regexp.MustCompile(`[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b(?:call|toolu|fc|req|msg|resp)_[0-9A-Za-z_-]+`)
	}
	without := func(text string) string { return t.index.ids.ReplaceAllString(text, "") }
	// Strings always encode.
	raw, _ := json.Marshal([]string{c.Tool, events.Canonical(without(c.Arguments)), string(c.Status), without(c.Content)})
	r := round{c.Arguments, c.Content, c.Status, sha256.Sum256(raw)}
	if _, known := t.index.calls[c.Call]; known {
		t.index.rounds[c.Call] = r
	}
	return r.digest
}

// Size returns how many bytes of text the transcript has, as a model gets them;
// 0 for a nil Transcript.
func (t *Transcript) Size() int64 {
	if t == nil {
		return 0
	}
	return t.size
}

// TextSize returns the size, as in [events.UserMessage.Size], of messages that are not part of a turn.
func (t *Transcript) TextSize(inputs []string) int64 {
	var n int64
	if t == nil {
		return 0
	}
	for _, id := range inputs {
		if m := t.inputs[id]; m != nil {
			n += m.Size()
		}
	}
	return n
}

// sizeOf returns the size of a part of a message, in bytes.
func sizeOf(p events.Part) int64 {
	return int64(len(p.Text) + len(p.Arguments) + len(p.Carry) + len(p.Data))
}
