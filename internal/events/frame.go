package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Line is one event of a frame with its original bytes. Raw is what viewers
// show and what is passed on; it holds fields this version does not know.
type Line struct {
	Event Event
	Raw   json.RawMessage
}

// MarshalJSON returns Raw, or encodes Event when there is none.
func (l Line) MarshalJSON() ([]byte, error) {
	if len(l.Raw) > 0 {
		return l.Raw, nil
	}
	if l.Event == nil {
		return nil, fmt.Errorf("a line without an event cannot be encoded")
	}
	return Append(nil, l.Event)
}

// UnmarshalJSON decodes one event of a [Decision]. A Decision inside a Decision
// is refused: nesting would cost quadratic time.
func (l *Line) UnmarshalJSON(raw []byte) error {
	if name, err := typeOf(raw); err == nil && name == "Decision" {
		return &BadEventError{Name: name, Text: "a Decision cannot hold a Decision"}
	}
	d, err := DecodeLine(bytes.Clone(raw))
	if err == nil {
		*l = d
	}
	return err
}

// MaxLines bounds the events of a frame.
const MaxLines = 4096

// ErrTooManyLines means that a frame holds more than [MaxLines] events.
var ErrTooManyLines = errors.New("the frame has too many lines")

// DecodeFrame decodes the payload of a message: one event per line, at most
// [MaxLines] of them. The lines refer to data. An error names the line; the
// lines before it are returned.
func DecodeFrame(data []byte) ([]Line, error) {
	lines := make([]Line, 0, 1)
	for n := 1; len(data) > 0; n++ {
		row, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		if len(bytes.TrimSpace(row)) == 0 {
			continue
		}
		if len(lines) == MaxLines {
			return lines, fmt.Errorf("line %d of the frame: %w: send at most %d events in one message", n, ErrTooManyLines, MaxLines)
		}
		l, err := DecodeLine(row)
		if err != nil {
			return lines, fmt.Errorf("line %d of the frame: %w", n, err)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("the frame is empty: it must hold one JSON object per line")
	}
	return lines, nil
}

// typeOf returns the type of an event, also when it is not the first field.
func typeOf(raw []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(raw, []byte(`{"type":"`)); ok {
		if n := bytes.IndexAny(rest, "\"\\"); n > 0 && rest[n] == '"' {
			return string(rest[:n]), nil
		}
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", bad("", raw, err)
	}
	if head.Type == "" {
		return "", &BadEventError{ID: ID(raw), Text: `has no "type"`}
	}
	return head.Type, nil
}

// DecodeLine decodes one event. A type this version does not know gives an
// [Unknown], never an error.
func DecodeLine(raw []byte) (Line, error) {
	raw = bytes.TrimSpace(raw)
	if !utf8.Valid(raw) {
		return Line{}, &BadEventError{ID: ID(raw), Text: "is not valid UTF-8"}
	}
	if e := decodeHot(raw); e != nil {
		return Line{Event: e, Raw: raw}, nil
	}
	name, err := typeOf(raw)
	if err != nil {
		return Line{}, err
	}
	e := New(name)
	if e == nil {
		e = &Unknown{Name: name, Raw: raw}
	}
	into := any(e)
	if _, ok := e.(*Unknown); ok {
		into = new(map[string]json.RawMessage) // whole JSON all the same
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return Line{}, bad(name, raw, err)
	}
	return Line{Event: e, Raw: raw}, nil
}

// AppendFrame appends events as a frame, one per line, at most [MaxLines] of
// them.
func AppendFrame(dst []byte, es ...Event) ([]byte, error) {
	if len(es) > MaxLines {
		return dst, fmt.Errorf("%d events in one frame: %w: send at most %d in one message", len(es), ErrTooManyLines, MaxLines)
	}
	for i, e := range es {
		if i > 0 {
			dst = append(dst, '\n')
		}
		var err error
		if dst, err = Append(dst, e); err != nil {
			return dst, err
		}
	}
	return dst, nil
}
