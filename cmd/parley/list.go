package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) listCommand() *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"},
		Short: "List conversations, newest first",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context(), limit) },
	}
	a.outputFlag(cmd)
	cmd.Flags().IntVarP(&limit, "limit", "n", limit, "most conversations listed; 0 lists all")
	return cmd
}

func (a *app) list(ctx context.Context, limit int) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if limit < 0 {
		return &exitError{exitUsage, fmt.Errorf("--limit %d must not be below 0", limit)}
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ids, err := s.ConversationIDs(ctx, limit)
	if err != nil {
		return err
	}
	all := []bus.Conversation{}
	for _, id := range ids {
		c, err := s.Describe(ctx, id)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if asJSON {
		return printJSON(all)
	}
	var rows [][]string
	for _, c := range all {
		rows = append(rows, []string{c.ID, age(c.Last), phase(&c.State), fmt.Sprint(c.State.Turns), c.First})
	}
	return outputError(terminal.Table(os.Stdout, profile(), []string{"CONVERSATION", "LAST", "PHASE", "TURNS", "BEGINS WITH"}, rows))
}

func age(t time.Time) string {
	switch d := time.Since(t); {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return t.Local().Format("2006-01-02")
}

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return outputError(enc.Encode(v))
}

// completeConversation completes conversation ids in the shell, with what they
// begin with.
func (a *app) completeConversation(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	s, err := a.client(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }() // nothing can be said while completing
	ids, err := s.ConversationIDs(ctx, 30)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, id := range ids {
		if c, err := s.Describe(ctx, id); err == nil {
			out = append(out, id+"\t"+c.First)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
