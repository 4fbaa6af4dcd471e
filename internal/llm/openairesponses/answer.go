package openairesponses

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// answer accumulates one answer. Items are found by output_index, which is the
// only value that all servers keep equal in all events of an item; ids change
// from event to event (Copilot) or are missing (Bedrock).
type answer struct {
	w       *llm.Writer
	items   []*item
	byIndex map[int]*item
	byID    map[string]*item
	byKind  map[kind]*ofKind

	closed     bool // the terminal event was seen
	terminated bool // a terminal sign was seen; an error event is one, and more may follow
	err        *events.Error
	word       string
	finish     events.Finish
	usage      *events.Usage
	model      string
	id         string
}

func newAnswer(w *llm.Writer) *answer {
	return &answer{w: w, byIndex: map[int]*item{}, byID: map[string]*item{}, byKind: map[kind]*ofKind{}}
}

// ofKind holds the items of a kind: the last one, and those that may be open,
// in order.
type ofKind struct {
	last *item
	open []*item
}

// fail keeps the first error.
func (a *answer) fail(err *events.Error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *answer) end() {
	for _, it := range a.items {
		if it.kind.call() && !it.started && !a.start(it) {
			return
		}
	}
	a.w.End(events.GenerationEnded{
		Finish: a.finish, FinishWord: a.word, Terminated: a.terminated,
		Usage: a.usage, Error: a.err, Model: a.model, ResponseID: a.id,
	})
}

func (a *answer) open(k kind, index *int, id string) *item {
	it := &item{key: strconv.Itoa(len(a.items)), kind: k, id: id, parts: map[partID]*part{}}
	a.items = append(a.items, it)
	of := a.byKind[k]
	if of == nil {
		of = new(ofKind)
		a.byKind[k] = of
	}
	of.last, of.open = it, append(of.open, it)
	if index != nil {
		a.byIndex[*index] = it
	}
	if id != "" {
		a.byID[id] = it
	}
	return it
}

// find returns the item with the index or else the id, or the last open item of
// its kind.
func (a *answer) find(k kind, index *int, id string) *item {
	if index != nil {
		if it := a.byIndex[*index]; it != nil && it.kind == k {
			return it
		}
		return nil
	}
	if it := a.byID[id]; it != nil && it.kind == k {
		return it
	}
	return a.last(k, true)
}

func (a *answer) last(k kind, open bool) *item {
	of := a.byKind[k]
	switch {
	case of == nil:
		return nil
	case !open:
		return of.last
	}
	for n := len(of.open); n > 0 && of.open[n-1].done; n-- { // what is done stays so
		of.open = of.open[:n-1]
	}
	if n := len(of.open); n > 0 {
		return of.open[n-1]
	}
	return nil
}

// item returns the item of an event, and opens one that was not announced. An
// event that names no item belongs to the last one of its kind, even if that is
// done: a piece of arguments alone does not create a call.
func (a *answer) item(e *wireEvent, k kind) *item {
	it := a.find(k, e.OutputIndex, e.ItemID)
	if it == nil && e.OutputIndex == nil {
		it = a.last(k, false)
	}
	if it == nil {
		it = a.open(k, e.OutputIndex, e.ItemID)
	}
	return it
}

func (a *answer) added(e *wireEvent) bool {
	var w wireItem
	if unmarshal(e.Item, &w) != nil {
		return true
	}
	it := a.find(w.Type, e.OutputIndex, w.ID)
	switch {
	case it == nil, e.OutputIndex == nil && it.id != w.ID:
		it = a.open(w.Type, e.OutputIndex, w.ID)
	case it.started && it.call == w.CallID:
		return true // announced twice
	case it.started, it.done:
		it = a.open(w.Type, e.OutputIndex, w.ID) // a reused index
	}
	return a.name(it, &w)
}

// name starts a call as soon as its name is known.
func (a *answer) name(it *item, w *wireItem) bool {
	if !it.kind.call() || it.started {
		return true
	}
	if w.CallID != "" {
		it.call = w.CallID
	}
	if w.Name == "" {
		return true
	}
	it.name = w.Name
	return a.start(it)
}

func (a *answer) start(it *item) bool {
	it.started = true
	return a.w.CallStart(it.key, it.call, it.name, it.kind == kindCustom) && a.w.CallDelta(it.key, it.waiting.String())
}

func (a *answer) arguments(it *item, piece string) bool {
	if !it.started {
		it.waiting.WriteString(piece)
		return true
	}
	return a.w.CallDelta(it.key, piece)
}

// allArguments compares the streamed arguments with those of a done event and
// yields the rest. If they differ, the streamed arguments count.
func (a *answer) allArguments(it *item, all string) bool {
	had, all := llm.Unmark(it.waiting.String()), llm.Unmark(all)
	if it.started {
		had = a.w.CallArguments(it.key)
	}
	if rest, ok := strings.CutPrefix(all, had); ok {
		return a.arguments(it, rest)
	}
	return true
}

func (a *answer) delta(e *wireEvent, k partKind, index int) bool {
	return a.yieldText(a.item(e, k.of()).part(k, index), e.Delta)
}

func (a *answer) yieldText(p *part, text string) bool {
	p.yielded.WriteString(text)
	switch p.kind {
	case textPart:
		return a.w.Text(p.key, text)
	case refusalPart:
		return a.w.Refusal(p.key, text)
	}
	return a.w.Reasoning(p.key, text, p.kind == summaryPart, nil)
}

// reconcile is allArguments for text.
func (a *answer) reconcile(it *item, k partKind, index int, all string) bool {
	if all == "" {
		return true
	}
	p := it.part(k, index)
	if rest, ok := strings.CutPrefix(llm.Unmark(all), llm.Unmark(p.yielded.String())); ok {
		return a.yieldText(p, rest)
	}
	return true
}

func (a *answer) partDone(e *wireEvent, index int) bool {
	if e.Part == nil {
		return true
	}
	k, text, ok := e.Part.content()
	if !ok {
		return true
	}
	return a.reconcile(a.item(e, k.of()), k, index, text)
}

func (a *answer) finished(e *wireEvent) bool {
	w := wireItem{raw: e.Item}
	if unmarshal(e.Item, &w) != nil {
		return true
	}
	it := a.find(w.Type, e.OutputIndex, w.ID)
	if it == nil || it.call != "" && w.CallID != "" && it.call != w.CallID {
		it = a.open(w.Type, e.OutputIndex, w.ID)
	}
	return a.whole(it, &w)
}

// whole handles an item that the provider reports as complete.
func (a *answer) whole(it *item, w *wireItem) bool {
	it.done = true
	if it.kind.call() {
		if !a.name(it, w) || !a.allArguments(it, w.input()) {
			return false
		}
		if !it.started || w.Status == "incomplete" || w.Status == "in_progress" {
			return true // the end of the answer decides about it
		}
		return a.w.CallEnd(it.key)
	}
	if it.kind != kindMessage && it.kind != kindReasoning {
		return a.carry(it, w)
	}
	for _, list := range []json.RawMessage{w.Summary, w.Content} {
		for i, p := range parts(list) {
			if k, text, ok := p.content(); ok && k.of() == it.kind && !a.reconcile(it, k, i, text) {
				return false
			}
		}
	}
	return a.carry(it, w)
}

// carry yields the data to send back with the item in the next request.
func (a *answer) carry(it *item, w *wireItem) bool {
	raw := carryOf(w)
	if raw == nil || it.carried {
		return true
	}
	it.carried = true
	if it.kind == kindReasoning && it.last != nil {
		return a.w.Reasoning(it.last.key, "", it.last.kind == summaryPart, raw)
	}
	return a.w.Reasoning(it.key+"carry", "", false, raw)
}
