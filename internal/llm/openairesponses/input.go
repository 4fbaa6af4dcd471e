package openairesponses

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
	"github.com/parleybus/parley/internal/media"
)

// input converts a transcript to the request's items.
func (p *Provider) input(req llm.Request) responses.ResponseInputParam {
	messages := transcript.Fit(p.name, req, transcript.Rules{Join: true, Bridge: !llm.IsOpenAI(p.baseURL), Media: p.takes()})
	var items responses.ResponseInputParam
	ids := callIDs{byCall: map[string]string{}, byText: map[string]string{}, used: map[string]bool{}, custom: map[string]bool{}}
	for i := range messages {
		m := &messages[i]
		switch m.Role {
		case events.RoleAssistant:
			items = append(items, p.assistantItems(m, &ids)...)
		case events.RoleTool:
			items = append(items, results(m, &ids)...)
		default:
			items = append(items, userItems(m)...)
		}
	}
	return items
}

// assistantItems returns the items of an assistant message. Reasoning is sent back only
// to the provider that wrote it, and only if another item follows: the API
// refuses a reasoning item at the end, as a stopped answer has it.
func (p *Provider) assistantItems(m *events.Message, ids *callIDs) responses.ResponseInputParam {
	var items, reasoning responses.ResponseInputParam
	for i := range m.Parts {
		part := &m.Parts[i]
		switch part.Kind {
		case events.PartText, events.PartRefusal:
			if part.Text == "" {
				continue
			}
			items = append(append(items, reasoning...),
				responses.ResponseInputItemParamOfMessage(part.Text, responses.EasyInputMessageRoleAssistant))
			reasoning = nil
		case events.PartCall:
			items = append(append(items, reasoning...), call(part, ids, m.Provider == p.name))
			reasoning = nil
		case events.PartReasoning:
			if m.Provider != p.name || len(part.Carry) == 0 {
				continue
			}
			// Overridden, it is encoded as it is, whatever its type.
			raw := param.Override[responses.ResponseReasoningItemParam](part.Carry)
			item := responses.ResponseInputItemUnionParam{OfReasoning: &raw}
			switch c := readCarried(part.Carry); c.Type {
			case "":
			case kindReasoning:
				reasoning = append(reasoning, item)
			case kindMessage:
				setPhase(items, c.Phase)
			default: // of a tool that the provider runs; it demands the reasoning before it
				items = append(append(items, reasoning...), item)
				reasoning = nil
			}
		}
	}
	return items
}

func readCarried(raw json.RawMessage) carried {
	var c carried
	if json.Unmarshal(raw, &c) != nil {
		return carried{} // not ours: it stays out
	}
	return c
}

// setPhase sets the phase of the message it follows.
func setPhase(items responses.ResponseInputParam, phase string) {
	if phase != "" && len(items) > 0 && items[len(items)-1].OfMessage != nil {
		items[len(items)-1].OfMessage.Phase = responses.EasyInputMessagePhase(phase)
	}
}

// call returns the item of a call. Arguments that are not a JSON object are
// wrapped in one: servers that parse them would refuse the whole history.
func call(part *events.Part, ids *callIDs, own bool) responses.ResponseInputItemUnionParam {
	id := ids.begin(part, own)
	if part.Custom {
		return responses.ResponseInputItemParamOfCustomToolCall(id, part.Arguments, transcript.Name(part.Name))
	}
	arguments := string(events.Arguments(part.Arguments))
	if events.CheckArguments(arguments) != nil {
		arguments = fmt.Sprintf(`{"invalid_arguments":%s}`, quote(part.Arguments))
	}
	return responses.ResponseInputItemParamOfFunctionCall(arguments, id, transcript.Name(part.Name))
}

func quote(text string) string {
	raw, err := json.Marshal(text)
	if err != nil {
		return `""` // cannot be: every string has its JSON
	}
	return string(raw)
}

func result(part *events.Part, images []*events.Part, ids *callIDs) responses.ResponseInputItemUnionParam {
	id, custom := ids.result(part)
	if custom {
		for _, image := range images { // this output is text only
			part.Text += "\n\n[" + media.Line(image.Kind, image.Name, image.MIME, int64(len(image.Data))) + ": left out, results of this tool hold only text]"
		}
		return responses.ResponseInputItemParamOfCustomToolCallOutput(id, llm.ResultText(*part))
	}
	item := responses.ResponseInputItemParamOfFunctionCallOutput(llm.ResultText(*part))
	if len(images) > 0 {
		item = responses.ResponseInputItemParamOfFunctionCallOutput(output(llm.ResultText(*part), images))
	}
	item.OfFunctionCallOutput.CallID = param.NewOpt(id)
	return item
}

// callIDs assigns unique ids to the calls of a request. Providers reuse an id
// in the next turn (Bedrock's call_0), and refuse ids of others: then the id is
// derived from Parley's id, the same in every request.
type callIDs struct {
	byCall map[string]string // Parley's id to the one in the request
	byText map[string]string // the provider's id to the one it has now, for results without our id
	used   map[string]bool
	custom map[string]bool // ids in the request of calls with free text
}

// maxID bounds call_id at OpenAI, in bytes.
const maxID = 64

func (c *callIDs) begin(part *events.Part, own bool) string {
	id := part.ProviderID
	if !own || len(id) > maxID || id == "" || c.used[id] {
		id = "call_" + strings.ReplaceAll(part.Call, "-", "")
		for n := len(c.used); part.Call == "" || len(id) > maxID || c.used[id]; n++ {
			if id = fmt.Sprintf("call_n%d", n); !c.used[id] {
				break
			}
		}
	}
	c.used[id] = true
	c.custom[id] = part.Custom
	c.byText[part.ProviderID] = id
	if part.Call != "" {
		c.byCall[part.Call] = id
	}
	return id
}

func (c *callIDs) result(part *events.Part) (id string, custom bool) {
	id, ok := c.byCall[part.Call]
	if !ok {
		id, ok = c.byText[part.ProviderID]
	}
	if !ok {
		id = cmp.Or(part.ProviderID, part.Call)
	}
	return id, c.custom[id]
}
