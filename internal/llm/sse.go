package llm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxLine bounds one line of a provider's stream, in bytes. A line beyond it
// ends the stream with an error: nothing is silently cut.
const MaxLine = 64 << 20

// SSEEvent is one event of a text/event-stream body. Its fields are valid until
// the next one is asked for.
type SSEEvent struct {
	Event string // the event: field, empty when there was none
	Data  []byte // the data: fields, joined by newlines
	Error []byte // llama.cpp's own "error:" field
	// Partial says that the body ended inside the last line: Data may be half.
	Partial bool
}

// ReadSSE reads a text/event-stream as providers really send it: LF, CRLF or CR
// free of rules about blank lines at the end, "data:" with and without a space,
// comments (skipped), a byte order mark, an "event:" that follows data without
// a blank line. A read error is yielded last; what came before it was whole.
//
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, and
// PROVIDERS.md 38 to 46 for what providers make of it.
func ReadSSE(r io.Reader) iter.Seq2[SSEEvent, error] {
	return func(yield func(SSEEvent, error) bool) {
		var ev SSEEvent
		var data []byte // reused from event to event
		var has bool
		flush := func() bool {
			out := ev
			out.Data = data
			had := has
			ev, data, has = SSEEvent{}, data[:0], false
			return !had || yield(out, nil)
		}
		first := true
		for line, err := range ReadLines(r) {
			if err != nil {
				if errors.Is(err, io.ErrUnexpectedEOF) {
					// The body ended inside a line. A whole payload still counts;
					// half a one is for the decoder to find.
					if field, value, ok := bytes.Cut(line, []byte(":")); ok && string(field) == "data" {
						data, has = append(data, bytes.TrimPrefix(value, []byte(" "))...), true
						ev.Partial = true
					}
					flush()
					return
				}
				yield(SSEEvent{}, err)
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
				if has && !flush() {
					return
				}
				ev.Event = string(value)
			case "data":
				if len(data) > 0 {
					data = append(data, '\n')
				}
				data, has = append(data, value...), true
			case "error":
				ev.Error, has = append(ev.Error, value...), true
			}
		}
		flush()
	}
}

// ReadLines yields the lines of r without their ends; a line is valid until the
// next one is asked for. A last line without an end comes with
// [io.ErrUnexpectedEOF]; any other read error comes alone.
func ReadLines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		br := bufio.NewReaderSize(r, 32<<10)
		var long []byte
		for {
			part, err := br.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				if long = append(long, part...); len(long) > MaxLine {
					yield(nil, fmt.Errorf("a line of the stream is longer than %d bytes", MaxLine))
					return
				}
				continue
			case err == io.EOF:
				if long = append(long, part...); len(long) > 0 {
					yield(long, io.ErrUnexpectedEOF)
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
			if !yield(line, nil) {
				return
			}
			long = long[:0]
		}
	}
}
