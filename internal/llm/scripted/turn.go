package scripted

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// turn is the state of the conversation in a request. Templates can use its
// exported fields.
type turn struct {
	Question string            // the last user message
	Step     int               // from 1: one more than the answers since
	Match    map[string]string // named captures of the rule's patterns
	results  []events.Part     // of the tools since the question, in call order
}

func newTurn(messages []events.Message) *turn {
	t := &turn{Step: 1, Match: map[string]string{}}
	for _, m := range messages {
		switch m.Role {
		case events.RoleUser:
			t.Question, t.Step, t.results = textOf(m), 1, nil
		case events.RoleAssistant:
			t.Step++
		case events.RoleTool:
			for _, p := range m.Parts {
				if p.Kind == events.PartResult {
					t.results = append(t.results, p)
				}
			}
		}
	}
	return t
}

func textOf(m events.Message) string {
	var texts []string
	for _, p := range m.Parts {
		if p.Kind == events.PartText {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// nth returns the n-th result of the turn, from 0.
func (t *turn) nth(n int) (events.Part, error) {
	if n < 0 || n >= len(t.results) {
		return events.Part{}, fmt.Errorf("there is no result %d: the turn has %d", n, len(t.results))
	}
	return t.results[n], nil
}

// matches reports whether a rule matches the question and stores its captures.
func (t *turn) matches(r *rule) bool {
	question := strings.ToLower(t.Question)
	for _, c := range r.Contains {
		if !strings.Contains(question, strings.ToLower(c)) {
			return false
		}
	}
	captures := map[string]string{}
	for _, p := range r.patterns {
		if !capture(p, t.Question, captures) {
			return false
		}
	}
	t.Match = captures
	return true
}

func capture(p *regexp.Regexp, text string, into map[string]string) bool {
	m := p.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	for i, name := range p.SubexpNames() {
		if name != "" && (m[i] != "" || into[name] == "") {
			into[name] = strings.TrimSpace(m[i])
		}
	}
	return true
}

// words counts the words of a request; the demo reports them as tokens.
func words(req llm.Request) int64 {
	n := len(strings.Fields(req.System))
	for _, m := range req.Messages {
		for _, p := range m.Parts {
			n += len(strings.Fields(p.Text)) + len(strings.Fields(p.Arguments))
		}
	}
	return int64(n)
}
