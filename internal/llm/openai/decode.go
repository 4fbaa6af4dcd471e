package openai

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Decode decodes the body of a Chat Completions answer in all forms that OpenAI
// and compatible hosts send: a stream of chunks, or a complete completion or
// error as one JSON object, whatever was requested. It is an [llm.Decoder].
//
// Only the first choice is read. Several hosts never send [DONE]: an answer
// that has a finish_reason and whose body ended normally is complete and has no
// error. Any other answer without [DONE] is cut. Terminated reports that [DONE]
// or a complete completion was read.
func Decode(body io.Reader) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		d := &decoder{src: &source{r: body}, w: llm.NewWriter(yield)}
		d.read()
		d.end()
	}
}

// source keeps the start of a body, for error messages, and the result of
// reading it.
type source struct {
	r     io.Reader
	first []byte
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if room := 400 - len(s.first); room > 0 {
		s.first = append(s.first, p[:min(n, room)]...)
	}
	if err != nil {
		s.err = err
	}
	return n, err
}

// decoder is the state of one answer.
type decoder struct {
	src *source
	w   *llm.Writer

	whole   bool // the body is one JSON object, not a stream
	done    bool // the terminal sign was seen
	payload bool // anything but white space and comments was seen
	choices bool // a chunk had choices
	err     *events.Error
	usage   *events.Usage
	word    string // finish_reason
	native  string // native_finish_reason of routers: the word of the host behind
	id      string
	model   string

	segment   segment
	calls     calls
	reasoning reasoning
	kept      int // blocks of keep
}

// read decodes the body until its terminal sign or its end.
func (d *decoder) read() {
	br := bufio.NewReader(d.src)
	switch first := peek(br); first {
	case '{', '[':
		d.whole = true
		d.readWhole(br)
		return
	case '<':
		// Enough of the page for its title.
		if _, err := br.Peek(400); err != nil && !errors.Is(err, io.EOF) {
			d.fail(llm.FromBody(err))
			return
		}
		d.fail(llm.FromPayload(d.src.first))
		return
	}
	for ev, err := range llm.ReadSSE(br) {
		if err != nil {
			d.fail(llm.FromBody(err))
			return
		}
		if len(ev.Error) > 0 {
			d.payload = true
			d.fail(llm.FromPayload(ev.Error))
		}
		data := bytes.TrimSpace(ev.Data)
		if len(data) == 0 {
			continue
		}
		d.payload = true
		if string(data) == "[DONE]" {
			d.done = true
			return
		}
		if ev.Event == "error" {
			d.failEvent(data)
			continue
		}
		if !d.data(data, ev.Partial) || d.done {
			return
		}
	}
}

// peek returns the first byte that is neither white space nor part of a byte
// order mark, and leaves it to be read; 0 at the end.
func peek(br *bufio.Reader) byte {
	for {
		b, err := br.ReadByte()
		if err != nil {
			return 0
		}
		switch b {
		case ' ', '\n', '\r', '\t', 0xEF, 0xBB, 0xBF:
			continue
		}
		if br.UnreadByte() != nil {
			return 0
		}
		return b
	}
}

// readWhole decodes a body that is no stream.
func (d *decoder) readWhole(r io.Reader) {
	body, err := io.ReadAll(io.LimitReader(r, llm.MaxLine+1))
	switch {
	case err != nil: // the source has it
		return
	case len(body) > llm.MaxLine:
		d.fail(llm.TooLong())
		return
	}
	d.payload = true
	if !d.data(body, true) {
		return
	}
	if d.choices {
		d.done = true
	} else if d.err == nil && json.Valid(body) {
		d.fail(&events.Error{Class: events.ErrInternal,
			Message: "the answer is JSON without choices, no chat completion: check the base URL: " + string(d.src.first)})
	}
}

// data decodes a payload, which is one JSON value or, from gateways, several in
// a row. It reports whether to read on.
func (d *decoder) data(data []byte, partial bool) bool {
	if valid(data) {
		return d.value(data)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err == nil:
			if !d.value(raw) {
				return false
			}
			continue
		}
		rest := bytes.TrimSpace(data[dec.InputOffset():])
		switch {
		case string(rest) == "[DONE]":
			d.done = true
		case partial && (errors.Is(err, io.ErrUnexpectedEOF) || strings.HasPrefix("[DONE]", string(rest))): // cut, as the end will find
		default:
			d.fail(&events.Error{Class: events.ErrInternal,
				Message: fmt.Sprintf("a piece of the answer is not JSON (%v): %.200q", err, rest)})
		}
		return false
	}
}

// failEvent takes the payload of an "event: error" of any shape.
func (d *decoder) failEvent(data []byte) {
	for key, v := range members(data) {
		if string(key) == "error" && holdsError(v) {
			d.fail(llm.FromPayload(v))
			return
		}
	}
	d.fail(llm.FromPayload(data))
}

// fail records why the answer failed; the first reason counts.
func (d *decoder) fail(err *events.Error) {
	if d.err == nil {
		d.err = err
	}
}

// startedStream reports whether a body without a payload is the start of a
// truncated event stream, and not text of a server or gateway.
func startedStream(body []byte) bool {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	field, _, whole := strings.Cut(line, ":")
	for _, known := range []string{"", "data", "event", "id", "retry"} {
		if field == known && whole || !whole && strings.HasPrefix(known, field) {
			return true
		}
	}
	return false
}

// end ends the answer with the data so far.
func (d *decoder) end() {
	d.calls.finish(d.w)
	d.reasoning.finish(d)
	inOrder := d.src.err == nil || errors.Is(d.src.err, io.EOF)
	switch {
	case d.err != nil || d.done:
	case !inOrder:
		d.err = llm.FromBody(d.src.err)
	case len(d.src.first) == 0:
		d.err = &events.Error{Class: events.ErrCut, Message: "the provider answered with an empty body: try again"}
	case !d.payload && !startedStream(d.src.first):
		d.err = llm.FromPayload(d.src.first)
		d.err.Message = "the answer is not an event stream: " + d.err.Message
	}
	if d.err == nil {
		d.err = failedWord(d.word)
	}
	d.w.End(events.GenerationEnded{
		Finish:     finish(d.word, d.native),
		FinishWord: d.word,
		Terminated: d.done,
		Usage:      d.usage,
		Error:      d.err,
		Model:      d.model,
		ResponseID: d.id,
	})
}
