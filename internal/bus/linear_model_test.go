package bus_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
)

// This file is the specification of a lane, which shares nothing with the code that
// it judges: a register that holds the last event of the lane, with
// compare-and-append in place of compare-and-set.

// laneCall is what was called: one operation on a lane.
type laneCall struct {
	kind  laneKind
	event string // that is appended
	after string // the event that it follows; empty for an empty lane
	gen   bool   // a lane that HISTORY does not copy
}

type laneKind string

const (
	laneAppend laneKind = "append" // that stored its event
	laneFenced laneKind = "fenced" // an append learns of another writer's event
	laneLast   laneKind = "last"
	laneExpire laneKind = "expire"
	laneLog    laneKind = "log" // reads the whole lane, directly
)

// laneAnswer is what came back.
type laneAnswer struct {
	seq   uint64 // of the last event; 0 when it is not known
	event string // laneLast: the last event; empty for none
	log   uint64 // laneLog: digest of all events
}

// laneState is the state of the specification.
type laneState struct {
	last    string
	seq     uint64 // of last; 0 when nothing has shown it yet
	floor   uint64 // seq is above it
	expired bool   // the server does not hold last any more
	log     uint64 // digest of all events so far
}

// digest adds events to the digest of a lane's log.
func digest(log uint64, events ...string) uint64 {
	for _, e := range events {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", log, e)
		log = h.Sum64()
	}
	return log
}

// follows reports whether an append after an event is due now. When the lane has
// expired, a writer of an empty lane and that of the last message may append; on a
// gen lane, which has no copy, every writer may (ADR 41).
func (s laneState) follows(c laneCall) bool {
	return c.after == s.last || s.expired && (c.gen || c.after == "")
}

// step is the transition of the specification. It reports whether an operation may
// have this answer in this state.
func (s laneState) step(c laneCall, a laneAnswer) (bool, laneState) {
	switch c.kind {
	case laneAppend:
		floor := max(s.floor, s.seq)
		if !s.follows(c) || a.seq != 0 && a.seq <= floor {
			return false, s
		}
		return true, laneState{last: c.event, seq: a.seq, floor: floor, log: digest(s.log, c.event)}
	case laneFenced: // by another writer, not by its own event
		return !s.follows(c) && s.last != c.event, s
	case laneExpire: // of the log up to an event
		if s.last == c.event && s.last != "" {
			s.expired = true
		}
		return true, s
	case laneLast:
		if s.last == "" || s.expired {
			return a.event == "" && a.seq == 0, s
		}
		ok := a.event == s.last && (a.seq == s.seq || s.seq == 0 && a.seq > s.floor)
		s.seq = a.seq
		return ok, s
	}
	return a.log == s.log, s
}

func laneModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return laneState{} },
		Step: func(state, input, output any) (bool, any) {
			return state.(laneState).step(input.(laneCall), output.(laneAnswer))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v %+v", input, output) },
	}
}

// history records the operations on one lane.
type history struct {
	clock *atomic.Int64
	gen   bool

	mu  sync.Mutex
	ops []recorded
}

// recorded is one operation and how it ended.
type recorded struct {
	porcupine.Operation
	end ending
}

// ending is how an append ended.
type ending string

const (
	acknowledged ending = "acknowledged"
	fenced       ending = "fenced"
	undecided    ending = "undecided" // it failed, and may be stored now or later
)

// call begins an operation; the caller ends it with the answer.
func (h *history) call(client int, c laneCall) func(laneAnswer, ending) {
	c.gen = h.gen
	op := porcupine.Operation{ClientId: client, Input: c, Call: h.clock.Add(1)}
	return func(a laneAnswer, end ending) {
		op.Output, op.Return = a, h.clock.Add(1)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ops = append(h.ops, recorded{op, end})
	}
}

// complete is the history for the checker. What the log holds tells which of the
// appends without an acknowledgement happened: one that happened has its effect
// at any time after its call, and one that did not is left out.
func (h *history) complete(log []string) []porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []porcupine.Operation
	for _, r := range h.ops {
		c := r.Input.(laneCall)
		stored := slices.Contains(log, c.event)
		switch {
		case c.kind != laneAppend || r.end == acknowledged:
		case r.end == undecided && !stored:
			continue
		case r.end == undecided:
			r.Output, r.Return = laneAnswer{}, h.clock.Load()+1_000_000
		default:
			// It was refused, or stored and its acknowledgement lost; in both cases
			// another writer's event came before the answer.
			fence := c
			fence.kind = laneFenced
			op := r.Operation
			op.Input, op.Output = fence, laneAnswer{}
			if stored || c.after == "" || slices.Contains(log, c.after) {
				all = append(all, op)
			} // otherwise it follows an event that was refused, which says the same
			if !stored {
				continue
			}
			r.Output = laneAnswer{}
		}
		all = append(all, r.Operation)
	}
	return all
}

// checkTime bounds the search for an order that explains a history.
const checkTime = time.Minute

// check reports why no order of the operations explains the history; nil when one does.
func (h *history) check(log []string) error {
	h.call(-1, laneCall{kind: laneLog})(laneAnswer{log: digest(0, log...)}, acknowledged)
	ops := h.complete(log)
	result := porcupine.CheckOperationsTimeout(laneModel(), ops, checkTime)
	if result == porcupine.Ok {
		return nil
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	text := ""
	for _, op := range ops {
		text += fmt.Sprintf("\n  %4d-%-4d writer %2d: %s", op.Call, op.Return, op.ClientId, laneModel().DescribeOperation(op.Input, op.Output))
	}
	return fmt.Errorf("the history of the lane is %s:%s\nthe log: %q", result, text, log)
}
