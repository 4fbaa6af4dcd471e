// Package transcript fits a conversation's transcript to the model that is called
// next. Another model may have written a part of it, a turn may have failed, and a
// host may refuse what another one accepts. It is pure: the same transcript gives
// the same messages in every request, so that prompt caches and reasoning that is
// bound to its prefix stay valid.
package transcript

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Rules are a host's demands on the order of messages.
type Rules struct {
	// Join joins neighbouring messages of one role.
	Join bool
	// Bridge puts an answer between results and a user's message. Chat templates
	// that demand alternation do not count a message with calls as an answer.
	Bridge bool
	// Media is what the host takes besides text. nil leaves images and files as they
	// are; those that the request leaves out become text all the same.
	Media *Media
}

// unanswered is the text of a bridge.
const unanswered = "(This turn ended before there was an answer.)"

// Fit returns the messages of a request to the named provider. Messages of another
// provider or model have no carries and an empty Provider; adapters send provider
// ids and carries only of messages whose Provider is their own. Empty texts and
// messages are left out. req.Messages is not changed.
func Fit(name string, req llm.Request, rules Rules) []events.Message {
	levels := omissions(name, req)
	blind := blindUpTo(name, req)
	var out []events.Message
	var images []events.Part // of results, to follow them
	for i, m := range req.Messages {
		level := levels[i]
		if level.Includes(events.OmitTurns) || level.Includes(events.OmitCalls) && m.Role == events.RoleTool {
			continue
		}
		m = fitted(m, req, own(name, req, m) && level == events.OmitNothing, level.Includes(events.OmitCalls))
		m, follow := rules.attach(m, req, req.NoImages || i < blind)
		if m.Role != events.RoleTool {
			out, images = rules.follow(out, images), nil
		}
		images = append(images, follow...)
		if m.Role == events.RoleUser && len(m.Parts) == 0 && i == len(req.Messages)-1 {
			m.Parts = []events.Part{{Kind: events.PartText, Text: "(empty message)"}} // a request must end with a question
		}
		if rules.Join && m.Role == events.RoleAssistant && !slices.ContainsFunc(m.Parts, answers) {
			continue
		}
		if len(m.Parts) == 0 && (m.Role == events.RoleUser || m.Role == events.RoleAssistant || m.Role == events.RoleTool) {
			continue // the adapter refuses an unknown role
		}
		out = rules.add(out, m)
	}
	return rules.bounded(rules.follow(out, images))
}

// own reports whether the model that is asked wrote a message.
func own(name string, req llm.Request, m events.Message) bool {
	return m.Provider == name && (m.Model == "" || m.Model == req.Model)
}

// add appends a message, or joins it with the last one.
func (r Rules) add(out []events.Message, m events.Message) []events.Message {
	if len(out) == 0 {
		return append(out, m)
	}
	last := &out[len(out)-1]
	switch {
	case r.Bridge && m.Role == events.RoleUser && last.Role == events.RoleTool:
		out = append(out, events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: unanswered}}})
	case r.Join && m.Role == events.RoleUser && last.Role == events.RoleUser:
		last.Parts = slices.Concat(last.Parts, m.Parts)
		return out
	case r.Join && m.Role == events.RoleAssistant && last.Role == events.RoleAssistant && plain(*last):
		between := events.Part{Kind: events.PartText, Text: "\n\n"}
		last.Parts = slices.Concat(last.Parts, []events.Part{between}, m.Parts)
		last.Provider, last.Model = m.Provider, m.Model
		return out
	}
	return append(out, m)
}

// answers reports whether a part makes an answer: hosts that want alternation have no
// message of reasoning alone.
func answers(p events.Part) bool { return p.Kind != events.PartReasoning }

// plain reports whether a message has only text, and nothing that belongs to the
// message as a whole.
func plain(m events.Message) bool {
	return !slices.ContainsFunc(m.Parts, func(p events.Part) bool { return p.Kind != events.PartText || len(p.Carry) > 0 })
}

// fitted returns a message as the model may get it.
func fitted(m events.Message, req llm.Request, own, textOnly bool) events.Message {
	parts := make([]events.Part, 0, len(m.Parts))
	for _, p := range m.Parts {
		switch p.Kind {
		case events.PartText, events.PartRefusal:
			if strings.TrimSpace(p.Text) == "" && len(p.Carry) == 0 {
				continue // most hosts refuse it, even those that sent it
			}
		case events.PartReasoning:
			if !own {
				if req.TellReasoning && strings.TrimSpace(p.Text) != "" {
					parts = append(parts, asText(m, p))
				}
				continue
			}
		case events.PartCall, events.PartResult:
			if textOnly {
				continue
			}
			if !p.Custom { // free text may have such escapes in its own right
				p.Arguments = events.WellFormed(p.Arguments)
			}
		}
		switch {
		case !own:
			p.Carry = nil
		case len(p.Carry) > 0:
			p.Carry = json.RawMessage(events.WellFormed(string(p.Carry)))
		}
		parts = append(parts, p)
	}
	m.Parts = parts
	if !own {
		m.Provider = ""
	}
	return m
}

// asText returns the reasoning of another model as text.
func asText(m events.Message, p events.Part) events.Part {
	return events.Part{Kind: events.PartText,
		Text: fmt.Sprintf("[reasoning of %s/%s]\n%s\n[end of the reasoning]\n\n", m.Provider, m.Model, strings.TrimSpace(p.Text))}
}
