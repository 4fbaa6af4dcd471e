package terminal

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Format is the format of a transcript.
type Format string

// The formats of a transcript.
const (
	FormatText     Format = "text"
	FormatMarkdown Format = "md"
)

// TranscriptEntry is a message of a conversation with its metadata.
type TranscriptEntry struct {
	Time    time.Time // when the log stored it; zero if unknown
	Message events.Message
	Usage   *events.Usage  // of an assistant's message
	Outcome events.Outcome // of the turn, on its last message; else empty
	Reason  string         // of the outcome
	Error   *events.Error  // of the outcome
	// People is what people did to the message's calls, by the calls' ids.
	People map[string]Hand
	// Authors are those of the parts of a user's message, as far as they are known.
	Authors []Author
	Before  string // a remark about the messages before this one; empty when there is none
}

// Hand is what a person did to a call.
type Hand struct {
	By       Author // the person
	Edited   string // the model's arguments, if a person edited those of the message
	Answered bool   // the person gave the result
}

// Transcript writes a whole conversation; nothing is cut. In both formats hidden
// characters are escaped. Markdown is inert: a viewer of the file fetches no image
// and runs no HTML, and each link shows its target. Any other format is an error.
func Transcript(w io.Writer, p Profile, f Format, conversation string, entries []TranscriptEntry) error {
	switch f {
	case FormatText:
		return textTranscript(w, p, conversation, entries)
	case FormatMarkdown:
		return markdownTranscript(w, p, conversation, entries)
	}
	return fmt.Errorf("write the transcript: format %q is unknown, choose %s or %s", f, FormatText, FormatMarkdown)
}

func textTranscript(w io.Writer, p Profile, conversation string, entries []TranscriptEntry) error {
	// A renderer with all options writes the facts.
	r := New(w, p, Options{Reasoning: true, Verbose: true, ShowUser: true})
	if conversation != "" {
		r.note(dim, "conversation "+p.line(conversation))
	}
	r.signed = slices.ContainsFunc(entries, func(e TranscriptEntry) bool {
		return slices.ContainsFunc(e.Authors, func(a Author) bool { return a.Signer != "" })
	})
	for _, e := range entries {
		r.entry(e)
		if err := r.out.flush(); err != nil {
			return err
		}
	}
	return r.Close()
}

func (r *Renderer) entry(e TranscriptEntry) {
	if e.Before != "" {
		r.remark(dim, e.Before)
	}
	if e.Message.By != "" {
		r.written(e.Message)
		r.turnEnded(&events.TurnEnded{Outcome: e.Outcome, Reason: e.Reason, Error: e.Error})
		return
	}
	if e.Message.Role == events.RoleAssistant {
		r.running = 0
		clear(r.names)
	}
	for i, part := range e.Message.Parts {
		switch part.Kind {
		case events.PartCall:
			c := r.call(part.Call, cmp.Or(part.Name, "?"))
			h := e.People[part.Call]
			c.arguments.WriteString(cmp.Or(h.Edited, part.Arguments))
			r.showCall(c)
			if h.Edited != "" {
				edited := r.callCard(c, part.Arguments)
				edited.lead = "edited by " + h.By.text(r.p)
				r.card(edited)
			}
		case events.PartResult:
			r.ended(part.Call, part.Name, end{status: part.Status, content: part.Text, object: part.Object, files: part.Attachments, by: e.answered(r.p, part.Call)})
		case events.PartReasoning:
			r.reasoning(i, part.Text)
		case events.PartText, events.PartRefusal:
			if e.Message.Role == events.RoleUser {
				r.userPart(part)
				if i < len(e.Authors) && e.Authors[i] != (Author{}) && r.signed {
					r.note(dim, r.m.dot+" by "+e.Authors[i].text(r.p))
				}
			} else {
				r.text(part.Text, part.Kind == events.PartRefusal)
			}
		case events.PartImage, events.PartFile:
			r.userPart(part)
		default:
			r.note(dim, "? "+r.p.line(string(part.Kind))+" "+r.p.line(part.Text))
		}
	}
	if facts := e.facts(r.p); len(facts) > 0 && e.Message.Role != events.RoleTool {
		r.note(dim, strings.Join(facts, " "+r.m.dot+" "))
	}
	r.turnEnded(&events.TurnEnded{Outcome: e.Outcome, Reason: e.Reason, Error: e.Error})
}

// written shows a message that a program wrote to the model, not a person.
func (r *Renderer) written(m events.Message) {
	for _, part := range m.Parts {
		r.remark(yellow, r.p.line(m.By)+" to the model: "+r.p.line(part.Text))
	}
}

// facts returns the metadata of a message.
func (e *TranscriptEntry) facts(p Profile) []string {
	var facts []string
	if e.Message.Model != "" {
		facts = append(facts, p.line(strings.TrimPrefix(e.Message.Provider+"/"+e.Message.Model, "/")))
	}
	if n, known := written(e.Usage); known {
		facts = append(facts, count(n, "token"))
	}
	if !e.Time.IsZero() {
		facts = append(facts, e.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return facts
}

// answered returns the person who gave the result of a call; empty if a tool
// did.
func (e *TranscriptEntry) answered(p Profile, call string) string {
	if h := e.People[call]; h.Answered {
		return h.By.text(p)
	}
	return ""
}
