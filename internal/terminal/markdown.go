package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

func markdownTranscript(w io.Writer, p Profile, conversation string, entries []TranscriptEntry) error {
	m := markdown{p: p}
	if conversation != "" {
		m.paragraph("# Conversation " + span(p.line(conversation)))
	}
	for _, e := range entries {
		m.entry(e)
	}
	if _, err := w.Write(m.buf.Bytes()); err != nil {
		return fmt.Errorf("write the transcript: %w", err)
	}
	return nil
}

// markdown builds a document of paragraphs separated by an empty line.
type markdown struct {
	p   Profile
	buf bytes.Buffer
}

func (m *markdown) paragraph(text string) {
	if m.buf.Len() > 0 {
		m.buf.WriteByte('\n')
	}
	m.buf.WriteString(text)
	if !strings.HasSuffix(text, "\n") {
		m.buf.WriteByte('\n')
	}
}

// content returns a text of a model, tool or person: cleaned for a terminal,
// unchanged for a file.
func (m *markdown) content(text string) string {
	if m.p.Width > 0 {
		return m.p.clean(text)
	}
	return text
}

func (m *markdown) entry(e TranscriptEntry) {
	switch e.Message.Role {
	case events.RoleTool: // shown with the assistant's calls
	case events.RoleUser:
		m.heading("User", e)
	case events.RoleAssistant:
		m.heading("Assistant", e)
	default:
		m.heading(m.p.line(string(e.Message.Role)), e)
	}
	for _, part := range e.Message.Parts {
		m.part(part, &e)
	}
	if st, text := ending(m.p, e.Outcome, e.Reason, e.Error); st != plain {
		m.paragraph("**Turn ended:** " + span(text))
	}
}

func (m *markdown) heading(who string, e TranscriptEntry) {
	m.paragraph("## " + strings.Join(append([]string{who}, e.facts(m.p)...), " · "))
}

func (m *markdown) part(part events.Part, e *TranscriptEntry) {
	text := m.content(part.Text)
	switch part.Kind {
	case events.PartCall:
		m.call(part, e.People[part.Call])
		if part.Invalid != "" {
			m.paragraph("**Cannot run:** " + span(m.p.line(part.Invalid)))
		}
	case events.PartResult:
		by := e.answered(m.p, part.Call)
		if by != "" {
			by = " · answered by " + span(by)
		}
		m.paragraph("**Result** " + span(m.p.line(part.Name)) + " · " + m.p.line(ended(part.Status)) + by)
		m.fenced(text)
		if o := part.Object; o != nil {
			m.paragraph(fmt.Sprintf("Preview; the whole content (%s) is object %s in bucket %s.",
				size(o.Size), span(m.p.line(o.Name)), span(m.p.line(o.Bucket))))
		}
		for _, f := range part.Attachments {
			m.paragraph("**Attached** " + span(attached(m.p, f)))
		}
	case events.PartReasoning:
		if text != "" {
			m.paragraph("**Reasoning**")
			m.fenced(text)
		}
	default:
		if part.Kind == events.PartRefusal {
			m.paragraph("**Refusal**")
		}
		m.paragraph(text)
		if open := openFence(text); open != "" {
			// An answer cut inside a code block must not include the text after it.
			m.buf.WriteString(open + "\n")
		}
	}
}

// call writes a call with the arguments it ran with, and the model's arguments
// if a person edited them.
func (m *markdown) call(part events.Part, h Hand) {
	arguments := func(raw string) {
		if !part.Custom {
			raw = string(events.Arguments(raw))
		}
		m.fenced(m.content(raw))
	}
	head := "**Call** " + span(m.p.line(part.Name))
	if h.Edited == "" {
		m.paragraph(head)
		arguments(part.Arguments)
		return
	}
	m.paragraph(head + " · edited by " + span(someone(m.p, h.By)))
	arguments(part.Arguments)
	m.paragraph("The model wrote:")
	arguments(h.Edited)
}

// fenced writes a text as a code block with a fence longer than any run of
// backticks in the text.
func (m *markdown) fenced(text string) {
	fence := strings.Repeat("`", max(3, longestRun(text)+1))
	language := ""
	if json.Valid([]byte(text)) {
		language = "json"
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	m.paragraph(fence + language + "\n" + text + fence)
}

// span returns one line of text as inline code.
func span(text string) string {
	if text == "" {
		text = "?"
	}
	run := strings.Repeat("`", longestRun(text)+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return run + text + run
}

func longestRun(text string) int {
	longest, run := 0, 0
	for i := range len(text) {
		if text[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// openFence returns the fence of a code block that text leaves open, or "".
// Code in a list needs none: it ends with its item.
func openFence(text string) string {
	var b blocks
	b.add(strings.TrimSuffix(text, "\n") + "\n")
	if b.kind == blockList {
		return ""
	}
	return b.fence
}
