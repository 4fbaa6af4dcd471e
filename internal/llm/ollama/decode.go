package ollama

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Decode decodes the body of an answer, one JSON object per line; an answer
// without streaming is one line. Only done:true terminates it.
func Decode(body io.Reader) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		d := &decoder{w: llm.NewWriter(yield)}
		empty := true
		for raw, err := range llm.ReadLines(body) {
			cut := errors.Is(err, io.ErrUnexpectedEOF) && len(raw) > 0
			if err != nil && !cut {
				d.end.Error = llm.FromBody(err)
				break
			}
			if raw = bytes.TrimSpace(raw); len(raw) == 0 {
				continue
			}
			empty = false
			if !d.line(raw, cut) {
				return
			}
			if d.ended {
				break
			}
		}
		if empty && d.end.Error == nil {
			d.end.Error = &events.Error{Class: events.ErrCut, Message: "the provider answered with an empty body: try again"}
		}
		d.w.End(d.end)
	}
}

// line is one line of an answer. Fields of another type than documented stay
// zero.
type line struct {
	Model   string `json:"model"`
	Message struct {
		Content   string `json:"content"`
		Thinking  string `json:"thinking"`
		ToolCalls []call `json:"tool_calls"`
	} `json:"message"`
	Done            bool            `json:"done"`
	DoneReason      string          `json:"done_reason"`
	PromptEvalCount *int64          `json:"prompt_eval_count"`
	EvalCount       *int64          `json:"eval_count"`
	Error           json.RawMessage `json:"error"`
}

type call struct {
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// decoder converts lines to events. Its methods report whether to continue
// reading; they return false when the consumer has stopped.
type decoder struct {
	w     *llm.Writer
	kind  string // of the open content block
	block int    // its number
	end   events.GenerationEnded
	ended bool // done or an error was read: stop reading
}

// key returns the key of the block for content of a kind: a block continues
// until content of another kind arrives.
func (d *decoder) key(kind string) string {
	if d.kind != kind {
		d.kind = kind
		d.block++
	}
	return strconv.Itoa(d.block)
}

func (d *decoder) line(raw []byte, cut bool) bool {
	var l line
	err := json.Unmarshal(raw, &l)
	if _, kind := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !kind {
		switch {
		case raw[0] == '<':
			d.end.Error = llm.FromPayload(raw)
		case !cut:
			d.end.Error = &events.Error{Class: events.ErrInternal,
				Message: fmt.Sprintf("the answer holds a line that is not JSON (%v): %.200q", err, raw)}
		}
		d.ended = true
		return true
	}
	if l.Model != "" {
		d.end.Model = l.Model
	}
	m := l.Message
	if m.Thinking != "" && !d.w.Reasoning(d.key("thinking"), m.Thinking, false, nil) {
		return false
	}
	if m.Content != "" && !d.w.Text(d.key("text"), m.Content) {
		return false
	}
	for i, c := range m.ToolCalls {
		if !d.call(c, i) {
			return false
		}
	}
	if len(l.Error) > 0 && string(l.Error) != "null" {
		d.end.Error, d.ended = llm.FromPayload(l.Error), true
		return true
	}
	if l.Done {
		d.done(&l)
	}
	return true
}

// call yields a complete call. Its number is its position: the index that
// servers send is often the same for all.
func (d *decoder) call(c call, i int) bool {
	d.kind = "" // every call is a block
	key := d.key("call " + strconv.Itoa(i))
	args := string(c.Function.Arguments)
	var text string
	switch {
	case args == "null":
		args = ""
	case json.Unmarshal(c.Function.Arguments, &text) == nil:
		args = text // imitators send the arguments as a string
	}
	return d.w.CallStart(key, c.ID, c.Function.Name, false) && d.w.CallDelta(key, args) && d.w.CallEnd(key)
}

func (d *decoder) done(l *line) {
	d.end.Terminated, d.ended = true, true
	d.end.FinishWord = l.DoneReason
	switch l.DoneReason {
	case "stop", "": // old servers give no reason
		d.end.Finish = events.FinishStop
	case "length":
		d.end.Finish = events.FinishLength
	default:
		d.end.Finish = events.FinishOther // load and unload answer empty requests
	}
	if l.PromptEvalCount != nil || l.EvalCount != nil {
		d.end.Usage = &events.Usage{InputTokens: l.PromptEvalCount, OutputTokens: l.EvalCount}
	}
}
