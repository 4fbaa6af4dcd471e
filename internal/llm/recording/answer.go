package recording

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Answer is the accumulated content of a stream.
type Answer struct {
	Text      string
	Refusal   string
	Reasoning string
	Summary   string
	Calls     []Call
	End       *events.GenerationEnded
	// Broken lists the rules of [llm.Stream] that the stream violated.
	Broken []string
}

// Call is a tool call of an [Answer], in the order of the starts.
type Call struct {
	Block      int
	ProviderID string
	Name       string
	Arguments  string // as the model wrote them
	Custom     bool
	Invalid    string
	Carry      string
}

// Collect reads a stream to its end and records the violated rules.
func Collect(s llm.Stream) Answer {
	var c collector
	for e, err := range s {
		c.add(e, err)
	}
	if c.answer.End == nil {
		c.broken("the stream has no GenerationEnded")
	}
	for i := range c.calls {
		call := c.calls[i].call
		call.Arguments = c.calls[i].args.String()
		c.answer.Calls = append(c.answer.Calls, call)
	}
	c.answer.Text, c.answer.Refusal = c.text.String(), c.refusal.String()
	c.answer.Reasoning, c.answer.Summary = c.reasoning.String(), c.summary.String()
	return c.answer
}

type collector struct {
	answer                            Answer
	text, refusal, reasoning, summary strings.Builder
	calls                             []*collectedCall
	open                              map[int]*collectedCall // by block
	kinds                             map[int]string         // the kind of each block
}

type collectedCall struct {
	call  Call
	args  strings.Builder
	ended bool
}

func (c *collector) broken(format string, args ...any) {
	c.answer.Broken = append(c.answer.Broken, fmt.Sprintf(format, args...))
}

// block records the kind of content of a block; it may have only one.
func (c *collector) block(n int, kind string) {
	if c.kinds == nil {
		c.kinds, c.open = map[int]string{}, map[int]*collectedCall{}
	}
	if had, ok := c.kinds[n]; ok && had != kind {
		c.broken("block %d holds %s and %s", n, had, kind)
	}
	c.kinds[n] = kind
}

func (c *collector) add(e events.Event, err error) {
	if c.answer.End != nil {
		c.broken("%T follows GenerationEnded", e)
		return
	}
	if _, last := e.(*events.GenerationEnded); err != nil && !last {
		c.broken("%T is yielded with an error: %v", e, err)
	}
	switch e := e.(type) {
	case *events.TextChunk:
		if e.Text == "" {
			c.broken("a TextChunk is empty")
		}
		if e.Refusal {
			c.block(e.Block, "refusal")
			c.refusal.WriteString(e.Text)
			return
		}
		c.block(e.Block, "text")
		c.text.WriteString(e.Text)
	case *events.ReasoningChunk:
		if e.Text == "" && len(e.Carry) == 0 {
			c.broken("a ReasoningChunk is empty")
		}
		c.block(e.Block, "reasoning")
		if e.Summary {
			c.summary.WriteString(e.Text)
			return
		}
		c.reasoning.WriteString(e.Text)
	case *events.ToolCallStart:
		if _, used := c.kinds[e.Block]; used {
			c.broken("call %q starts in block %d, which is used", e.Name, e.Block)
		}
		c.block(e.Block, "a call")
		call := &collectedCall{call: Call{Block: e.Block, ProviderID: e.ProviderID, Name: e.Name, Custom: e.Custom}}
		c.calls = append(c.calls, call)
		c.open[e.Block] = call
	case *events.ToolCallDelta:
		call := c.open[e.Block]
		if call == nil {
			c.broken("a ToolCallDelta is in block %d, which has no open call", e.Block)
			return
		}
		if e.Arguments == "" {
			c.broken("a ToolCallDelta is empty")
		}
		call.args.WriteString(e.Arguments)
	case *events.ToolCallEnd:
		call := c.open[e.Block]
		if call == nil {
			c.broken("a ToolCallEnd is in block %d, which has no open call", e.Block)
			return
		}
		delete(c.open, e.Block)
		call.ended, call.call.Invalid, call.call.Carry = true, e.Invalid, string(e.Carry)
	case *events.GenerationEnded:
		c.end(e, err)
	default:
		c.broken("%T is not an event of an answer", e)
	}
}

func (c *collector) end(e *events.GenerationEnded, err error) {
	c.answer.End = e
	for _, call := range c.calls {
		if !call.ended {
			c.broken("call %q has no ToolCallEnd", call.call.Name)
		}
	}
	if (e.Error != nil) != (err != nil) {
		c.broken("GenerationEnded has error %v, and is yielded with %v", e.Error, err)
	}
	if e.Finish == "" {
		c.broken("GenerationEnded has no Finish")
	}
}
