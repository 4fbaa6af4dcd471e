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
	m := markdown{p: p, defuser: newDefuser()}
	m.transcript(conversation, entries)
	if _, ok := m.inspect(m.buf.String()); !ok {
		// Texts that are harmless one by one are not when they are together.
		m = markdown{p: p, defuser: m.defuser, quote: true}
		m.transcript(conversation, entries)
	}
	if _, err := w.Write(m.buf.Bytes()); err != nil {
		return fmt.Errorf("write the transcript: %w", err)
	}
	return nil
}

func (m *markdown) transcript(conversation string, entries []TranscriptEntry) {
	if conversation != "" {
		m.paragraph("# Conversation " + InlineCode(m.p.line(conversation)))
	}
	for _, e := range entries {
		m.entry(e)
	}
}

// markdown builds a document of paragraphs separated by an empty line.
type markdown struct {
	p     Profile
	buf   bytes.Buffer
	quote bool // every text is a code block
	*defuser
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

// words writes a text of a model or a person. One that cannot be made harmless is
// shown as code.
func (m *markdown) words(text string) {
	text, ok := m.inert(m.p.clean(text))
	if m.quote || !ok {
		m.fenced(text)
		return
	}
	m.paragraph(text)
	if open := openFence(text); open != "" {
		// An answer cut inside a code block must not include the text after it.
		m.buf.WriteString(open + "\n")
	}
}

// fact returns one line of others for a heading or a sentence.
func (m *markdown) fact(line string) string {
	if text, ok := m.inert(line); ok && !m.quote {
		return text
	}
	return InlineCode(line)
}

func (m *markdown) entry(e TranscriptEntry) {
	if e.Before != "" {
		m.paragraph("*" + m.fact(e.Before) + "*")
	}
	switch e.Message.Role {
	case events.RoleTool: // shown with the assistant's calls
	case events.RoleUser:
		who := "User"
		if e.Message.By != "" {
			who = m.p.line(e.Message.By) + " to the model"
		}
		m.heading(who, e)
	case events.RoleAssistant:
		m.heading("Assistant", e)
	default:
		m.heading(m.p.line(string(e.Message.Role)), e)
	}
	for _, part := range e.Message.Parts {
		m.part(part, &e)
	}
	if st, text := ending(m.p, e.Outcome, e.Reason, e.Error); st != plain {
		m.paragraph("**Turn ended:** " + InlineCode(text))
	}
}

func (m *markdown) heading(who string, e TranscriptEntry) {
	m.paragraph("## " + m.fact(strings.Join(append([]string{who}, e.facts(m.p)...), " · ")))
}

func (m *markdown) part(part events.Part, e *TranscriptEntry) {
	text := m.p.clean(part.Text)
	switch part.Kind {
	case events.PartCall:
		m.call(part, e.People[part.Call])
		if part.Invalid != "" {
			m.paragraph("**Cannot run:** " + InlineCode(m.p.line(part.Invalid)))
		}
	case events.PartResult:
		by := e.answered(m.p, part.Call)
		if by != "" {
			by = " · answered by " + InlineCode(by)
		}
		m.paragraph("**Result** " + InlineCode(m.p.line(part.Name)) + " · " + m.fact(m.p.line(ended(part.Status))) + by)
		m.fenced(text)
		if o := part.Object; o != nil {
			m.paragraph(fmt.Sprintf("Preview; the whole content (%s) is object %s in bucket %s.",
				size(o.Size), InlineCode(m.p.line(o.Name)), InlineCode(m.p.line(o.Bucket))))
		}
		for _, f := range part.Attachments {
			m.paragraph("**Attached** " + InlineCode(attached(m.p, f)))
		}
	case events.PartImage, events.PartFile:
		m.paragraph("**Attached** " + InlineCode(sent(m.p, part)))
	case events.PartReasoning:
		if text != "" {
			m.paragraph("**Reasoning**")
			m.fenced(text)
		}
	default:
		if part.Kind == events.PartRefusal {
			m.paragraph("**Refusal**")
		}
		m.words(part.Text)
	}
}

// call writes a call with the arguments it ran with, and the model's arguments
// if a person edited them.
func (m *markdown) call(part events.Part, h Hand) {
	arguments := func(raw string) {
		if !part.Custom {
			raw = string(events.Arguments(raw))
		}
		m.fenced(m.p.clean(raw))
	}
	head := "**Call** " + InlineCode(m.p.line(part.Name))
	if h.Edited == "" {
		m.paragraph(head)
		arguments(part.Arguments)
		return
	}
	m.paragraph(head + " · edited by " + InlineCode(h.By.text(m.p)))
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

// InlineCode returns one line of text as inline code of Markdown.
func InlineCode(text string) string {
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
