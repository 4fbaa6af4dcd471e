package main

import (
	"go/doc"
	"slices"

	"github.com/goccy/go-yaml"
)

// asyncAPI returns the AsyncAPI 3.1 document of the bus.
func asyncAPI(src *source, defs *definitions, examples map[string][]byte) ([]byte, error) {
	messages, err := asyncMessages(src, defs, examples)
	if err != nil {
		return nil, err
	}
	root := yaml.MapSlice{
		{Key: "asyncapi", Value: "3.1.0"},
		{Key: "info", Value: yaml.MapSlice{
			{Key: "title", Value: "Parley"},
			{Key: "version", Value: "1.0.0"},
			{Key: "description", Value: "Conversations of people, language models and tools as ordered logs on NATS JetStream.\n" +
				"A message carries one event or several, at most 4,096, one compact JSON object per line (NDJSON); each line follows one of the messages' schemas here. " +
				"The first field is \"type\". Programs keep and pass on unknown fields, and skip unknown events.\n"},
		}},
		{Key: "defaultContentType", Value: "application/json"},
		{Key: "channels", Value: asyncChannels()},
		{Key: "operations", Value: asyncOperations()},
		{Key: "components", Value: yaml.MapSlice{
			{Key: "messages", Value: messages},
			{Key: "parameters", Value: asyncParameters()},
		}},
	}
	raw, err := yaml.MarshalWithOptions(root, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, err
	}
	return append([]byte("# Generated from internal/events and internal/topology: go generate ./schemas\n"), raw...), nil
}

func ref(target string) yaml.MapSlice { return yaml.MapSlice{{Key: "$ref", Value: target}} }

func asyncChannels() yaml.MapSlice {
	var all yaml.MapSlice
	for _, c := range channels() {
		var messages, params yaml.MapSlice
		for _, name := range c.events {
			messages = append(messages, yaml.MapItem{Key: name, Value: ref("#/components/messages/" + name)})
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
		if len(messages) > 0 {
			entry = append(entry, yaml.MapItem{Key: "messages", Value: messages})
		}
		if len(params) > 0 {
			entry = append(entry, yaml.MapItem{Key: "parameters", Value: params})
		}
		all = append(all, yaml.MapItem{Key: c.key, Value: entry})
	}
	return all
}

// asyncOperations returns the senders and receivers of each channel.
func asyncOperations() yaml.MapSlice {
	var all yaml.MapSlice
	add := func(role, verb, action string, c channel) {
		var messages []any
		for _, name := range c.events {
			messages = append(messages, ref("#/channels/"+c.key+"/messages/"+name))
		}
		operation := yaml.MapSlice{
			{Key: "action", Value: action},
			{Key: "title", Value: role + " " + verb + " " + c.key},
			{Key: "channel", Value: ref("#/channels/" + c.key)},
		}
		if len(messages) > 0 {
			operation = append(operation, yaml.MapItem{Key: "messages", Value: messages})
		}
		if c.reply != "" {
			operation = append(operation, yaml.MapItem{Key: "reply", Value: yaml.MapSlice{
				{Key: "channel", Value: ref("#/channels/" + c.reply)},
			}})
		}
		all = append(all, yaml.MapItem{Key: role + "-" + verb + "-" + c.key, Value: operation})
	}
	for _, c := range channels() {
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
			yaml.MapItem{Key: "payload", Value: ref("./" + e.name + ".json")},
			yaml.MapItem{Key: "examples", Value: []any{yaml.MapSlice{{Key: "payload", Value: example}}}})
		all = append(all, yaml.MapItem{Key: e.name, Value: message})
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
