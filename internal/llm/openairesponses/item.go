package openairesponses

import (
	"encoding/json"
	"strconv"
	"strings"
)

// kind is the type of an output item as the provider names it.
type kind string

const (
	kindMessage   kind = "message"
	kindReasoning kind = "reasoning"
	kindFunction  kind = "function_call"
	kindCustom    kind = "custom_tool_call"
)

func (k kind) call() bool { return k == kindFunction || k == kindCustom }

// partKind is the kind of an item's content.
type partKind byte

const (
	textPart      partKind = 't'
	refusalPart   partKind = 'r'
	reasoningPart partKind = 'c'
	summaryPart   partKind = 's'
)

func (p partKind) of() kind {
	if p == textPart || p == refusalPart {
		return kindMessage
	}
	return kindReasoning
}

type partID struct {
	kind  partKind
	index int
}

// part is a piece of an item's content: one of Parley's content blocks.
type part struct {
	kind    partKind
	key     string
	yielded strings.Builder // the yielded text, to find what a done event adds
}

// item is one output item of the answer while it is streamed.
type item struct {
	key   string // its key in the Writer; unlike the ids below it is unique
	kind  kind
	id    string
	call  string // call_id, which the result must name
	name  string
	parts map[partID]*part
	last  *part // the latest part
	// waiting holds arguments that arrived before the name of their call.
	waiting strings.Builder
	started bool
	done    bool
	carried bool // its Carry was yielded
}

func (it *item) part(k partKind, index int) *part {
	id := partID{k, index}
	p := it.parts[id]
	if p == nil {
		p = &part{kind: k, key: it.key + string(rune(k)) + strconv.Itoa(index)}
		it.parts[id] = p
	}
	it.last = p
	return p
}

// wireItem is an output item of added, done and the final response.
type wireItem struct {
	Type      kind            `json:"type"`
	ID        string          `json:"id"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Status    string          `json:"status"`
	Phase     string          `json:"phase"`
	Arguments json.RawMessage `json:"arguments"`
	Input     json.RawMessage `json:"input"`
	Content   json.RawMessage `json:"content"`
	Summary   json.RawMessage `json:"summary"`
	Encrypted string          `json:"encrypted_content"`

	raw json.RawMessage
}

type wirePart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`

	Annotations json.RawMessage `json:"annotations"`
}

// content returns the kind and text of a part; ok is false for skipped kinds.
func (p *wirePart) content() (k partKind, text string, ok bool) {
	switch p.Type {
	case "output_text", "text":
		return textPart, p.Text, true
	case "refusal":
		return refusalPart, p.Refusal, true
	case "reasoning_text":
		return reasoningPart, p.Text, true
	case "summary_text":
		return summaryPart, p.Text, true
	}
	return 0, "", false
}

// annotations returns the annotations of each part of a message, such as the sources
// of a search; nil if there are none.
func (w *wireItem) annotations() []json.RawMessage {
	var all []json.RawMessage
	some := false
	for _, p := range parts(w.Content) {
		list := json.RawMessage("[]")
		var any []json.RawMessage
		if json.Unmarshal(p.Annotations, &any) == nil && len(any) > 0 {
			list, some = p.Annotations, true
		}
		all = append(all, list)
	}
	if !some {
		return nil
	}
	return all
}

func (w *wireItem) input() string {
	if w.Type == kindCustom {
		return argumentText(w.Input)
	}
	return argumentText(w.Arguments)
}

// argumentText returns arguments as text: gateways also send the object itself.
func argumentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil || len(raw) == 0 {
		return text // null gives the empty text
	}
	return string(raw)
}

// parts decodes a list of parts; anything else than a list is none.
func parts(raw json.RawMessage) []wirePart {
	var ps []wirePart
	if len(raw) == 0 || unmarshal(raw, &ps) != nil {
		return nil
	}
	return ps
}
