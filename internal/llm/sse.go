package llm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// MaxLine bounds one line of a provider's stream, one event, and an answer that is
// not streamed, in bytes. A longer one ends the answer with [TooLong]; nothing is
// silently truncated. Workers hold one line of each answer in memory.
const MaxLine = 16 << 20

// TooLong returns the error of an answer with more than [MaxLine] bytes in one
// piece. A retry would get the same.
func TooLong() *events.Error {
	return &events.Error{Class: events.ErrCeiling, Code: ceilings.CodeAnswerBytes,
		Message: fmt.Sprintf("the provider sent more than %d bytes in one piece and was stopped: it may send without end", MaxLine)}
}

// SSEEvent is one event of a text/event-stream body. Its fields are valid until
// the next iteration.
type SSEEvent struct {
	Event string // the event: field; empty if there was none
	Data  []byte // the data: fields, joined by newlines
	Error []byte // llama.cpp's own "error:" field
	// Partial reports that the body ended or broke inside the event: Data may
	// be incomplete.
	Partial bool
}

// ReadSSE reads a text/event-stream in the forms that providers send: LF and
// CRLF, "data:" with and without a space, comments and events without data
// (skipped), a byte order mark, an "event:" that follows data without a blank
// line, a last event without a blank line. A read error is yielded last, alone,
// after the events before it; only the last of these can be incomplete
// (Partial).
//
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, and
// recordings of providers for the deviations.
func ReadSSE(r io.Reader) iter.Seq2[SSEEvent, error] {
	return func(yield func(SSEEvent, error) bool) {
		var ev SSEEvent
		var data []byte // reused from event to event
		flush := func() bool {
			out := ev
			out.Data = data
			ev, data = SSEEvent{}, data[:0]
			return len(out.Data) == 0 && len(out.Error) == 0 || yield(out, nil)
		}
		first := true
		for line, err := range ReadLines(r) {
			if err != nil && line == nil {
				ev.Partial = true
				if flush() {
					yield(SSEEvent{}, err)
				}
				return
			}
			if first {
				line, first = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), false
			}
			if len(line) == 0 {
				if !flush() {
					return
				}
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				if len(data)+len(ev.Error) > 0 && !flush() {
					return
				}
				ev.Event = string(value)
			case "data":
				if len(data)+len(value) > MaxLine {
					yield(SSEEvent{}, TooLong())
					return
				}
				if len(data) > 0 {
					data = append(data, '\n')
				}
				data = append(data, value...)
				ev.Partial = err != nil // a complete payload still counts; the decoder detects an incomplete one
			case "error":
				ev.Error = append(ev.Error, value...)
				ev.Partial = err != nil
			}
		}
		flush()
	}
}

// ReadLines yields the lines of r without their line breaks; a line is valid
// until the next iteration. A last line without a line break is yielded with
// [io.ErrUnexpectedEOF]. A read error is yielded alone, with a nil line; the
// incomplete line is dropped. Escapes of half surrogate pairs are marked for the
// [Writer].
func ReadLines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		br := bufio.NewReaderSize(r, 32<<10)
		var long []byte
		for {
			part, err := br.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				if long = append(long, part...); len(long) > MaxLine {
					yield(nil, TooLong())
					return
				}
				continue
			case err == io.EOF:
				if long = append(long, part...); len(long) > 0 {
					markHalves(long)
					yield(bytes.TrimRight(long, "\r"), io.ErrUnexpectedEOF)
				}
				return
			case err != nil:
				yield(nil, err)
				return
			}
			line := part
			if len(long) > 0 {
				long = append(long, part...)
				line = long
			}
			line = bytes.TrimRight(line, "\r\n")
			markHalves(line)
			if !yield(line, nil) {
				return
			}
			long = long[:0]
		}
	}
}
