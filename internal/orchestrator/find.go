package orchestrator

import (
	"encoding/json"
	"slices"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
)

// tools returns the tools of a conversation, by name, with the effect class of
// their calls.
func (e *Env) tools() []events.ToolSpec {
	var all []events.ToolSpec
	for _, name := range sortedNames(e.Tools) {
		if chosen(e.Settings.Tools, name) {
			all = append(all, e.strict(e.Tools[name]))
		}
	}
	return all
}

// offered returns the tools that a request of the conversation offers.
func (e *Env) offered(t *accumulator.Transcript) offer.Choice {
	all := e.tools()
	if len(all) <= offer.MaxOffered {
		return offer.Choice{Tools: all}
	}
	wanted := offer.Loaded(t.Messages())
	if choice := e.Settings.Parameters.ToolChoice; choice != "" {
		wanted = append(wanted, choice)
	}
	return offer.Choose(all, wanted)
}

// findTools answers a call of the search for tools, and reports whether the call
// is one. The result is a decision: it is the same for everyone who folds the log,
// and finds what this conversation may use.
func (d *decision) findTools(call events.Part) bool {
	if _, served := d.env.Tools[offer.FindTools]; served || call.Name != offer.FindTools {
		return false
	}
	all := d.env.tools()
	if len(all) <= offer.MaxOffered && !slices.ContainsFunc(d.transcript.Calls(d.c.Turn), func(c accumulator.Called) bool { return c.Tool == offer.FindTools }) {
		return false // it was never offered: an unknown tool
	}
	var asked struct{ Query string }
	err := events.CheckArguments(call.Arguments)
	if err == nil {
		err = json.Unmarshal(events.Arguments(call.Arguments), &asked)
	}
	switch {
	case call.Invalid != "":
		d.invalid(call, call.Invalid)
	case err != nil:
		d.invalid(call, "give the query as text: "+err.Error())
	case asked.Query == "":
		d.invalid(call, `give words to search for as "query"`)
	default:
		raw, err := json.Marshal(offer.Search(all, asked.Query))
		if err != nil {
			d.invalid(call, "the tools found cannot be written: "+err.Error())
			return true
		}
		d.emit(&events.ToolCallAnswered{Turn: d.c.Turn, Call: call.Call, Tool: call.Name, Content: string(raw), By: events.ByParley})
	}
	return true
}
