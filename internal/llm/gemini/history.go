package gemini

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// The roles of the API.
const (
	roleUser  = "user"
	roleModel = "model"
)

// content is a message of a request. The API demands that roles alternate from user to
// user, that the responses to all calls of a message come in the very next one, alone,
// and that no part is empty.
type content struct {
	Role  string `json:"role,omitempty"`
	Parts []part `json:"parts"`
}

// part is a part of a content: one field with data, and further fields about it.
type part map[string]any

type functionCall struct {
	ID   string          `json:"id,omitempty"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

// functionResponse answers a call: "output" for a result, "error" for a failure. The
// values are texts: the API takes "$ref" in an object for a reference to a part.
//
// Sources: https://ai.google.dev/api/caching#FunctionResponse and vercel/ai#14369.
type functionResponse struct {
	ID       string            `json:"id,omitempty"`
	Name     string            `json:"name"`
	Response map[string]string `json:"response"`
}

// The texts of contents that the API demands where the history has none.
const (
	beginning = "(The beginning of the conversation is left out.)"
	goOn      = "(Continue.)"
	noAnswer  = "(There was no answer to these results.)"
)

// noSignature is the value that Google documents for calls without a thought signature,
// such as those of other models: the signature is not validated.
//
// Source: https://ai.google.dev/gemini-api/docs/thought-signatures
const noSignature = "skip_thought_signature_validator"

// history builds the contents of a request.
type history struct {
	name  string // the provider whose carries may be sent back
	signs bool   // calls without a signature get noSignature
	all   []content
	used  map[string]bool // ids of calls
	calls []openCall      // of the message that waits for responses
	loose []part          // results that belong to none of them
}

type openCall struct {
	call, providerID string
	response         *functionResponse
	answered         bool
}

func contents(name string, req llm.Request) []content {
	h := &history{name: name, signs: signs(req.Model) || req.Demand == transcript.DemandSignature, used: map[string]bool{}}
	for _, m := range transcript.Fit(name, req, transcript.Rules{Join: true, Bridge: true, Media: &transcript.Media{Images: mostInline, PDFs: mostInline}}) {
		switch m.Role {
		case events.RoleTool:
			for _, p := range m.Parts {
				h.result(p)
			}
		case events.RoleAssistant:
			h.respond()
			h.add(roleModel, h.assistant(m)...)
		default:
			if h.respond() {
				h.add(roleModel, text(noAnswer)...) // responses stand alone
			}
			for _, p := range m.Parts {
				h.add(roleUser, userPart(p)...)
			}
		}
	}
	h.respond()
	if n := len(h.all); n == 0 || h.all[n-1].Role == roleModel {
		h.add(roleUser, text(goOn)...)
	}
	return h.all
}

// add appends to the last content if it has the role, or starts one.
func (h *history) add(role string, parts ...part) {
	if len(parts) == 0 {
		return
	}
	if len(h.all) == 0 && role == roleModel {
		h.add(roleUser, text(beginning)...)
	}
	if n := len(h.all); n > 0 && h.all[n-1].Role == role {
		h.all[n-1].Parts = append(h.all[n-1].Parts, parts...)
		return
	}
	h.all = append(h.all, content{Role: role, Parts: parts})
}

func text(s string) []part {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return []part{{"text": s}}
}

// mostInline bounds an image or PDF, in bytes: a request has 20 MB, in base64, with
// everything else.
//
// Source: https://ai.google.dev/gemini-api/docs/image-understanding
const mostInline = 7 << 20

// userPart returns a part of a user's message.
func userPart(p events.Part) []part {
	if len(p.Data) > 0 && (p.Kind == events.PartImage || p.Kind == events.PartFile) {
		return []part{{"inlineData": map[string]any{"mimeType": p.MIME, "data": p.Data}}}
	}
	return text(p.Text)
}

// assistant returns the parts of an answer and opens its calls.
func (h *history) assistant(m events.Message) []part {
	own := m.Provider == h.name
	var out []part
	signed := false
	for _, p := range m.Parts {
		switch p.Kind {
		case events.PartText, events.PartRefusal:
			out = append(out, text(p.Text)...)
		case events.PartReasoning:
			if own {
				out = returned(out, p)
			}
		case events.PartCall:
			made := h.call(p, own)
			if h.signs && !signed && made[keySignature] == nil {
				made[keySignature] = noSignature
			}
			signed = true // parallel calls have a signature in the first one only
			out = append(out, made)
		}
	}
	return out
}

// call encodes a call. Arguments that are not a JSON object are sent as {}: the call's
// result tells the model what was wrong with them.
func (h *history) call(p events.Part, own bool) part {
	c := &functionCall{Name: name(p.Name), Args: json.RawMessage("{}")}
	if own && p.ProviderID != "" && !h.used[p.ProviderID] {
		c.ID = p.ProviderID
		h.used[c.ID] = true
	}
	if !p.Custom && events.CheckArguments(p.Arguments) == nil {
		c.Args = events.Arguments(p.Arguments)
	}
	h.calls = append(h.calls, openCall{call: p.Call, providerID: p.ProviderID, response: &functionResponse{ID: c.ID, Name: c.Name,
		Response: map[string]string{"error": "there is no result of this call"}}})
	made := part{}
	if own {
		made = rest(p.Carry)
	}
	made["functionCall"] = c
	return made
}

// name returns the name of a call in the form of the API, which also demands a letter
// or _ at its beginning.
func name(s string) string {
	s = transcript.Name(s)
	if c := s[0]; c == '-' || c >= '0' && c <= '9' {
		s = "_" + s[:min(len(s), 63)]
	}
	return s
}

// result sets the response to a call of the last answer.
func (h *history) result(p events.Part) {
	if p.Kind != events.PartResult {
		return
	}
	said := llm.ResultText(p)
	for i := range h.calls {
		c := &h.calls[i]
		if c.answered || (c.call == "" || c.call != p.Call) && (p.Call != "" || c.providerID != p.ProviderID) {
			continue
		}
		c.answered = true
		key := "output"
		if p.Status != "" && p.Status != events.StatusOK {
			key = "error"
		}
		c.response.Response = map[string]string{key: said}
		return
	}
	h.loose = append(h.loose, text(fmt.Sprintf("Result of a call of %s: %s", p.Name, said))...)
}

// respond writes the responses to the calls of the last answer, in their order, and
// reports whether they are the last that was written.
func (h *history) respond() bool {
	for _, c := range h.calls {
		h.add(roleUser, part{"functionResponse": c.response})
	}
	if h.calls != nil && h.loose != nil {
		h.add(roleModel, text(noAnswer)...)
	}
	alone, loose := h.calls != nil && h.loose == nil, h.loose
	h.calls, h.loose = nil, nil
	h.add(roleUser, loose...)
	return alone
}
