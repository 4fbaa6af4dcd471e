package main

import (
	"go/doc"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/parleybus/parley/internal/topology"
)

// asyncAPI returns the AsyncAPI 3.1 document of the bus.
func asyncAPI(src *source, defs *definitions, examples map[string][]byte) ([]byte, error) {
	components, err := asyncMessages(src, defs, examples)
	if err != nil {
		return nil, err
	}
	root := yaml.MapSlice{
		{Key: "asyncapi", Value: "3.1.0"},
		{Key: "info", Value: yaml.MapSlice{
			{Key: "title", Value: "Parley"},
			{Key: "version", Value: topology.ProtocolText()},
			{Key: "description", Value: "Conversations of people, language models and tools as ordered logs on NATS JetStream.\n" +
				"A message carries one event or several, at most 4,096, one compact JSON object per line (NDJSON); each line follows one of the messages' schemas here. " +
				"The first field is \"type\". Programs ignore unknown fields and skip unknown events.\n"},
		}},
		{Key: "defaultContentType", Value: "application/json"},
		{Key: "channels", Value: asyncChannels()},
		{Key: "operations", Value: asyncOperations()},
		{Key: "components", Value: yaml.MapSlice{
			{Key: "messages", Value: components},
			{Key: "parameters", Value: asyncParameters()},
			{Key: "schemas", Value: asyncHeaders()},
		}},
		{Key: "x-parley-permissions", Value: permissions()},
	}
	raw, err := yaml.MarshalWithOptions(root, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, err
	}
	return append([]byte("# "+mark+"\n"), raw...), nil
}

func ref(target string) yaml.MapSlice { return yaml.MapSlice{{Key: "$ref", Value: target}} }

func asyncChannels() yaml.MapSlice {
	var all yaml.MapSlice
	for _, c := range channels() {
		var messages, params yaml.MapSlice
		for _, name := range slices.Concat(c.events, c.messages) {
			messages = append(messages, yaml.MapItem{Key: name, Value: asyncMessage(c, name)})
		}
		for _, name := range addressParameters(c.address) {
			params = append(params, yaml.MapItem{Key: name, Value: ref("#/components/parameters/" + name)})
		}
		var address any // null if the request has it
		if c.address != "" {
			address = c.address
		}
		entry := yaml.MapSlice{
			{Key: "address", Value: address},
			{Key: "description", Value: c.text},
		}
		entry = append(entry, yaml.MapItem{Key: "messages", Value: messages})
		if len(params) > 0 {
			entry = append(entry, yaml.MapItem{Key: "parameters", Value: params})
		}
		all = append(all, yaml.MapItem{Key: c.key, Value: entry})
	}
	return all
}

// asyncMessage returns a message of a channel: that of the components or, where the
// channel has headers of its own, the same with them.
func asyncMessage(c channel, name string) yaml.MapSlice {
	if len(c.headers) == 0 {
		return ref("#/components/messages/" + name)
	}
	out := yaml.MapSlice{{Key: "name", Value: name}}
	payload := bundleRef(name)
	if i := slices.IndexFunc(others(), func(m message) bool { return m.name == name }); i >= 0 {
		m := others()[i]
		payload = m.payload
		if m.contentType != "" {
			out = append(out, yaml.MapItem{Key: "contentType", Value: m.contentType})
		}
	}
	return append(out,
		yaml.MapItem{Key: "headers", Value: ref("#/components/schemas/" + headersKey(c))},
		yaml.MapItem{Key: "payload", Value: payload})
}

func headersKey(c channel) string { return "headers-" + c.key }

// asyncHeaders returns the schemas of the headers of each channel that has some.
func asyncHeaders() yaml.MapSlice {
	var all yaml.MapSlice
	for _, c := range channels() {
		if schema := headerSchema(c.headers); schema != nil {
			all = append(all, yaml.MapItem{Key: headersKey(c), Value: schema})
		}
	}
	return all
}

// asyncOperations returns the senders and receivers of each channel.
func asyncOperations() yaml.MapSlice {
	var all yaml.MapSlice
	of := func(key string) []any {
		var refs []any
		for _, c := range channels() {
			if c.key == key {
				for _, name := range slices.Concat(c.events, c.messages) {
					refs = append(refs, ref("#/channels/"+key+"/messages/"+name))
				}
			}
		}
		return refs
	}
	add := func(role, verb, action string, c channel) {
		operation := yaml.MapSlice{
			{Key: "action", Value: action},
			{Key: "title", Value: role + " " + verb + " " + c.key},
			{Key: "channel", Value: ref("#/channels/" + c.key)},
		}
		operation = append(operation, yaml.MapItem{Key: "messages", Value: of(c.key)})
		if c.reply != "" {
			operation = append(operation, yaml.MapItem{Key: "reply", Value: yaml.MapSlice{
				{Key: "channel", Value: ref("#/channels/" + c.reply)},
				{Key: "messages", Value: of(c.reply)},
			}})
		}
		all = append(all, yaml.MapItem{Key: role + "-" + verb + "-" + c.key, Value: operation})
	}
	answers := []string{hookAnswers, readAnswers, queueAnswers}
	for _, c := range channels() {
		if slices.Contains(answers, c.key) {
			continue // part of the request's operation
		}
		for _, role := range c.senders {
			add(role, "sends", "send", c)
		}
		for _, role := range c.readers {
			add(role, "receives", "receive", c)
		}
	}
	return all
}

func asyncMessages(src *source, defs *definitions, examples map[string][]byte) (yaml.MapSlice, error) {
	var all yaml.MapSlice
	for _, e := range defs.events {
		var example yaml.MapSlice
		if err := yaml.UnmarshalWithOptions(examples[e.name], &example, yaml.UseOrderedMap()); err != nil {
			return nil, err
		}
		message := yaml.MapSlice{
			{Key: "name", Value: e.name},
			{Key: "summary", Value: new(doc.Package).Synopsis(src.text[e.name])},
		}
		if slices.Contains(decided(), e.name) {
			message = append(message, yaml.MapItem{Key: "description", Value: "Only inside a Decision, never on a separate subject."})
		}
		if slices.Contains(recorded(), e.name) {
			message = append(message, yaml.MapItem{Key: "description", Value: "Has its own subject; its record is in a Decision."})
		}
		message = append(message,
			yaml.MapItem{Key: "payload", Value: bundleRef(e.name)},
			yaml.MapItem{Key: "examples", Value: []any{yaml.MapSlice{{Key: "payload", Value: example}}}})
		all = append(all, yaml.MapItem{Key: e.name, Value: message})
	}
	for _, m := range others() {
		message := yaml.MapSlice{{Key: "name", Value: m.name}, {Key: "summary", Value: m.summary}}
		if m.contentType != "" {
			message = append(message, yaml.MapItem{Key: "contentType", Value: m.contentType})
		}
		message = append(message, yaml.MapItem{Key: "payload", Value: m.payload})
		if m.example != nil {
			message = append(message, yaml.MapItem{Key: "examples", Value: []any{yaml.MapSlice{{Key: "payload", Value: m.example}}}})
		}
		all = append(all, yaml.MapItem{Key: m.name, Value: message})
	}
	return all, nil
}

func asyncParameters() yaml.MapSlice {
	var all yaml.MapSlice
	for _, p := range parameters() {
		all = append(all, yaml.MapItem{Key: p.text, Value: yaml.MapSlice{{Key: "description", Value: p.comment}}})
	}
	return all
}

// permissions returns what each role may do, from the tables of topology, as an
// extension of the AsyncAPI document.
func permissions() yaml.MapSlice {
	all := yaml.MapSlice{{Key: "description", Value: "Subjects that a user of a role may publish and subscribe to, in the account of the user, of a deployment with one shard; with more, what names CONV_0 is there for each. " +
		"In these accounts " + topology.RoleAPI + " is the prefix of the JetStream API, in the account that holds the streams " + topology.API + ". " +
		"{user} is the name of the user, {route}, {tool} and {hook} are what it serves; an app or a viewer may be limited to one conversation. " +
		"Answers: requests that the user receives and answers on their reply subject. Several: requests that have several answers.\n"}}
	for _, role := range topology.Roles() {
		u := topology.User{Name: "{user}", Role: role, Scope: scopeOf(role)}
		publish, subscribe := u.Permissions(topology.Plan{})
		entry := yaml.MapSlice{}
		add := func(key string, subjects []string) {
			if len(subjects) > 0 {
				entry = append(entry, yaml.MapItem{Key: key, Value: subjects})
			}
		}
		add("publish", publish)
		add("subscribe", subscribe)
		var answers, several []string
		for _, g := range topology.Grants(role, topology.Plan{}, u.Scope) {
			if g.Kind == topology.Answer {
				answers = append(answers, g.Local())
			}
			if g.Many {
				several = append(several, g.Local())
			}
		}
		if role == topology.Orchestrator {
			answers = []string{topology.AllReads, topology.AllQueues}
		}
		add("answers", answers)
		add("several", several)
		all = append(all, yaml.MapItem{Key: string(role), Value: entry})
	}
	return all
}

// scopeOf returns the scope of a role with parameters in place of names.
func scopeOf(role topology.Role) topology.Scope {
	switch role {
	case topology.LLMWorker:
		return topology.Scope{Names: []string{"{route}"}}
	case topology.ToolWorker:
		return topology.Scope{Names: []string{"{tool}"}}
	case topology.App:
		return topology.Scope{Names: []string{"{hook}"}}
	}
	return topology.Scope{}
}
