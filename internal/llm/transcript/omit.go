package transcript

import (
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// omissions returns what to leave out of each message. There are two reasons: the
// request says so, because the provider has just refused the whole; or the model
// has answered a request that left it out, and what it wrote then is bound to the
// history as it was sent.
//
// Of the turn in which something is left out, only the carries are: its messages and
// results are what the answer is about.
func omissions(name string, req llm.Request) []events.Omission {
	levels := make([]events.Omission, len(req.Messages))
	older := events.OmitNothing // of the turns before this one
	before := req.Omit          // of the turns before the one that the index is in, once it is passed
	turn := atMost(req.Omit)    // of the turn that the index is in
	for i := len(req.Messages) - 1; i >= 0; i-- {
		m := req.Messages[i]
		if i < len(req.Messages)-1 && m.Role != events.RoleUser && req.Messages[i+1].Role == events.RoleUser {
			older, before, turn = stronger(older, before), events.OmitNothing, events.OmitNothing
		}
		levels[i] = stronger(older, turn)
		if m.Role == events.RoleAssistant && m.Omitted.Includes(events.OmitCarries) && own(name, req, m) {
			before, turn = stronger(before, m.Omitted), events.OmitCarries
		}
	}
	return levels
}

// blindUpTo returns the index of the last message that the model wrote after it had
// refused the images and files before it: they are left out again, so that its
// reasoning fits, and it need not refuse them again.
func blindUpTo(name string, req llm.Request) int {
	for i := len(req.Messages) - 1; i >= 0; i-- {
		if m := req.Messages[i]; m.Omitted == events.OmitImages && own(name, req, m) {
			return i
		}
	}
	return 0
}

// atMost returns what is left out of the running turn.
func atMost(o events.Omission) events.Omission {
	if o == events.OmitNothing {
		return o
	}
	return events.OmitCarries
}

func stronger(a, b events.Omission) events.Omission {
	if b.Includes(a) {
		return b
	}
	return a
}
