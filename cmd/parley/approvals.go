package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) approvalsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List all that waits for somebody, oldest first",
		Long: `List all that waits for somebody, over all conversations, oldest first: calls that
need approval, calls that wait for their time or for an app's result, what tools
ask, and turns that wait at a limit. --follow then prints each change as it happens: what waits
newly, and what became of what waited.`,
		Example: `  parley approvals
  parley approvals --follow -o json | jq 'select(.change == "waits")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.approvals(cmd.Context(), follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing changes")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) approvals(ctx context.Context, follow bool) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if follow {
		return a.followApprovals(ctx, s, asJSON)
	}
	all, err := s.Waiting(ctx)
	if err = unreadable(err); err != nil {
		return err
	}
	if asJSON {
		return printJSON(append([]parley.Waiting{}, all...))
	}
	return printWaiting(all)
}

// unreadable names the conversations that cannot be read, and returns any other
// error.
func unreadable(err error) error {
	all, ok := errors.AsType[parley.UnreadableErrors](err)
	if !ok {
		return err
	}
	for _, e := range all {
		fmt.Fprintln(stderr(), e)
	}
	return nil
}

// printWaiting lists what waits, or prints that nothing does.
func printWaiting(all []parley.Waiting) error {
	if len(all) == 0 {
		fmt.Fprintln(stderr(), "nothing waits for anybody")
		return nil
	}
	return outputError(terminal.Approvals(stdout(), profile(), time.Now(), rowsOf(all)))
}
