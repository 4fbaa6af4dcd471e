package openai

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// messages returns the transcript in OpenAI's format.
func (p *Provider) messages(req llm.Request) ([]sdk.ChatCompletionMessageParamUnion, error) {
	var out []sdk.ChatCompletionMessageParamUnion
	if req.System != "" {
		out = append(out, sdk.SystemMessage(req.System))
	}
	ids := callIDs{used: map[string]bool{}, waiting: map[string][]string{}}
	messages := transcript.Fit(p.config.Name, req, transcript.Rules{Join: true, Bridge: !llm.IsOpenAI(p.config.BaseURL), Media: p.takes()})
	demand := p.demands(req, messages)
	for n, m := range messages {
		switch m.Role {
		case events.RoleUser:
			out = append(out, userMessage(m))
		case events.RoleAssistant:
			if a := p.assistant(m, &ids); a != nil {
				demand.meet(a, m.Provider == p.config.Name)
				out = append(out, sdk.ChatCompletionMessageParamUnion{OfAssistant: a})
			}
		case events.RoleTool:
			for _, part := range m.Parts {
				id, ok := ids.take(part)
				if !ok {
					return nil, fmt.Errorf("message %d is the result of call %q of tool %q, which no message before it made or which has its result: repair the transcript", n, part.Call, part.Name)
				}
				out = append(out, sdk.ToolMessage(llm.ResultText(part), id))
			}
		default:
			return nil, fmt.Errorf("message %d has the unknown role %q", n, m.Role)
		}
	}
	return out, nil
}

// assistant returns a message of the model; nil if it has nothing to send.
// Reasoning and carries are sent only to the provider that wrote them.
func (p *Provider) assistant(m events.Message, ids *callIDs) *sdk.ChatCompletionAssistantMessageParam {
	own := m.Provider == p.config.Name
	var a sdk.ChatCompletionAssistantMessageParam
	var text, refusal strings.Builder
	var back returned
	for _, part := range m.Parts {
		switch part.Kind {
		case events.PartText:
			text.WriteString(part.Text)
			back.part("text", quote(part.Text))
		case events.PartRefusal:
			if own {
				refusal.WriteString(part.Text)
			} else {
				text.WriteString(part.Text)
			}
		case events.PartReasoning:
			if own {
				back.reasoning(part)
			}
		case events.PartCall:
			a.ToolCalls = append(a.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{OfFunction: madeCall(part, ids.give(part, own), own)})
		}
	}
	if text.Len() == 0 && refusal.Len() == 0 && len(a.ToolCalls) == 0 {
		return nil
	}
	if refusal.Len() > 0 {
		a.Refusal = sdk.String(refusal.String())
	}
	fields := back.fields()
	switch {
	case back.thinking:
		fields[fieldContent] = back.list()
	case text.Len() > 0:
		a.Content.OfString = sdk.String(text.String())
	default:
		fields[fieldContent] = nil // null, as OpenAI itself writes it; hosts miss it otherwise
	}
	if len(fields) > 0 {
		a.SetExtraFields(fields)
	}
	return &a
}

// madeCall returns a tool call of the history. Hosts that parse arguments or
// check names would refuse the whole transcript for one bad call: arguments
// that are not a JSON object are wrapped in one, and disallowed characters of a
// name are replaced.
func madeCall(p events.Part, id string, own bool) *sdk.ChatCompletionMessageFunctionToolCallParam {
	args := string(events.Arguments(p.Arguments))
	if p.Custom {
		args = `{"input":` + string(quote(p.Arguments)) + `}`
	} else if events.CheckArguments(p.Arguments) != nil {
		args = `{"invalid_arguments":` + string(quote(p.Arguments)) + `}`
	}
	c := &sdk.ChatCompletionMessageFunctionToolCallParam{
		ID:       id,
		Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: transcript.Name(p.Name), Arguments: args},
	}
	if !own {
		return c
	}
	extra, function := map[string]any{}, map[string]any{}
	for key, v := range members(p.Carry) {
		if string(key) != "function" {
			extra[string(key)] = json.RawMessage(v)
			continue
		}
		for key, v := range members(v) {
			function[string(key)] = json.RawMessage(v)
		}
	}
	if len(function) > 0 {
		c.Function.SetExtraFields(function)
	}
	if len(extra) > 0 {
		c.SetExtraFields(extra)
	}
	return c
}

// returned collects the data to send back with an assistant message.
type returned struct {
	text     map[string]string // reasoning by field
	details  []byte            // entries of reasoning_details
	extra    json.RawMessage
	parts    []byte // content as a list of parts
	thinking bool   // some of them are reasoning
}

func (r *returned) reasoning(p events.Part) {
	var c carry
	if json.Unmarshal(p.Carry, &c) != nil {
		return // of another provider, or none: nothing to send back
	}
	for _, v := range elements(c.Details) {
		if len(r.details) > 0 {
			r.details = append(r.details, ',')
		}
		r.details = append(r.details, v...)
	}
	if len(c.Extra) > 0 {
		r.extra = c.Extra
	}
	switch {
	case p.Text == "" || c.Field == "":
	case c.Field == fieldContent:
		r.thinking = true
		r.part("thinking", fmt.Appendf(nil, `[{"type":"text","text":%s}]`, quote(p.Text)))
	default:
		if r.text == nil {
			r.text = map[string]string{}
		}
		r.text[c.Field] += p.Text
	}
}

// part adds a part to the content as a list: Mistral's form.
func (r *returned) part(kind string, value []byte) {
	if len(r.parts) > 0 {
		r.parts = append(r.parts, ',')
	}
	r.parts = fmt.Appendf(r.parts, `{"type":%q,%q:%s}`, kind, kind, value)
}

func (r *returned) list() json.RawMessage {
	return json.RawMessage("[" + string(r.parts) + "]")
}

// fields returns the message's fields beyond OpenAI's protocol.
// reasoning_details hold the text of "reasoning" too.
func (r *returned) fields() map[string]any {
	f := map[string]any{}
	for field, text := range r.text {
		f[field] = text
	}
	if len(r.details) > 0 {
		delete(f, fieldReasoning)
		f[fieldDetails] = json.RawMessage("[" + string(r.details) + "]")
	}
	if len(r.extra) > 0 {
		f[fieldExtra] = r.extra
	}
	return f
}

// callIDs assigns every call of a request a unique id, the same in each
// request, and each result the id of its call. Providers reuse ids ("call_0" in
// every turn), send none, or refuse those of others.
type callIDs struct {
	used    map[string]bool
	waiting map[string][]string // ids given, by our id of the call, first in first out
}

// give returns the id of a call: the provider's own if no earlier call has it,
// else one derived from Parley's.
func (c *callIDs) give(p events.Part, own bool) string {
	id := p.ProviderID
	if !own || id == "" || c.used[id] {
		id = c.mint(p.Call + p.ProviderID)
	}
	c.used[id] = true
	key := callKey(p)
	c.waiting[key] = append(c.waiting[key], id)
	return id
}

// take returns the id of the call that a result answers.
func (c *callIDs) take(p events.Part) (string, bool) {
	key := callKey(p)
	ids := c.waiting[key]
	if len(ids) == 0 {
		return "", false
	}
	c.waiting[key] = ids[1:]
	return ids[0], true
}

func callKey(p events.Part) string {
	if p.Call != "" {
		return "ours " + p.Call
	}
	return "theirs " + p.ProviderID
}

// mint returns an id of nine letters and digits, the only form that Mistral
// accepts.
func (c *callIDs) mint(seed string) string {
	for n := 0; ; n++ {
		sum := sha256.Sum256([]byte(seed + " " + strconv.Itoa(n)))
		id := new(big.Int).SetBytes(sum[:]).Text(62)[:9]
		if !c.used[id] {
			return id
		}
	}
}
