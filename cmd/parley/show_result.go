package main

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/parleybus/parley"
)

// only is the one thing of a conversation to be printed; empty for all of it.
type only struct{ result, attachment string }

// printAttachment writes the bytes of one attachment and nothing else.
func printAttachment(ctx context.Context, c *parley.Client, messages []parley.Message, name string) error {
	var found []parley.Attachment
	for _, m := range messages {
		for _, p := range m.Parts {
			for _, f := range p.Attachments {
				if f.Object != nil && (f.Name == name || f.Object.Name == name) {
					found = append(found, f)
				}
			}
		}
	}
	switch {
	case len(found) == 0:
		return usagef("no attachment is called %q: `parley show` names them", name)
	case len(found) > 1:
		var objects []string
		for _, f := range found {
			objects = append(objects, f.Object.Name)
		}
		return usagef("%d attachments are called %q: name one by its object: %s", len(found), name, strings.Join(objects, ", "))
	}
	data, err := c.Fetch(ctx, found[0].Object)
	if err != nil {
		return err
	}
	return printBytes(data)
}

// printBytes writes what a tool returned, byte by byte. On a terminal control
// characters are removed, and bytes that are no text are refused.
func printBytes(data []byte) error {
	if profile().Width == 0 {
		_, err := protocolOutput().Write(data)
		return outputError(err)
	}
	if !utf8.Valid(data) {
		return usagef("these are %d bytes that are no text: write them to a file, with > FILE", len(data))
	}
	return printText(string(data))
}

// printResult prints the whole result of one call, named by its id or by the end
// or beginning of it, and nothing else.
func printResult(ctx context.Context, c *parley.Client, messages []parley.Message, call string) error {
	var found []parley.Part
	for _, m := range messages {
		for _, p := range m.Parts {
			if p.Kind == parley.PartResult && (strings.HasPrefix(p.Call, call) || strings.HasSuffix(p.Call, call)) {
				found = append(found, p)
			}
		}
	}
	switch {
	case len(found) == 0:
		return usagef("no result of a call %q: `parley show --format json` names the calls", call)
	case len(found) > 1:
		return usagef("%d calls begin or end in %q: give more of the id", len(found), call)
	}
	if err := c.FetchResults(ctx, []parley.Message{{Parts: found}}); err != nil {
		return err
	}
	return printBytes([]byte(found[0].Text))
}
