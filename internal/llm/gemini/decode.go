package gemini

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Decode decodes the body of an answer: a stream of server-sent events, one complete
// response as JSON, or a list of responses, which the API sends without alt=sse. They
// yield the same events. A finish reason terminates an answer, unless content follows.
func Decode(body io.Reader) llm.Stream { return decode(body, func(bool) {}) }

// decode calls finished when the answer may be complete, and when content follows
// nevertheless.
func decode(body io.Reader, finished func(bool)) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		d := &decoder{w: llm.NewWriter(yield), finished: finished}
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
		if more && d.finish() {
			d.w.End(d.end)
		}
	}
}

// decoder assembles one answer. Its methods report whether to continue reading; they
// return false when the consumer has stopped.
type decoder struct {
	w        *llm.Writer
	finished func(bool)
	kind     string // of the open content block
	block    int    // its number
	reason   string // the finish reason; empty while content follows
	message  string // the provider's text about it
	usage    usage
	about    map[string]json.RawMessage // citations and grounding
	end      events.GenerationEnded
	ended    bool // an error or a terminal sign was read: stop reading
}

// key returns the key of the block for content of a kind: a block continues until
// content of another kind arrives.
func (d *decoder) key(kind string) string {
	if d.kind != kind {
		d.kind = kind
		d.block++
	}
	return strconv.Itoa(d.block)
}

func (d *decoder) readStream(r io.Reader) bool {
	for ev, err := range llm.ReadSSE(r) {
		switch {
		case err != nil:
			// The end of a connection after a complete answer loses nothing. A finish
			// reason before any content is a gateway's.
			if d.reason == "" || !d.w.Wrote() {
				d.end.Error = llm.FromBody(err)
			}
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
		if d.reason != "" && d.w.Wrote() {
			d.finished(true)
		} else {
			d.finished(false)
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
	list := []json.RawMessage{raw}
	if raw[0] == '[' {
		list = nil
		err = json.Unmarshal(raw, &list)
	} else if !json.Valid(raw) {
		err = errors.New("it ends too early")
	}
	if err != nil {
		d.end.Error = &events.Error{Class: events.ErrCut, Message: "the response is not valid JSON: " + err.Error() + ": try again"}
		return true
	}
	known := false
	for _, one := range list {
		var c chunk
		if parse(one, &c) != nil {
			continue
		}
		known = known || c.known()
		if !d.chunk(&c) {
			return false
		}
		if d.ended {
			return true
		}
	}
	if !known {
		d.end.Error = &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the server answered with JSON that is not a response (%.200q): check the provider's base URL", raw)}
	}
	return true
}

// payload decodes the data of one event. Gateways append an error to an unfinished
// event, so data may hold several JSON values, or end in an incomplete one.
func (d *decoder) payload(ev llm.SSEEvent) bool {
	data := bytes.TrimSpace(ev.Data)
	switch string(data) {
	case "":
		return true
	case "[DONE]": // of gateways
		d.ended = true
		return true
	}
	var c chunk
	err := parse(data, &c)
	if err == nil {
		return d.chunk(&c)
	}
	for dec := json.NewDecoder(bytes.NewReader(data)); !d.ended; {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			break
		}
		if c = (chunk{}); parse(raw, &c) == nil && !d.chunk(&c) {
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

// parse decodes JSON and tolerates fields of another type than documented: they stay
// zero.
func parse(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}
