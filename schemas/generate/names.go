package main

import (
	"reflect"
	"strings"
)

// wireName returns the name of a type in the schemas. It differs from the name in
// Go where that one shadows a type of another language (Object and Error nearly
// everywhere, Parameters and Awaited in TypeScript, Action in C#), and where a record
// has a plainer one.
func wireName(goName string) string {
	switch goName {
	case "Error":
		return "Failure"
	case "Object":
		return "ObjectReference"
	case "Parameters":
		return "GenerationParameters"
	case "Awaited":
		return "AwaitedItem"
	case "Action":
		return "PolicyAction"
	case "Offer":
		return "PresenceRecord"
	case "Known":
		return "KnownTool"
	}
	return goName
}

// nestedName returns the name of a type inside another. An event that is written
// without its type there has a name of its own: it is another object on the wire.
func nestedName(t reflect.Type) string {
	if t.Name() == "ConversationDeleted" {
		return "DeletionReceipt"
	}
	return wireName(t.Name())
}

// describes returns the comment of a type or a field under its name on the wire.
func describes(text, goName, name string) string {
	if rest, ok := strings.CutPrefix(text, goName+" "); ok {
		return name + " " + rest
	}
	return text
}
