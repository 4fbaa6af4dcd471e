package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// fetchWhole puts whole results in the place of those of which a message holds
// the beginning.
func (s *session) fetchWhole(ctx context.Context, messages []events.Message) error {
	for i := range messages {
		for j := range messages[i].Parts {
			p := &messages[i].Parts[j]
			if p.Object == nil {
				continue
			}
			whole, err := s.Get(ctx, p.Object)
			if err != nil {
				return err
			}
			p.Text, p.Object = string(whole), nil
		}
	}
	return nil
}

// printResult prints the whole result of one call, named by its id or by the end
// or beginning of it, and nothing else.
func (s *session) printResult(ctx context.Context, messages []events.Message, call string) error {
	var found []events.Part
	for _, m := range messages {
		for _, p := range m.Parts {
			if p.Kind == events.PartResult && (strings.HasPrefix(p.Call, call) || strings.HasSuffix(p.Call, call)) {
				found = append(found, p)
			}
		}
	}
	switch {
	case len(found) == 0:
		return &exitError{exitUsage, fmt.Errorf("no result of a call %q: `parley show --format json` names the calls", call)}
	case len(found) > 1:
		return &exitError{exitUsage, fmt.Errorf("%d calls begin or end in %q: give more of the id", len(found), call)}
	}
	text := []byte(found[0].Text)
	if o := found[0].Object; o != nil {
		whole, err := s.Get(ctx, o)
		if err != nil {
			return err
		}
		text = whole
	}
	_, err := os.Stdout.Write(text)
	return outputError(err)
}
