package accumulator

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
)

// Transcript has the facts of a conversation: inputs, answers and results.
// It grows with the conversation and is kept only where a model is called or
// a person reads it.
type Transcript struct {
	// Settings are the accepted ones, merged; Document is the same as JSON.
	Settings events.Settings
	Document Document

	entries []entry
	index   index
	size    int64 // of entries and results, see Size
	weight  int64 // of the same as text, see Sent
	// compaction is what requests leave out, measured what the provider counted.
	compaction compaction
	shortened  *events.Compacted
	measured   measure
	inputs     map[string]*events.UserMessage // not part of a turn yet
	results    map[string]events.Part
	turns      map[string]string // turns by the ids of their messages

	settings       map[string]json.RawMessage // not accepted yet
	replies        map[string]reply           // answers to inputs
	edits          map[string]string          // arguments that a person edited, by call
	verdicts       map[string]string          // ids of the deciding Verdicts, by call
	from           map[string]string          // authors of Verdicts and messages, as apps name them
	configured     map[string]bool            // signers of accepted Settings; "" for those without
	answers        map[string]bool            // calls with a person's result
	started        map[string]bool            // calls that a worker started
	early          []string                   // calls that were requested before their answer was complete
	limitQuestions map[string]bool            // questions at limits, by id
	// questions are those of tools, by id.
	questions map[string]*events.QuestionAsked
	contexts  map[string][]context // of hooks before a turn
	ended     map[string]*events.TurnEnded
	// extensions are those of messages, by input; see [events.Extensions].
	extensions map[string]map[string]json.RawMessage
}

// context is a hook's addition to the system prompt of a turn.
type context struct{ hook, text string }

type entry struct {
	message events.Message
	turn    string
	step    int
	inputs  []string // ids of a user's messages
	said    []string // those that are known, one for each part
}

// NewTranscript returns an empty transcript.
func NewTranscript() *Transcript {
	return &Transcript{inputs: map[string]*events.UserMessage{}, results: map[string]events.Part{}, turns: map[string]string{},
		settings: map[string]json.RawMessage{}, replies: map[string]reply{}, edits: map[string]string{}, verdicts: map[string]string{}, from: map[string]string{}, configured: map[string]bool{}, answers: map[string]bool{}, started: map[string]bool{}, limitQuestions: map[string]bool{}, questions: map[string]*events.QuestionAsked{}, contexts: map[string][]context{}, ended: map[string]*events.TurnEnded{}}
}

func (t *Transcript) input(in Input) {
	if t.turns[in.ID] != "" || t.Answered(in.ID) != nil {
		return // published again after its answer
	}
	switch e := in.Event.(type) {
	case *events.Settings:
		t.settings[in.ID] = patch(in)
	case *events.UserMessage:
		t.inputs[in.ID] = e
		if e.From != "" {
			t.from[in.ID] = e.From
		}
		if own := extensionsOf(in.Raw); own != nil {
			if t.extensions == nil {
				t.extensions = map[string]map[string]json.RawMessage{}
			}
			t.extensions[in.ID] = own
		}
	case *events.Verdict:
		t.from[in.ID] = e.From
	}
}

// result keeps the first result of a call.
func (t *Transcript) result(call string, p events.Part) {
	if _, ok := t.results[call]; !ok {
		t.setResult(call, p)
		t.endedAs(call, p.Status)
	}
}

// setResult sets the result of a call, or replaces it.
func (t *Transcript) setResult(call string, p events.Part) {
	before := t.results[call]
	t.size, t.weight = t.size-sizeOf(before), t.weight-weightOf(before)
	t.count(p)
	t.results[call] = p
}

// count adds a part to what the transcript holds.
func (t *Transcript) count(p events.Part) {
	t.size, t.weight = t.size+sizeOf(p), t.weight+weightOf(p)
}

func (t *Transcript) enter(e entry) {
	for _, p := range e.message.Parts {
		t.count(p)
	}
	t.index.add(e, len(t.entries))
	t.entries = append(t.entries, e)
}

func (t *Transcript) decided(e events.Event, at uint64) {
	switch e := e.(type) {
	case *events.InputAnswered:
		t.answered(e, at)
	case *events.TurnStarted:
		t.enter(entry{message: events.Message{Role: events.RoleUser}, turn: e.Turn})
		for _, id := range e.Inputs {
			t.join(id, e.Turn)
		}
	case *events.HooksRequested:
		if e.When == events.HookBefore {
			for _, h := range e.Hooks {
				t.contexts[e.Turn] = append(t.contexts[e.Turn], context{hook: h.Name})
			}
		}
	case *events.HookAnswered:
		for i, c := range t.contexts[e.Turn] {
			if e.When == events.HookBefore && c.hook == e.Hook {
				t.contexts[e.Turn][i].text = e.Context
			}
		}
	case *events.AssistantMessage:
		if len(e.Message.Parts) > 0 {
			t.enter(entry{message: e.Message, turn: e.Turn, step: e.Step})
			t.measure(e.Usage)
		}
		t.settle(e.Message)
	case *events.AnswerRejected:
		t.enter(entry{message: events.Message{Role: events.RoleUser, By: events.ByParley, Parts: []events.Part{{Kind: events.PartText, Text: rejection(e)}}}, turn: e.Turn, step: e.Step})
	case *events.Compacted:
		t.compacted(e)
	case *events.ToolCallRequested:
		if len(e.Arguments) > 0 {
			t.edits[e.Call] = string(e.Arguments)
		}
		if e.By != "" {
			t.verdicts[e.Call] = e.By
		}
		if e.GenerationAttempt != "" {
			t.early = append(t.early, e.Call)
		}
	case *events.GenerationRequested:
		t.settle(events.Message{})
	case *events.ToolCallRefused:
		// Replaces a result that its owner had not read when it decided: the
		// model must not read it either.
		t.setResult(e.Call, events.Part{Kind: events.PartResult, Call: e.Call, Text: e.Content, Status: e.Status})
		t.endedAs(e.Call, e.Status)
	case *events.ToolCallAnswered:
		t.setResult(e.Call, events.Part{Kind: events.PartResult, Call: e.Call, Text: e.Content, Status: events.StatusOK})
		if e.By != events.ByParley {
			t.verdicts[e.Call], t.answers[e.Call] = e.By, true
		}
	case *events.Paused:
		for _, a := range e.Awaiting {
			if a.For == events.WaitLimit {
				t.limitQuestions[a.Call] = true
			}
		}
	case *events.DeletionStarted:
		*t = *NewTranscript() // nothing of it is used again
	case *events.TurnEnded:
		t.ended[e.Turn] = e
		for _, at := range t.index.turns[e.Turn] {
			for _, input := range t.entries[at].inputs {
				delete(t.extensions, input)
			}
		}
		t.settle(events.Message{})
		delete(t.contexts, e.Turn)
	}
}

// rejection returns what the model reads of an answer that was rejected.
func rejection(e *events.AnswerRejected) string {
	return "Your answer was rejected, because it does not fit the required JSON Schema: " + e.Error + ". Answer again, with one JSON object that fits it and nothing else."
}

// answered applies the answer to an input: it merges Settings, adds a
// message to a running turn, and removes dropped messages. A repeated answer
// has no other effect.
func (t *Transcript) answered(e *events.InputAnswered, at uint64) {
	if again := t.replied(e, at); again {
		return
	}
	if s := t.settings[e.Input]; s != nil {
		if e.Answer == events.AnswerAccepted {
			t.Document, t.Settings = t.Document.merged(s, t.Settings)
			t.configured[e.Signer] = true
		}
		delete(t.settings, e.Input)
	}
	if e.Answer == events.AnswerAccepted && e.Turn != "" && t.inputs[e.Input] != nil {
		t.join(e.Input, e.Turn)
	}
	if e.Answer == events.AnswerRefused || e.Answer == events.AnswerInvalid {
		delete(t.inputs, e.Input)
		delete(t.extensions, e.Input)
	}
	for _, id := range e.Dropped {
		delete(t.inputs, id)
		delete(t.extensions, id)
	}
}

// join adds a message to a turn, unless it is part of one.
func (t *Transcript) join(id, turn string) {
	in := t.inputs[id]
	if t.turns[id] != "" {
		delete(t.inputs, id) // published again
		return
	}
	t.turns[id] = turn
	for _, at := range t.index.turns[turn] {
		if e := &t.entries[at]; e.message.Role == events.RoleUser {
			e.inputs = append(e.inputs, id)
			if in == nil {
				return
			}
			for _, p := range partsOf(in) {
				e.said = append(e.said, id)
				e.message.Parts = append(e.message.Parts, p)
				t.count(p)
			}
			delete(t.inputs, id)
			return
		}
	}
}

// partsOf returns the parts of a user's message: its text first.
func partsOf(m *events.UserMessage) []events.Part {
	var all []events.Part
	if m.Text != "" || len(m.Parts) == 0 {
		all = append(all, events.Part{Kind: events.PartText, Text: m.Text})
	}
	for _, p := range m.Parts {
		all = append(all, p.Part())
	}
	return all
}

// TurnOf returns the turn that a message started or joined; empty when there
// is none, and for a nil Transcript.
func (t *Transcript) TurnOf(input string) string {
	if t == nil {
		return ""
	}
	return t.turns[input]
}

// Messages returns the transcript as a model gets it: each assistant message
// with calls is followed by one result per call, in the model's order, with
// nothing between. Arguments that a person edited replace the model's: the
// model reads what ran. A call without a result gets one with status
// unknown: providers refuse unanswered calls.
func (t *Transcript) Messages() []events.Message { return t.messages(0, 0) }

// messages returns the messages of the entries from first on. The results of calls
// before the entry full are brief.
func (t *Transcript) messages(first, full int) []events.Message {
	all := []events.Message{}
	for i, e := range t.entries {
		if i < first || len(e.message.Parts) == 0 {
			continue // a turn whose messages are not known
		}
		all = append(all, t.ran(e.message))
		parts := e.message.Parts
		if fault.Planted(fault.ReorderResults) {
			parts = slices.Clone(parts)
			slices.Reverse(parts)
		}
		for _, p := range parts {
			if p.Kind != events.PartCall {
				continue
			}
			r, ok := t.results[p.Call]
			if !ok {
				r = events.Part{Kind: events.PartResult, Call: p.Call, Status: events.StatusUnknown,
					Text: "there is no result: the outcome of the call is unknown"}
			}
			if i < full {
				r = brief(r)
			}
			r.Name, r.ProviderID, r.Custom = p.Name, p.ProviderID, p.Custom
			all = append(all, events.Message{Role: events.RoleTool, Parts: []events.Part{r}})
		}
	}
	return all
}

// ran returns a message with the arguments with which its calls ran.
func (t *Transcript) ran(m events.Message) events.Message {
	for i, p := range m.Parts {
		if edit, ok := t.edits[p.Call]; ok && p.Kind == events.PartCall {
			m.Parts = slices.Clone(m.Parts)
			m.Parts[i].Arguments = edit
		}
	}
	return m
}

// Arguments returns the raw arguments with which a call runs.
func (t *Transcript) Arguments(call string) string {
	c, _ := t.Call(call)
	return c.Arguments
}

// Called is a call of the transcript and its result.
type Called struct {
	Turn       string
	Step       int
	Call, Tool string
	Arguments  string        // raw, as the call ran
	Status     events.Status // empty while it has no result
	Content    string        // what the model reads of its result
	Edited     string        // the model's own arguments, when a person changed them
	Started    bool          // a worker started it
	Answered   bool          // a person gave the result
	By         string        // author of the deciding Verdict, as the app names them
	Signer     string        // name of the identity that signed it; empty when nobody verified that
}

// Call returns a call; false when there is none, and for a nil Transcript.
func (t *Transcript) Call(id string) (Called, bool) {
	if t == nil {
		return Called{}, false
	}
	p, e, ok := t.find(id)
	if !ok {
		return Called{}, false
	}
	return t.called(p, e), true
}

// Question returns a tool's question; nil when it is unknown.
func (t *Transcript) Question(id string) *events.QuestionAsked {
	if t == nil {
		return nil
	}
	return t.questions[id]
}

// IsLimitQuestion reports whether an id is that of a question at a limit.
func (t *Transcript) IsLimitQuestion(id string) bool { return t != nil && t.limitQuestions[id] }

// Part returns a call as the model made it; false when there is none.
func (t *Transcript) Part(id string) (events.Part, bool) {
	p, _, ok := t.find(id)
	return p, ok
}

// find returns the last call with an id.
func (t *Transcript) find(id string) (events.Part, entry, bool) {
	at, ok := t.index.calls[id]
	if !ok {
		return events.Part{}, entry{}, false
	}
	e := t.entries[at.entry]
	return e.message.Parts[at.part], e, true
}

// Calls returns the calls of a turn, or with an empty turn of the
// conversation, in order.
func (t *Transcript) Calls(turn string) []Called {
	var all []Called
	if t == nil {
		return nil
	}
	for e := range t.of(turn) {
		for _, p := range e.message.Parts {
			if p.Kind == events.PartCall {
				all = append(all, t.called(p, *e))
			}
		}
	}
	return all
}

// of returns the entries of a turn, or with an empty turn all.
func (t *Transcript) of(turn string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		if turn == "" {
			for i := range t.entries {
				if !yield(&t.entries[i]) {
					return
				}
			}
			return
		}
		for _, at := range t.index.turns[turn] {
			if !yield(&t.entries[at]) {
				return
			}
		}
	}
}

func (t *Transcript) called(p events.Part, e entry) Called {
	c := Called{Turn: e.turn, Step: e.step, Call: p.Call, Tool: p.Name, Arguments: p.Arguments}
	if edit, ok := t.edits[p.Call]; ok {
		c.Arguments, c.Edited = edit, cmp.Or(p.Arguments, "{}")
	}
	c.Started = t.started[p.Call]
	by := t.speaker(t.verdicts[p.Call])
	c.Answered, c.By, c.Signer = t.answers[p.Call], by.From, by.Signer
	r := t.results[p.Call]
	c.Status, c.Content = r.Status, r.Text
	return c
}

// Context returns the additions of hooks to the system prompt of a turn, in
// their order.
func (t *Transcript) Context(turn string) []string {
	var all []string
	for _, c := range t.contexts[turn] {
		if c.text != "" {
			all = append(all, c.text)
		}
	}
	return all
}

// FirstMessage returns the user's message that started a turn; nil when it is
// unknown.
func (t *Transcript) FirstMessage(turn string) *events.Message {
	for e := range t.of(turn) {
		if e.turn == turn && e.message.Role == events.RoleUser {
			m := e.message
			return &m
		}
	}
	return nil
}

// Ended returns the end of a turn and the text of its last assistant
// message.
func (t *Transcript) Ended(turn string) (*events.TurnEnded, string) {
	var text string
	for e := range t.of(turn) {
		if e.turn != turn || e.message.Role != events.RoleAssistant {
			continue
		}
		text = ""
		for _, p := range e.message.Parts {
			if p.Kind == events.PartText {
				text += p.Text
			}
		}
	}
	return t.ended[turn], text
}
