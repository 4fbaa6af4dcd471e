package openai

import (
	"encoding/json"
	"net/url"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// demanded are fields that a host requires in messages that another model wrote.
type demanded struct {
	reasoning bool // reasoning_content in each assistant message
	signature bool // a thought signature in the first call of each message
}

// noSignature is the value that Google documents for calls that its models did not
// make: the signature is not validated.
//
// Source: https://ai.google.dev/gemini-api/docs/thought-signatures
const noSignature = `{"thought_signature":"skip_thought_signature_validator"}`

// demands returns what the host requires: as it is documented, as this conversation
// shows it, or as its refusal says it. Other hosts refuse fields that they do not
// know.
//
// Sources: https://api-docs.deepseek.com/guides/thinking_mode and
// https://platform.moonshot.ai/docs (thinking models).
func (p *Provider) demands(req llm.Request, messages []events.Message) demanded {
	d := demanded{reasoning: req.Demand == transcript.DemandReasoning, signature: req.Demand == transcript.DemandSignature}
	if u, err := url.Parse(p.config.BaseURL); err == nil {
		for _, domain := range []string{"deepseek.com", "moonshot.ai", "moonshot.cn"} {
			d.reasoning = d.reasoning || within(u.Hostname(), domain)
		}
		d.signature = d.signature || within(u.Hostname(), "googleapis.com") && strings.Contains(req.Model, "gemini")
	}
	for _, m := range messages {
		if m.Provider != p.config.Name || llm.IsOpenAI(p.config.BaseURL) {
			continue
		}
		for _, part := range m.Parts {
			var c carry
			if part.Kind == events.PartReasoning && json.Unmarshal(part.Carry, &c) == nil && c.Field == fieldReasoningContent {
				d.reasoning = true
			}
			if part.Kind == events.PartCall && strings.Contains(string(part.Carry), "thought_signature") {
				d.signature = true
			}
		}
	}
	return d
}

func within(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// meet adds the required fields that a message lacks. Parallel calls of the model
// itself have a signature in the first one only, so its own messages get none.
func (d demanded) meet(a *sdk.ChatCompletionAssistantMessageParam, own bool) {
	if d.reasoning {
		fields := a.ExtraFields()
		if fields[fieldReasoningContent] == nil {
			with := map[string]any{fieldReasoningContent: ""}
			for key, v := range fields {
				with[key] = v
			}
			a.SetExtraFields(with)
		}
	}
	if d.signature && !own && len(a.ToolCalls) > 0 {
		a.ToolCalls[0].OfFunction.SetExtraFields(map[string]any{fieldExtra: json.RawMessage(`{"google":` + noSignature + `}`)})
	}
}
