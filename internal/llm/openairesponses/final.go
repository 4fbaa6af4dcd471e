package openairesponses

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// DecodeWhole decodes the body of an answer that was not streamed: one JSON
// object. It yields the same events as [Decode].
func DecodeWhole(body io.Reader) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		whole(body, llm.NewWriter(yield))
	}
}

func whole(body io.Reader, w *llm.Writer) {
	a := newAnswer(w)
	raw, err := io.ReadAll(io.LimitReader(body, llm.MaxLine+1))
	raw = bytes.TrimSpace(raw)
	var head struct {
		Status string          `json:"status"`
		Output json.RawMessage `json:"output"`
	}
	switch {
	case err != nil:
		a.fail(unreadable(err))
	case len(raw) == 0:
		a.fail(unreadable(io.EOF))
	case len(raw) > llm.MaxLine:
		a.fail(llm.TooLong())
	case unmarshal(raw, &head) != nil || head.Status == "" && len(head.Output) == 0:
		e := llm.FromPayload(raw)
		e.Message = "in place of an answer the provider sent: " + e.Message
		a.fail(e)
	default:
		a.closed = true
		if !a.final(raw, "") {
			return
		}
		// A body that is complete JSON is complete, whatever its status.
		if head.Status == "" {
			a.terminated, a.finish = true, events.FinishStop
		}
	}
	a.end()
}

// wireResponse is the answer as created, completed, failed and whole bodies
// hold it.
type wireResponse struct {
	ID         string            `json:"id"`
	Model      string            `json:"model"`
	Status     string            `json:"status"`
	Output     []json.RawMessage `json:"output"`
	Error      json.RawMessage   `json:"error"`
	Usage      *wireUsage        `json:"usage"`
	Incomplete struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
}

type wireUsage struct {
	Input        *int64 `json:"input_tokens"`
	Output       *int64 `json:"output_tokens"`
	Total        *int64 `json:"total_tokens"`
	InputDetails struct {
		Cached *int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputDetails struct {
		Reasoning *int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
}

// response reads the fields of a response object except its output.
func (a *answer) response(raw json.RawMessage) wireResponse {
	var r wireResponse
	if len(raw) == 0 || unmarshal(raw, &r) != nil {
		return wireResponse{}
	}
	if r.ID != "" {
		a.id = r.ID
	}
	if r.Model != "" {
		a.model = r.Model
	}
	if u := r.Usage; u != nil {
		a.usage = &events.Usage{
			InputTokens: u.Input, OutputTokens: u.Output, TotalTokens: u.Total,
			CachedInputTokens: u.InputDetails.Cached, ReasoningTokens: u.OutputDetails.Reasoning,
		}
	}
	return r
}

// final handles the response of the terminal event. Its status overrides the
// name of the event.
func (a *answer) final(raw json.RawMessage, word string) bool {
	r := a.response(raw)
	switch r.Status {
	case "completed", "incomplete", "failed", "cancelled":
		word = r.Status
	}
	a.terminated, a.word = word != "", word
	switch word {
	case "completed":
		a.finish = events.FinishStop
	case "incomplete":
		a.finish = incomplete(r.Incomplete.Reason)
	case "cancelled":
		a.fail(&events.Error{Class: events.ErrCancelled, Message: "the provider reports that it cancelled the answer"})
	case "failed":
		if len(r.Error) > 0 && string(r.Error) != "null" {
			a.fail(llm.FromPayload(r.Error))
		}
		a.fail(&events.Error{Class: events.ErrInternal, Message: "the provider reports that the answer failed, without a reason; try again"})
	}
	return a.merge(r.Output)
}

func incomplete(reason string) events.Finish {
	switch reason {
	case "max_output_tokens", "max_tokens":
		return events.FinishLength
	case "content_filter":
		return events.FinishContentFilter
	}
	return events.FinishOther
}

// merge compares the final output with the streamed items and yields missing
// content. Several backends omit the output; others stream nothing else.
func (a *answer) merge(output []json.RawMessage) bool {
	items := make([]wireItem, len(output))
	for i, raw := range output {
		if unmarshal(raw, &items[i]) != nil {
			items[i] = wireItem{}
		}
		items[i].raw = raw
	}
	for i, it := range a.repeated(items) {
		if it == nil {
			it = a.open(items[i].Type, nil, "")
		}
		if !a.whole(it, &items[i]) {
			return false
		}
	}
	return true
}

// repeated finds for each item of the final output the item of the stream that
// it repeats: the one with its call id, else the first of its kind, and name,
// that is left. Item ids are of no use, some backends make new ones.
func (a *answer) repeated(items []wireItem) []*item {
	found := make([]*item, len(items))
	taken := map[*item]bool{}
	match := func(same func(*item, *wireItem) bool) {
		for i := range items {
			if found[i] != nil {
				continue
			}
			for _, it := range a.items {
				if it.kind == items[i].Type && !taken[it] && same(it, &items[i]) {
					found[i], taken[it] = it, true
					break
				}
			}
		}
	}
	match(func(it *item, w *wireItem) bool { return it.kind.call() && it.call != "" && it.call == w.CallID })
	match(func(it *item, w *wireItem) bool { return !it.kind.call() || !it.started || it.name == w.Name })
	return found
}
