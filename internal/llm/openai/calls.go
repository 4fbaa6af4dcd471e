package openai

import (
	"strconv"

	"github.com/parleybus/parley/internal/llm"
)

// calls assembles the tool calls of an answer from their pieces. The tests show
// the deviations of hosts.
type calls struct {
	all     []*call
	byIndex map[string]*call // by the text of the index: it may be "1", -1 or huge
	byID    map[string]*call
	started int // number of calls whose start was yielded, in order
}

// call is one tool call. Its start is delayed until the name is known, and the
// id or the first arguments: hosts send them in separate pieces.
type call struct {
	key      string // for the writer
	index    string
	id       string
	name     string
	custom   bool
	started  bool
	pending  []string // arguments before the start
	extra    object   // unknown fields of the call, to be sent back
	function object   // and of its function
}

// piece is the content of one entry of tool_calls.
type piece struct {
	index, id, name, args string
	custom                bool
	extra, function       object
}

// call decodes an entry of tool_calls.
func (d *decoder) call(raw []byte) bool {
	var p piece
	for key, v := range members(raw) {
		switch string(key) {
		case "index":
			p.index = text(v)
		case "id":
			p.id = text(v)
		case "type":
			p.custom = p.custom || text(v) == "custom"
		case "function":
			p.read(v)
		case "custom":
			p.custom = p.custom || !isNull(v)
			p.read(v)
		default:
			p.extra.set(string(key), v)
		}
	}
	return d.take(p)
}

// function decodes the one call of a legacy function_call field.
func (d *decoder) function(raw []byte) bool {
	p := piece{index: "function_call"}
	p.read(raw)
	return d.take(p)
}

func (p *piece) read(function []byte) {
	for key, v := range members(function) {
		switch string(key) {
		case "name":
			p.name = text(v)
		case "arguments", "input":
			p.args = text(v) // null is nothing, an object its JSON
		default:
			p.function.set(string(key), v)
		}
	}
}

func (d *decoder) take(p piece) bool {
	c := d.calls.find(p)
	if c == nil {
		return true
	}
	if c.id == "" && p.id != "" {
		c.id = p.id
		d.calls.byID[p.id] = c
	}
	if c.name == "" {
		c.name = p.name
	}
	c.custom = c.custom || p.custom
	for _, key := range p.extra.keys {
		c.extra.set(key, p.extra.values[key])
	}
	for _, key := range p.function.keys {
		c.function.set(key, p.function.values[key])
	}
	d.segment.kind = "" // text after a call is a new block
	if c.started {
		return d.w.CallDelta(c.key, p.args)
	}
	if p.args != "" {
		c.pending = append(c.pending, p.args)
	}
	return d.calls.advance(d.w, false)
}

// find returns the call that a piece belongs to, a new one, or nil if the piece
// is empty.
func (cs *calls) find(p piece) *call {
	var last *call
	if n := len(cs.all); n > 0 {
		last = cs.all[n-1]
	}
	switch {
	case p.index != "":
		c := cs.byIndex[p.index]
		if c != nil && p.name != "" && p.id != "" && c.id != "" && p.id != c.id {
			c = nil // another call under the same index
		}
		if c == nil && p.id == "" && p.name == "" && last != nil && last.index == "" {
			c = last // the index is missing only in the first piece
			c.index = p.index
			cs.byIndex[p.index] = c
		}
		if c != nil {
			return c
		}
	case p.id != "":
		if c := cs.byID[p.id]; c != nil {
			return c
		}
	case p.name == "" && last != nil:
		return last
	}
	if p.id == "" && p.name == "" && p.args == "" {
		return nil
	}
	c := &call{key: strconv.Itoa(len(cs.all)), index: p.index}
	cs.all = append(cs.all, c)
	if cs.byIndex == nil {
		cs.byIndex, cs.byID = map[string]*call{}, map[string]*call{}
	}
	if p.index != "" {
		cs.byIndex[p.index] = c
	}
	return c
}

// advance starts, in order, the calls that are ready; all of them at the end.
func (cs *calls) advance(w *llm.Writer, end bool) bool {
	for ; cs.started < len(cs.all); cs.started++ {
		c := cs.all[cs.started]
		last := cs.started == len(cs.all)-1
		ready := c.name != "" && (c.id != "" || len(c.pending) > 0 || !last)
		if !ready && !end {
			return true
		}
		if !w.CallStart(c.key, c.id, c.name, c.custom) {
			return false
		}
		for _, args := range c.pending {
			if !w.CallDelta(c.key, args) {
				return false
			}
		}
		c.started, c.pending = true, nil
	}
	return true
}

// finish starts the remaining calls and stores the data to send back. The
// writer ends the calls.
func (cs *calls) finish(w *llm.Writer) {
	if !cs.advance(w, true) {
		return
	}
	for _, c := range cs.all {
		if f := c.function.raw(); f != nil {
			c.extra.set("function", f)
		}
		if carry := c.extra.raw(); carry != nil {
			w.CallCarry(c.key, carry)
		}
	}
}
