package main

import (
	"context"
	"errors"
	"fmt"

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
	Conversation string            `json:"conversation"`
	State        parley.State      `json:"state"`
	Settings     *parley.Settings  `json:"settings,omitempty"`
	Messages     []parley.Message  `json:"messages"`
	Compacted    *parley.Compacted `json:"compacted,omitempty"`
	Unsent       *unsent           `json:"unsent,omitempty"`
	Awaiting     []parley.Awaited  `json:"awaiting,omitempty"`
}

// unsent is what the model is not sent of the messages: how many at the beginning, and
// before which one the long results of tools.
type unsent struct {
	Messages int `json:"messages"`
	Results  int `json:"results"`
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
	messages := v.Transcript()
	switch {
	case one.result != "":
		return printResult(ctx, s.Client, messages, one.result)
	case one.attachment != "":
		return printAttachment(ctx, s.Client, messages, one.attachment)
	}
	if full {
		if err := s.FetchResults(ctx, messages); err != nil {
			return err
		}
	}
	if format == "json" {
		out := shown{Conversation: id, State: v.State, Messages: messages, Awaiting: awaited(waiting), Compacted: v.Compacted()}
		if out.Compacted != nil {
			out.Unsent = new(unsent)
			out.Unsent.Messages, out.Unsent.Results = v.Unsent()
		}
		if v.Settings.ID != "" {
			out.Settings = &v.Settings
		}
		return printJSON(out)
	}
	did, err := conv.Interventions(ctx, &v)
	if err != nil {
		return err
	}
	people := map[string]terminal.Hand{}
	for call, i := range did {
		people[call] = terminal.Hand{By: terminal.Author{From: i.By, Signer: i.Signer}, Edited: i.Proposed, Answered: i.Answered}
	}
	remarks := unsentRemarks(&v)
	entries, speakers := make([]terminal.TranscriptEntry, len(messages)), v.Speakers()
	for i, m := range messages {
		entries[i] = terminal.TranscriptEntry{Message: m, People: people, Before: remarks[i]}
		if m.Role != parley.RoleUser || m.By != "" {
			continue
		}
		for range min(len(m.Parts), len(speakers)) {
			entries[i].Authors = append(entries[i].Authors, terminal.Author{From: speakers[0].From, Signer: speakers[0].Signer})
			speakers = speakers[1:]
		}
	}
	if err := terminal.Transcript(stdout(), profile(), terminal.Format(format), id, entries); err != nil {
		return outputError(err)
	}
	if c := v.Compacted(); c != nil {
		if _, err := fmt.Fprintf(stdout(), "\nThe model is no longer sent %s.\n", terminal.Compacted(c)); err != nil {
			return outputError(err)
		}
	}
	return printAwaited(format, waiting)
}

// unsentRemarks returns what to say before messages about those above, by their place.
func unsentRemarks(v *parley.View) map[int]string {
	all := map[int]string{}
	messages, results := v.Unsent()
	if results > messages {
		all[results] = "of the long results of tools above, the model is sent the size"
	}
	if messages > 0 {
		all[messages] = "the model is not sent what is above"
	}
	return all
}

// awaited is what waits, as the wire has it.
func awaited(all []parley.Waiting) []parley.Awaited {
	var out []parley.Awaited
	for _, w := range all {
		out = append(out, w.Awaited)
	}
	return out
}

// printAwaited prints below a transcript what the conversation waits for.
func printAwaited(format string, awaiting []parley.Waiting) error {
	if len(awaiting) == 0 {
		return nil
	}
	head, item := "\nwaits for:\n", "  %s: %s  %s\n"
	if format == "md" {
		head, item = "\n## Waits for\n\n", "- %s: %s %s\n"
	}
	_, err := fmt.Fprint(stdout(), head)
	for _, a := range awaiting {
		what := awaitedLine(a.Awaited)
		if format == "md" {
			what = terminal.InlineCode(what)
		}
		if err == nil {
			_, err = fmt.Fprintf(stdout(), item, who(a.Awaited), what, a.Call)
		}
	}
	return outputError(err)
}
