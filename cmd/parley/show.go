package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/topology"
)

func (a *app) showCommand() *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use:               "show CONVERSATION",
		Short:             "Print a conversation's transcript",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.show(cmd.Context(), args[0], format) },
	}
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
}

func (a *app) show(ctx context.Context, id, format string) (err error) {
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
	c := &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
	found := false
	err = s.Facts(ctx, id, 0, func(m bus.Message) error {
		found = true
		c.Apply(accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, Lines: m.Lines, Bad: m.Bad})
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("there is no conversation %s: `parley ls` lists what there is", id)
	}
	messages := c.Transcript.Messages()
	if format == "json" {
		out := shown{Conversation: id, State: c.State, Messages: messages}
		if c.Transcript.Settings.ID != "" {
			out.Settings = &c.Transcript.Settings
		}
		return printJSON(out)
	}
	entries := make([]terminal.TranscriptEntry, len(messages))
	for i, m := range messages {
		entries[i].Message = m
	}
	return outputError(terminal.Transcript(os.Stdout, profile(), terminal.Format(format), id, entries))
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "cancel CONVERSATION",
		Short:             "Stop the turn that runs",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := topology.CheckID("conversation", args[0]); err != nil {
				return &exitError{exitUsage, err}
			}
			s, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return cancel(cmd.Context(), s, args[0])
		},
	}
}

// cancel asks for the turn to be stopped and waits for the answer.
func cancel(ctx context.Context, s *session, conversation string) error {
	c, err := s.Describe(ctx, conversation)
	if err != nil {
		return err
	}
	if c.Last.IsZero() {
		return fmt.Errorf("there is no conversation %s: `parley ls` lists what there is", conversation)
	}
	if s.server != nil && !c.State.Busy() {
		return fmt.Errorf("no turn runs in conversation %s", conversation)
	}
	q := &question{conversation: conversation}
	var input string
	seq, err := q.send(ctx, s, func(id string) events.Event {
		input = id
		return &events.Cancel{ID: id}
	})
	if err != nil {
		return err
	}
	if s.server != nil {
		return &exitError{exitNobody, errors.New("nothing runs on this data directory: the Cancel stands in the log and is answered when `parley up` or `parley ask` runs")}
	}
	ctx, stop := context.WithTimeout(ctx, answerPatience)
	defer stop()
	for m, err := range s.Attach(ctx, conversation, bus.From{After: bus.Cursor{Sequence: seq}}) {
		if errors.Is(err, context.DeadlineExceeded) {
			return &exitError{exitNobody, fmt.Errorf("nobody answered within %s: the Cancel stands in the log and will be answered when an orchestrator runs", answerPatience)}
		}
		if err != nil {
			return err
		}
		answered := false
		decided(m, func(e events.Event) {
			if e, ok := e.(*events.InputAnswered); ok && e.Input == input {
				answered = true
				if e.Answer != events.AnswerAccepted {
					err = fmt.Errorf("%s: %s", e.Answer, e.Reason)
				}
			}
		})
		if answered {
			return err
		}
	}
	return errors.New("the conversation's log ended before the answer")
}
