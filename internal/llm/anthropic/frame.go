package anthropic

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// frame is any event of a stream, or a complete message.
type frame struct {
	Type         string          `json:"type"`
	Index        int             `json:"index"`
	ContentBlock json.RawMessage `json:"content_block"`
	Delta        delta           `json:"delta"`
	Message      *message        `json:"message"`
	Usage        *usage          `json:"usage"`
	Error        json.RawMessage `json:"error"`
}

func (f *frame) failed() bool { return len(f.Error) > 0 && string(f.Error) != "null" }

// delta holds the fields of all deltas: of blocks and of the message.
type delta struct {
	Type        string          `json:"type"`
	Text        string          `json:"text"`
	Thinking    string          `json:"thinking"`
	Signature   string          `json:"signature"`
	PartialJSON string          `json:"partial_json"`
	Citation    json.RawMessage `json:"citation"`
	StopReason  string          `json:"stop_reason"`
}

type message struct {
	ID         string            `json:"id"`
	Model      string            `json:"model"`
	Content    []json.RawMessage `json:"content"`
	StopReason string            `json:"stop_reason"`
	Usage      *usage            `json:"usage"`
}

type usage struct {
	InputTokens              *int64 `json:"input_tokens"`
	OutputTokens             *int64 `json:"output_tokens"`
	CacheReadInputTokens     *int64 `json:"cache_read_input_tokens"`
	CacheCreationInputTokens *int64 `json:"cache_creation_input_tokens"`
	Details                  struct {
		ThinkingTokens *int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// dispatch handles one event by the type in its JSON: the event: line may be
// missing or wrong. Unknown types (ping and future ones) are ignored.
func (d *decoder) dispatch(f *frame, raw []byte) bool {
	switch f.Type {
	case "content_block_delta":
		return d.early(f.Index, true) && d.delta(f, raw)
	case "content_block_start":
		return d.early(f.Index, false) && d.start(f.Index, f.ContentBlock)
	case "content_block_stop":
		return d.stop(f.Index)
	case "message_start":
		return f.Message == nil || d.startMessage(f.Message)
	case "message_delta":
		d.count(f.Usage)
		d.stopReason(f.Delta.StopReason)
	case "message_stop":
		d.end.Terminated, d.ended = true, true
		return d.early(math.MaxInt, false) && d.stopRest()
	case "message":
		var m message
		if parse(raw, &m) != nil {
			return true
		}
		return d.whole(&m)
	default:
		switch {
		case f.failed():
			d.end.Error, d.ended = llm.FromPayload(f.Error), true
		case f.Type == "error":
			d.end.Error, d.ended = llm.FromPayload(raw), true
		}
	}
	return true
}

func (d *decoder) whole(m *message) bool {
	d.head(m)
	for i, raw := range m.Content {
		if !d.start(i, raw) || !d.stop(i) {
			return false
		}
	}
	d.stopReason(m.StopReason)
	d.end.Terminated, d.ended = true, true
	return true
}

// startMessage handles a message_start. Gateways put content into it: blocks that are
// not streamed as well are taken from there. A second one of the same message adds
// metadata. One of another message, in the middle of this one, is what a gateway makes
// of its own retry: this message was cut, unless it has its stop reason.
func (d *decoder) startMessage(m *message) bool {
	if before := d.end.ResponseID; m.ID != "" && before != "" && m.ID != before && (d.w.Wrote() || len(d.given) > 0) {
		d.ended = true
		if d.end.FinishWord == "" {
			d.end.Error = &events.Error{Class: events.ErrCut,
				Message: fmt.Sprintf("another message (%.100s) began in the middle of the answer (%.100s): it was cut; try again", m.ID, before)}
		}
		return true
	}
	d.head(m)
	if d.began == 0 {
		for i, raw := range m.Content {
			d.given[i] = raw
		}
	}
	d.stopReason(m.StopReason)
	return true
}

// early yields the blocks of message_start that come before the block with an index.
// With open, the block itself begins with what message_start has of it; otherwise the
// stream has all of it.
func (d *decoder) early(index int, open bool) bool {
	if len(d.given) == 0 {
		return true
	}
	for _, i := range slices.Sorted(maps.Keys(d.given)) {
		raw := d.given[i]
		switch {
		case i > index:
			continue
		case i < index && (!d.start(i, raw) || !d.stop(i)):
			return false
		case i == index && open && !d.start(i, raw):
			return false
		}
		delete(d.given, i)
	}
	return true
}

// head reads the metadata of a message. A second message_start, which gateways
// insert, adds fields and erases none.
func (d *decoder) head(m *message) {
	if m.ID != "" {
		d.end.ResponseID = m.ID
	}
	if m.Model != "" {
		d.end.Model = m.Model
	}
	d.count(m.Usage)
}

// count overwrites field by field: the numbers of message_delta are totals.
func (d *decoder) count(u *usage) {
	if u == nil {
		return
	}
	if d.end.Usage == nil {
		d.end.Usage = new(events.Usage)
	}
	set := func(to **int64, n *int64) {
		if n != nil {
			*to = n
		}
	}
	set(&d.end.Usage.InputTokens, u.InputTokens)
	set(&d.end.Usage.OutputTokens, u.OutputTokens)
	set(&d.end.Usage.CacheReadInputTokens, u.CacheReadInputTokens)
	set(&d.end.Usage.CacheCreationInputTokens, u.CacheCreationInputTokens)
	set(&d.end.Usage.ReasoningTokens, u.Details.ThinkingTokens)
}

func (d *decoder) stopReason(word string) {
	if word == "" {
		return
	}
	d.end.FinishWord = word
	switch word {
	case "end_turn", "stop_sequence":
		d.end.Finish = events.FinishStop
	case "tool_use":
		d.end.Finish = events.FinishToolCalls
	case "max_tokens", "model_context_window_exceeded":
		d.end.Finish = events.FinishLength
	case "refusal":
		d.end.Finish = events.FinishContentFilter
	case "pause_turn":
		d.end.Finish = events.FinishPause
	default:
		d.end.Finish = events.FinishOther
	}
}

// stopRest closes the blocks without content_block_stop when the message stops.
// The writer closes calls, because it knows how the answer ended.
func (d *decoder) stopRest() bool {
	for _, index := range slices.Sorted(maps.Keys(d.open)) {
		b := d.open[index]
		if b.kind == kindCall {
			if !d.completeInput(b) {
				return false
			}
		} else if !d.stop(index) {
			return false
		}
	}
	return true
}
