package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/topology"
)

func (a *app) showCommand() *cobra.Command {
	var one only
	format, full := "text", false
	cmd := &cobra.Command{
		Use:               "show CONVERSATION",
		Short:             "Print a conversation's transcript",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd.Context(), args[0], format, full, one)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "fetch results that are kept by reference, and print them whole")
	cmd.Flags().StringVar(&one.result, "result", "", "print the whole result of one call and nothing else; an id, or its beginning or end")
	cmd.Flags().StringVar(&one.attachment, "attachment", "", "write the bytes of one attachment and nothing else; by its name, or that of its object")
	cmd.MarkFlagsMutuallyExclusive("result", "attachment")
	cmd.Flags().StringVarP(&format, "format", "f", format, "text, md or json")
	cmd.Flags().StringVarP(&format, "output", "o", format, "the same as --format")
	return cmd
}

// shown is what "show --format json" prints.
type shown struct {
	Conversation string           `json:"conversation"`
	State        events.State     `json:"state"`
	Settings     *events.Settings `json:"settings,omitempty"`
	Messages     []events.Message `json:"messages"`
	Awaiting     []events.Awaited `json:"awaiting,omitempty"`
}

func (a *app) show(ctx context.Context, id, format string, full bool, one only) (err error) {
	if err := topology.CheckID("conversation", id); err != nil {
		return &exitError{exitUsage, err}
	}
	switch format {
	case "text", "md", "json":
	default:
		return &exitError{exitUsage, fmt.Errorf("--format %q is none of text, md, json", format)}
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	people := newHands()
	c, err := s.foldedWith(ctx, id, people.see)
	if err != nil {
		return err
	}
	if c == nil {
		return noConversation(id)
	}
	if err := deletedError(id, &c.State); err != nil {
		return err
	}
	p, err := s.pending(ctx, id)
	if err != nil {
		return err
	}
	messages := slices.DeleteFunc(c.Transcript.Messages(), func(m events.Message) bool {
		// A model must not be asked without a result; a person is told what waits.
		return m.Role == events.RoleTool && len(m.Parts) == 1 && isOpen(&c.State, m.Parts[0].Call)
	})
	switch {
	case one.result != "":
		return s.printResult(ctx, messages, one.result)
	case one.attachment != "":
		return s.printAttachment(ctx, messages, one.attachment)
	}
	if full {
		if err := s.fetchWhole(ctx, messages); err != nil {
			return err
		}
	}
	if format == "json" {
		out := shown{Conversation: id, State: c.State, Messages: messages, Awaiting: p.Awaiting}
		if c.Transcript.Settings.ID != "" {
			out.Settings = &c.Transcript.Settings
		}
		return printJSON(out)
	}
	entries := make([]terminal.TranscriptEntry, len(messages))
	for i, m := range messages {
		entries[i].Message = m
		entries[i].People = people.of(c.Transcript, m)
	}
	if err := terminal.Transcript(os.Stdout, profile(), terminal.Format(format), id, entries); err != nil {
		return outputError(err)
	}
	return printAwaited(format, p.Awaiting)
}

// isOpen reports whether a call has no result yet.
func isOpen(s *events.State, call string) bool {
	return slices.ContainsFunc(s.Calls, func(c events.CallState) bool { return c.Call == call && c.Status == "" })
}

// printAwaited says below a transcript what the conversation waits for.
func printAwaited(format string, awaiting []events.Awaited) error {
	if len(awaiting) == 0 {
		return nil
	}
	head, item := "\nwaits for:\n", "  %s: %s  %s\n"
	if format == "md" {
		head, item = "\n## Waits for\n\n", "- %s: `%s` %s\n"
	}
	_, err := fmt.Fprint(os.Stdout, head)
	for _, a := range awaiting {
		if err == nil {
			_, err = fmt.Fprintf(os.Stdout, item, waitsFor(a.For), awaitedLine(a), a.Call)
		}
	}
	return outputError(err)
}

// hands is what people did to calls.
type hands struct {
	from map[string]string // who gave a verdict
	did  map[string]terminal.Hand
}

func newHands() *hands { return &hands{from: map[string]string{}, did: map[string]terminal.Hand{}} }

// see takes note of verdicts and what came of them.
func (h *hands) see(m bus.Message) {
	for _, l := range m.Lines {
		switch e := l.Event.(type) {
		case *events.Verdict:
			h.from[e.ID] = e.From
		case *events.Decision:
			for _, l := range e.Events {
				switch e := l.Event.(type) {
				case *events.ToolCallRequested:
					if len(e.Arguments) > 0 {
						h.did[e.Call] = terminal.Hand{By: h.from[e.By], Edited: string(e.Arguments)}
					}
				case *events.ToolCallAnswered:
					h.did[e.Call] = terminal.Hand{By: h.from[e.By], Answered: true}
				}
			}
		}
	}
}

// of is what people did to the calls of a message.
func (h *hands) of(t *accumulator.Transcript, m events.Message) map[string]terminal.Hand {
	people := map[string]terminal.Hand{}
	for _, p := range m.Parts {
		hand, ok := h.did[p.Call]
		if !ok || p.Call == "" {
			continue
		}
		if hand.Edited != "" {
			if original, ok := t.Part(p.Call); ok {
				hand.Edited = original.Arguments
			}
		}
		people[p.Call] = hand
	}
	return people
}
