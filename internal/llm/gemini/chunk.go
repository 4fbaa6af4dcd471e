package gemini

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// chunk is a response, or a part of one in a stream.
type chunk struct {
	Candidates []candidate `json:"candidates"`
	Feedback   *feedback   `json:"promptFeedback"`
	Usage      *usage      `json:"usageMetadata"`
	Model      string      `json:"modelVersion"`
	ResponseID string      `json:"responseId"`

	Error json.RawMessage `json:"error"`
}

func (c *chunk) known() bool {
	return len(c.Candidates) > 0 || c.Feedback != nil || c.Usage != nil || len(c.Error) > 0
}

type candidate struct {
	Index   int `json:"index"`
	Content struct {
		Parts []json.RawMessage `json:"parts"`
	} `json:"content"`
	Reason    string          `json:"finishReason"`
	Message   string          `json:"finishMessage"`
	Citations json.RawMessage `json:"citationMetadata"`
	Grounding json.RawMessage `json:"groundingMetadata"`
}

type feedback struct {
	Reason  string `json:"blockReason"`
	Message string `json:"blockReasonMessage"`
}

// usage has the counts of the answer so far: the last of each counts.
type usage struct {
	Prompt   *int64 `json:"promptTokenCount"`
	Answer   *int64 `json:"candidatesTokenCount"` // without thoughts
	Thoughts *int64 `json:"thoughtsTokenCount"`
	Cached   *int64 `json:"cachedContentTokenCount"` // part of Prompt
	ToolUse  *int64 `json:"toolUsePromptTokenCount"` // not part of Prompt
	Total    *int64 `json:"totalTokenCount"`
}

func (d *decoder) chunk(c *chunk) bool {
	if c.Model != "" {
		d.end.Model = c.Model
	}
	if c.ResponseID != "" {
		d.end.ResponseID = c.ResponseID
	}
	d.count(c.Usage)
	for i := range c.Candidates {
		// Parley never asks for several; the first is the answer.
		if c.Candidates[i].Index == 0 && !d.candidate(&c.Candidates[i]) {
			return false
		}
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		d.end.Error, d.ended = llm.FromPayload(c.Error), true
		return true
	}
	if f := c.Feedback; f != nil && f.Reason != "" && f.Reason != "BLOCK_REASON_UNSPECIFIED" {
		said := f.Message
		if said != "" {
			said = ": " + strings.TrimRight(said, ". ")
		}
		d.end.Error, d.ended = &events.Error{Class: events.ErrContentFilter, Code: f.Reason,
			Message: fmt.Sprintf("the provider blocked the prompt (%s)%s: rephrase it, or start a new conversation", f.Reason, said)}, true
	}
	return true
}

func (d *decoder) candidate(c *candidate) bool {
	if len(c.Content.Parts) > 0 && d.reason != "" {
		d.reason, d.message = "", "" // it was not the end
	}
	for _, raw := range c.Content.Parts {
		if !d.part(raw) {
			return false
		}
	}
	for key, v := range map[string]json.RawMessage{"citationMetadata": c.Citations, "groundingMetadata": c.Grounding} {
		if len(v) > 0 && string(v) != "null" && string(v) != "{}" {
			if d.about == nil {
				d.about = map[string]json.RawMessage{}
			}
			d.about[key] = v
		}
	}
	if c.Reason != "" && c.Reason != "FINISH_REASON_UNSPECIFIED" {
		d.reason, d.message = c.Reason, c.Message
	}
	return true
}

// part yields a part. A text with a signature is a block of its own: the API demands
// that it is not joined with others when it comes back.
func (d *decoder) part(raw json.RawMessage) bool {
	var p struct {
		Text    *string         `json:"text"`
		Thought bool            `json:"thought"`
		Call    json.RawMessage `json:"functionCall"`
	}
	fields := map[string]json.RawMessage{}
	if parse(raw, &p) != nil || parse(raw, &fields) != nil {
		return true
	}
	if len(p.Call) > 0 && string(p.Call) != "null" {
		delete(fields, keyCall)
		return d.call(p.Call, fields)
	}
	if p.Text == nil && (len(fields) == 0 || p.Thought && len(fields) == 1) {
		return true
	}
	if p.Text == nil && fields[keySignature] != nil && (len(fields) == 1 || p.Thought && len(fields) == 2) {
		p.Text = new("")
	}
	if p.Text == nil {
		d.kind = "" // a part of another kind
		return d.w.Reasoning(d.key("part"), "", false, encode(carry{whole, fields}))
	}
	delete(fields, keyText)
	delete(fields, keyThought)
	more := len(fields) > 0
	if more {
		d.kind = ""
		defer func() { d.kind = "" }()
	}
	switch {
	case p.Thought && more:
		return d.w.Reasoning(d.key("thought"), *p.Text, true, encode(carry{ofThought, fields}))
	case p.Thought:
		return d.w.Reasoning(d.key("thought"), *p.Text, true, nil)
	case !more:
		return *p.Text == "" || d.w.Text(d.key("text"), *p.Text)
	case strings.TrimSpace(*p.Text) == "": // a text that is left out of requests
		if !d.w.Text(d.key("text"), *p.Text) {
			return false
		}
		fields[keyText] = encode(*p.Text)
		return d.w.Reasoning(d.key("carry"), "", false, encode(carry{whole, fields}))
	}
	return d.w.Text(d.key("text"), *p.Text) && d.w.Reasoning(d.key("carry"), "", false, encode(carry{ofText, fields}))
}

// call yields a complete call.
func (d *decoder) call(raw json.RawMessage, fields map[string]json.RawMessage) bool {
	var c struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	}
	if parse(raw, &c) != nil {
		return true
	}
	d.kind = "" // every call is a block
	key := d.key("call")
	args := string(c.Args)
	var said string
	switch {
	case args == "null":
		args = ""
	case json.Unmarshal(c.Args, &said) == nil:
		args = said // gateways send the arguments as a string
	}
	if !d.w.CallStart(key, c.ID, c.Name, false) || !d.w.CallDelta(key, args) {
		return false
	}
	if len(fields) > 0 {
		d.w.CallCarry(key, encode(fields))
	}
	return d.w.CallEnd(key)
}

// count overwrites field by field: the numbers are totals.
func (d *decoder) count(u *usage) {
	if u == nil {
		return
	}
	set := func(to **int64, n *int64) {
		if n != nil {
			*to = n
		}
	}
	set(&d.usage.Prompt, u.Prompt)
	set(&d.usage.Answer, u.Answer)
	set(&d.usage.Thoughts, u.Thoughts)
	set(&d.usage.Cached, u.Cached)
	set(&d.usage.ToolUse, u.ToolUse)
	set(&d.usage.Total, u.Total)
}

// sum returns the sum of the counts that are known.
func sum(counts ...*int64) (total *int64) {
	for _, n := range counts {
		switch {
		case n == nil:
		case total == nil:
			total = new(*n)
		default:
			*total += *n
		}
	}
	return total
}

// finish sets the end of the answer.
func (d *decoder) finish() bool {
	if len(d.about) > 0 && !d.w.Reasoning("about", "", false, encode(carry{metadata, d.about})) {
		return false
	}
	if d.usage != (usage{}) {
		d.end.Usage = &events.Usage{InputTokens: sum(d.usage.Prompt, d.usage.ToolUse), OutputTokens: sum(d.usage.Answer, d.usage.Thoughts),
			TotalTokens: d.usage.Total, CachedInputTokens: d.usage.Cached, ReasoningTokens: d.usage.Thoughts}
	}
	d.end.FinishWord = d.reason
	d.end.Terminated = d.reason != "" && d.end.Error == nil
	if d.end.Error != nil {
		return true
	}
	switch d.reason {
	case "":
	case "STOP":
		d.end.Finish = events.FinishStop
	case "MAX_TOKENS":
		d.end.Finish = events.FinishLength
	case "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
		"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION":
		d.end.Finish = events.FinishContentFilter
	case "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL":
		d.end.Error = d.broken(events.ErrCut, "the model wrote a call or an answer that the provider could not read", "try again")
	case "MISSING_THOUGHT_SIGNATURE":
		d.end.Error = d.broken(events.ErrInvalidRequest, "the provider misses a thought_signature in the history", "start a new conversation")
	case "TOO_MANY_TOOL_CALLS":
		d.end.Error = d.broken(events.ErrInternal, "the model called too many tools in a row", "ask again in other words")
	default:
		d.end.Finish = events.FinishOther
	}
	return true
}

// broken returns the error of an answer that the provider gave up.
func (d *decoder) broken(class events.ErrorClass, what, next string) *events.Error {
	said := ""
	if d.message != "" {
		said = fmt.Sprintf(": %.500s", strings.ToValidUTF8(d.message, "\uFFFD"))
	}
	return &events.Error{Class: class, Code: d.reason, Message: fmt.Sprintf("%s (%s)%s: %s", what, d.reason, said, next)}
}
