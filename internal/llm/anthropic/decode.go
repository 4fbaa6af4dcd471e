package anthropic

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Decode decodes the body of an answer: a stream of server-sent events, or one
// complete message as JSON, which yields the same events. Only message_stop, or
// a complete message, terminates an answer.
func Decode(body io.Reader) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		d := &decoder{w: llm.NewWriter(yield), open: map[int]*block{}, given: map[int]json.RawMessage{}}
		br := bufio.NewReaderSize(body, 32<<10)
		first, err := llm.FirstByte(br)
		more := true
		switch {
		case errors.Is(err, io.EOF):
			d.end.Error = &events.Error{Class: events.ErrCut, Message: "the provider answered with an empty body: try again"}
		case err != nil:
			d.end.Error = llm.FromBody(err)
		case first == '{' || first == '[':
			more = d.readWhole(br)
		case first == '<':
			d.end.Error = llm.FromPage(br)
		default:
			more = d.readStream(br)
		}
		if !more || !d.early(math.MaxInt, false) {
			return
		}
		d.w.End(d.end)
	}
}

func notAnswer(what string) *events.Error {
	return &events.Error{Class: events.ErrInvalidRequest,
		Message: "the server answered with " + what + " instead of a message or a stream: check the provider's base URL"}
}

// decoder assembles one answer. Its methods report whether to continue reading;
// they return false when the consumer has stopped.
type decoder struct {
	w       *llm.Writer
	open    map[int]*block          // by the provider's index
	given   map[int]json.RawMessage // blocks of message_start that were not yielded yet, by index
	began   int                     // number of started blocks: indexes repeat behind faulty gateways
	unclear *block                  // a call that ended with arguments that may have been cut
	end     events.GenerationEnded
	ended   bool // the terminal sign or an error was read: stop reading
}

func (d *decoder) readStream(r io.Reader) bool {
	for ev, err := range llm.ReadSSE(r) {
		switch {
		case err != nil:
			d.end.Error = llm.FromBody(err)
			return true
		case len(ev.Error) > 0:
			d.end.Error = llm.FromPayload(ev.Error)
			return true
		}
		if !d.payload(ev) {
			return false
		}
		if d.ended {
			return true
		}
	}
	return true
}

func (d *decoder) readWhole(r io.Reader) bool {
	raw, err := io.ReadAll(io.LimitReader(r, llm.MaxLine+1))
	if err != nil {
		d.end.Error = llm.FromBody(err)
		return true
	}
	if len(raw) > llm.MaxLine {
		d.end.Error = llm.TooLong()
		return true
	}
	var f frame
	switch err := parse(raw, &f); {
	case err != nil:
		d.end.Error = &events.Error{Class: events.ErrCut, Message: "the message is not valid JSON: " + err.Error() + ": try again"}
	case f.Type == "message" || f.Type == "error" || f.failed():
		return d.dispatch(&f, raw)
	default:
		d.end.Error = notAnswer(fmt.Sprintf("JSON that is not a message (%.200q)", raw))
	}
	return true
}

// payload decodes the data of one event. Gateways append an error to an
// unfinished event, so data may hold several JSON values, or end in an
// incomplete one.
func (d *decoder) payload(ev llm.SSEEvent) bool {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 || string(data) == "[DONE]" {
		return true
	}
	f := frame{}
	err := parse(data, &f)
	if err == nil {
		f.Type = cmp.Or(f.Type, ev.Event)
		return d.dispatch(&f, data)
	}
	for dec := json.NewDecoder(bytes.NewReader(data)); !d.ended; {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			break
		}
		if f = (frame{}); parse(raw, &f) == nil && !d.dispatch(&f, raw) {
			return false
		}
	}
	switch {
	case d.ended:
	case ev.Event == "error":
		d.end.Error, d.ended = llm.FromPayload(data), true
	case ev.Partial:
		d.ended = true // cut inside the event
	default:
		d.end.Error, d.ended = &events.Error{Class: events.ErrInternal,
			Message: fmt.Sprintf("the stream holds data that is not JSON (%v): %.200q", err, data)}, true
	}
	return true
}

// parse decodes JSON and tolerates fields of another type than documented: they
// stay zero.
func parse(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}
