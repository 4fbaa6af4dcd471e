package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

const (
	// bundleName is the file with all schemas in one, for generators of code.
	bundleName = "parley.schema.json"
	// mark says in a generated file that it is.
	mark = "Generated from internal/events, internal/offer and internal/topology: go generate ./schemas"
	// draft is the dialect of the schemas.
	draft = "https://json-schema.org/draft/2020-12/schema"
	// home of the schemas' ids.
	schemaHome = "https://parleybus.dev/schemas/"
	// decisionEvent is the union of the events inside a Decision.
	decisionEvent = "DecisionEvent"
)

// unions returns the named unions of events. Those of the channels have no Claim,
// which may replace any of their messages: so no event is in two of them. DecisionEvent
// is apart: HookAnswered is a record there and a message too.
func unions() []definition {
	all := []definition{union(decisionEvent, "an event inside a Decision", slices.Concat(decided(), recorded()))}
	of := map[string][]string{}
	for _, c := range channels() {
		of[c.key] = slices.DeleteFunc(slices.Clone(c.events), func(name string) bool { return name == "Claim" })
	}
	for _, name := range topology.Channels(topology.Conv) {
		title := strings.ToUpper(string(name[:1])) + string(name[1:]) + "Event"
		all = append(all, union(title, "an event of the channel "+string(name)+"; a Claim may replace its message", of[logKey(topology.Conv, name)]))
	}
	return append(all,
		union("JobEvent", "a job; a Claim may replace its message", slices.Concat(of["jobs-llm"], of["jobs-tool"])),
		union("HookEvent", "a request to a hook, or its answer; a Claim may replace its message", slices.Concat(of["hooks"], of[hookAnswers])))
}

func union(name, text string, members []string) definition {
	s := &jsonschema.Schema{Description: name + " is " + text + "."}
	for _, member := range members {
		s.OneOf = append(s.OneOf, refTo(member))
	}
	return definition{name, s, nil}
}

func refTo(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/" + name} }

// bundle returns the schema of every event that stands alone in a message, with each
// event, each shared type and each record exactly once in $defs.
func bundle(defs *definitions) ([]byte, error) {
	root := &jsonschema.Schema{
		Schema: draft, ID: schemaHome + bundleName, Comment: mark, Title: "ParleyEvent",
		Description: "ParleyEvent is an event that stands alone in a message, one line of it. The events of a Decision are in its events, as DecisionEvent.",
	}
	for _, u := range defs.unions {
		if u.name != decisionEvent {
			root.OneOf = append(root.OneOf, refTo(u.name))
		}
	}
	root.OneOf = append(root.OneOf, refTo("Claim"))
	refer(root, root, defs)
	for _, r := range defs.records {
		refer(root, refTo(r.name), defs)
	}
	return file(root)
}

// schemaFile returns the schema of an event with all referenced types.
func schemaFile(e definition, defs *definitions) ([]byte, error) {
	s := e.schema.CloneSchemas()
	s.Schema, s.ID, s.Comment, s.Title = draft, schemaHome+e.name+".json", mark, e.name
	refer(s, s, defs)
	if u := s.Defs[decisionEvent]; u != nil {
		s.Defs[decisionEvent] = open(u)
	}
	return file(s)
}

// open returns a union that also takes events that this version does not know: readers
// skip them. The bundle has it without them, so that generated code can tell the
// events apart by their type.
func open(u *jsonschema.Schema) *jsonschema.Schema {
	u = u.CloneSchemas()
	later := line()
	later.Description = "an event of a later version: skip it"
	var known []any
	for _, e := range events.Prototypes() {
		known = append(known, e.Type())
	}
	later.Properties["type"].Not = &jsonschema.Schema{Enum: known}
	u.OneOf = append(u.OneOf, later)
	return u
}

// line is an event of any type.
func line() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object",
		Properties: map[string]*jsonschema.Schema{
			"type": {Type: "string", Description: "the name of the event"},
		},
		Required: []string{"type"},
	}
}

// refer adds the types that part references, recursively, to $defs of root.
func refer(root, part *jsonschema.Schema, defs *definitions) {
	if name := typeName(part); name != "" && root.Defs[name] == nil {
		if root.Defs == nil {
			root.Defs = map[string]*jsonschema.Schema{}
		}
		root.Defs[name] = defs.find(name)
		refer(root, defs.find(name), defs)
	}
	for below := range children(part) {
		refer(root, below, defs)
	}
}

// children yields the schemas directly below one, without those of $defs.
func children(s *jsonschema.Schema) func(yield func(*jsonschema.Schema) bool) {
	return func(yield func(*jsonschema.Schema) bool) {
		for _, p := range s.Properties {
			if !yield(p) {
				return
			}
		}
		for _, p := range slices.Concat([]*jsonschema.Schema{s.Items, s.AdditionalProperties}, s.OneOf, s.AnyOf, s.AllOf) {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

// file returns the text of a schema file. A reference with a description beside it
// becomes an allOf of one: generators would make a type of its own of it.
func file(s *jsonschema.Schema) ([]byte, error) {
	s = s.CloneSchemas()
	var wrap func(*jsonschema.Schema)
	wrap = func(s *jsonschema.Schema) {
		for below := range children(s) {
			wrap(below)
		}
		if s.Ref != "" && s.Description != "" {
			s.AllOf, s.Ref = []*jsonschema.Schema{{Ref: s.Ref}}, ""
		}
	}
	wrap(s)
	for _, d := range s.Defs {
		wrap(d)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return headFirst(raw)
}
