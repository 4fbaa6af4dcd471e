package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) compactCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "compact CONVERSATION",
		Short: "Shorten what the model is sent of a conversation",
		Long: `Leave out about half of what the next requests to the model would have of a
conversation: the results of old calls first, then the oldest turns. The log, show and
replay keep everything. Parley does it by itself when a conversation nears the model's
window or a provider refuses it for its length, unless compaction is off in its settings.`,
		Example:           `  parley compact 0198c0de-0000-7000-8000-000000000000`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.compact(cmd.Context(), args[0], parley.Compact{From: from})
		},
	}
	cmd.Flags().StringVar(&from, "from", userName(), "who asks for it")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) compact(ctx context.Context, id string, request parley.Compact) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if err := parley.CheckID(id); err != nil {
		return err
	}
	s, err := a.deciding(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	conv := s.Conversation(id)
	if err := conv.Exists(ctx); err != nil {
		return err
	}
	left, err := conv.Compact(ctx, request)
	switch {
	case err != nil:
		return err
	case asJSON:
		return outputError(printJSON(left))
	case left == nil:
		_, err = fmt.Fprintln(stdout(), "there is nothing to leave out: only the last turn is sent, or the results before it are short")
	default:
		_, err = fmt.Fprintln(stdout(), "the model is no longer sent "+terminal.Compacted(left))
	}
	return outputError(err)
}
