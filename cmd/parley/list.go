package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) listCommand() *cobra.Command {
	limit, after := 20, uint64(0)
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"},
		Short: "List conversations, last active first",
		Long: `List conversations by their last activity, newest first, a page at a time. The
position of a conversation (its "position" in JSON) is where --after continues. One
that cannot be read is listed with the reason.`,
		Example: `  parley ls
  parley ls --limit 100 --after 81243
  parley ls -o json | jq -r '.[].id'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context(), limit, after) },
	}
	a.outputFlag(cmd)
	cmd.Flags().IntVarP(&limit, "limit", "n", limit, "most conversations listed; 0 lists all")
	cmd.Flags().Uint64Var(&after, "after", 0, "continue after the conversation with this position")
	return cmd
}

func (a *app) list(ctx context.Context, limit int, after uint64) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if limit < 0 {
		return usagef("--limit %d must not be below 0", limit)
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	page, more, err := s.List(ctx, after, limit)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(append([]parley.Summary{}, page...))
	}
	rows := make([][]string, len(page))
	for i, c := range page {
		begins := c.First
		if c.Error != "" {
			begins = "cannot be read: " + c.Error
		}
		rows[i] = []string{c.ID, age(c.Last), phase(&c.State), fmt.Sprint(c.State.Turns), begins}
	}
	if err := terminal.Table(stdout(), profile(), []string{"CONVERSATION", "LAST", "PHASE", "TURNS", "BEGINS WITH"}, rows); err != nil {
		return outputError(err)
	}
	if more {
		fmt.Fprintln(stderr(), "more: "+a.commandLine("ls", "--limit", fmt.Sprint(limit), "--after", fmt.Sprint(page[len(page)-1].Position)))
	}
	return nil
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
	enc := json.NewEncoder(jsonOutput())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return outputError(enc.Encode(v))
}
