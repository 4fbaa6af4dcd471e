package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
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
	State        parley.State     `json:"state"`
	Settings     *parley.Settings `json:"settings,omitempty"`
	Messages     []parley.Message `json:"messages"`
	Awaiting     []parley.Awaited `json:"awaiting,omitempty"`
}

func (a *app) show(ctx context.Context, id, format string, full bool, one only) (err error) {
	if err := parley.CheckID(id); err != nil {
		return err
	}
	switch format {
	case "text", "md", "json":
	default:
		return usagef("--format %q is none of text, md, json", format)
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	conv := s.Conversation(id)
	v, err := conv.View(ctx)
	if err != nil {
		return err
	}
	waiting, err := conv.Waiting(ctx)
	if err != nil {
		return err
	}
	messages := slices.DeleteFunc(slices.Clone(v.Messages), func(m parley.Message) bool {
		// A model must not be asked without a result; a person is told what waits.
		return m.Role == parley.RoleTool && len(m.Parts) == 1 && v.State.Awaits(m.Parts[0].Call)
	})
	switch {
	case one.result != "":
		return printResult(ctx, s.Client, messages, one.result)
	case one.attachment != "":
		return printAttachment(ctx, s.Client, messages, one.attachment)
	}
	if full {
		if err := fetchWhole(ctx, s.Client, messages); err != nil {
			return err
		}
	}
	if format == "json" {
		out := shown{Conversation: id, State: v.State, Messages: messages, Awaiting: awaited(waiting)}
		if v.Settings.ID != "" {
			out.Settings = &v.Settings
		}
		return printJSON(out)
	}
	people, err := handsOf(ctx, conv)
	if err != nil {
		return err
	}
	entries := make([]terminal.TranscriptEntry, len(messages))
	for i, m := range messages {
		entries[i].Message = m
		entries[i].People = people.of(&v, m)
	}
	if err := terminal.Transcript(os.Stdout, profile(), terminal.Format(format), id, entries); err != nil {
		return outputError(err)
	}
	return printAwaited(format, waiting)
}

// awaited is what waits, as the wire has it.
func awaited(all []parley.Waiting) []parley.Awaited {
	var out []parley.Awaited
	for _, w := range all {
		out = append(out, w.Awaited)
	}
	return out
}

// printAwaited says below a transcript what the conversation waits for.
func printAwaited(format string, awaiting []parley.Waiting) error {
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
			_, err = fmt.Fprintf(os.Stdout, item, waitsFor(a.For), awaitedLine(a.Awaited), a.Call)
		}
	}
	return outputError(err)
}

// hands is what people did to calls.
type hands struct {
	from map[string]string // who gave a verdict
	did  map[string]terminal.Hand
}

// handsOf reads what people did to the calls of a conversation.
func handsOf(ctx context.Context, conv *parley.Conversation) (*hands, error) {
	h := &hands{from: map[string]string{}, did: map[string]terminal.Hand{}}
	for e, err := range conv.Facts(ctx) {
		if err != nil {
			return nil, err
		}
		switch body := e.Body.(type) {
		case *parley.Verdict:
			h.from[body.ID] = body.From
		case *parley.ToolCallRequested:
			if len(body.Arguments) > 0 {
				h.did[body.Call] = terminal.Hand{By: h.from[body.By], Edited: string(body.Arguments)}
			}
		case *parley.ToolCallAnswered:
			h.did[body.Call] = terminal.Hand{By: h.from[body.By], Answered: true}
		}
	}
	return h, nil
}

// of is what people did to the calls of a message.
func (h *hands) of(v *parley.View, m parley.Message) map[string]terminal.Hand {
	people := map[string]terminal.Hand{}
	for _, p := range m.Parts {
		hand, ok := h.did[p.Call]
		if !ok || p.Call == "" {
			continue
		}
		if hand.Edited != "" {
			if original, ok := v.Proposed(p.Call); ok {
				hand.Edited = original.Arguments
			}
		}
		people[p.Call] = hand
	}
	return people
}
