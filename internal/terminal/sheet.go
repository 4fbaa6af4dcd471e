package terminal

import (
	"fmt"
	"io"
	"strings"

	"github.com/parleybus/parley/internal/visible"
)

// section is the kind of the lines being written.
type section int

const (
	sectionNone section = iota
	sectionText
	sectionReasoning
	sectionOutput
	sectionNote
)

// sheet writes sections one below the other. It buffers until flush.
type sheet struct {
	w        io.Writer
	p        Profile
	buf      []byte
	newlines int // at the end of the output; a new sheet counts as 2
	section  section
	of       string // the call whose output is written
	stream   visible.Text
}

func newSheet(w io.Writer, p Profile) *sheet {
	return &sheet{w: w, p: p, newlines: 2, stream: visible.Text{Bad: p.marks().bad}}
}

func (s *sheet) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return fmt.Errorf("show the conversation: %w", err)
	}
	return nil
}

// put writes text that is already clean.
func (s *sheet) put(st style, text string) {
	if text == "" {
		return
	}
	s.buf = append(s.buf, s.p.paint(st, text)...)
	trimmed := strings.TrimRight(text, "\n")
	if trimmed != "" {
		s.newlines = 0
	}
	s.newlines += len(text) - len(trimmed)
}

// fresh starts a new line unless the current one is empty.
func (s *sheet) fresh() {
	if s.newlines == 0 {
		s.put(plain, "\n")
	}
}

// blank writes an empty line unless there is one.
func (s *sheet) blank() {
	s.fresh()
	if s.newlines < 2 {
		s.put(plain, "\n")
	}
}

// end ends a text: it may end in a joiner, or in a CR, which is the newline that
// the next section starts with.
func (s *sheet) end() { s.put(plain, strings.TrimSuffix(string(s.stream.End(nil)), "\n")) }

// enter starts a section. Reasoning is dim; without colours a line marks where
// reasoning and answer start.
func (s *sheet) enter(to section, of string) {
	from := s.section
	if from == to && s.of == of {
		return
	}
	s.end()
	s.section, s.of = to, of
	s.fresh()
	switch {
	case to == sectionReasoning && !s.p.Color:
		s.put(plain, "[reasoning]\n")
	case to == sectionText && from == sectionReasoning && !s.p.Color:
		s.put(plain, "[answer]\n")
	case to == sectionText && from != sectionNone:
		s.blank()
	}
}

// text writes a piece of a text as it arrives.
func (s *sheet) text(to section, st style, piece string) {
	s.enter(to, "")
	s.put(st, string(s.stream.Append(nil, piece)))
}

// print writes a piece of a tool's output with a prefix before each line.
func (s *sheet) print(call, prefix, piece string) {
	s.enter(sectionOutput, call)
	text := string(s.stream.Append(nil, piece))
	for line := range strings.Lines(text) {
		if s.newlines > 0 {
			line = prefix + line
		}
		s.put(dim, line)
	}
}

// note writes whole lines of the renderer.
func (s *sheet) note(st style, text string) {
	s.enter(sectionNote, "")
	s.put(st, text)
	s.put(plain, "\n")
}

// block writes a whole text of others, indented, below a note.
func (s *sheet) block(text string) {
	s.enter(sectionNote, "")
	for line := range strings.Lines(s.p.clean(text)) {
		s.put(dim, "    "+strings.TrimSuffix(line, "\n"))
		s.put(plain, "\n")
	}
}

// quote writes a person's message.
func (s *sheet) quote(text string) {
	s.enter(sectionNote, "")
	s.blank()
	for line := range strings.Lines(s.p.clean(text)) {
		s.put(bold, "> "+strings.TrimSuffix(line, "\n"))
		s.put(plain, "\n")
	}
}
