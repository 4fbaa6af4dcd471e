package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// deleting is the flags of delete.
type deleting struct {
	app          *app
	olderThan    time.Duration
	yes          bool
	wait         time.Duration
	reason, from string
}

// deleteParallel is how many conversations are deleted at once.
const deleteParallel = 8

func (a *app) deleteCommand() *cobra.Command {
	c := &deleting{app: a, wait: time.Minute}
	cmd := &cobra.Command{
		Use:   "delete [CONVERSATION...]",
		Short: "Delete conversations and all that is stored of them",
		Long: `Delete conversations: stop what runs, purge their messages, jobs, timers and
objects, and print how much there was. What is left is a tombstone without
content, so that messages that come later are answered "deleted". It cannot be
undone; backups and what applications copied are not reached.`,
		Example: `  parley delete 0198c0de-0000-7000-8000-000000000000
  parley delete --older-than 720h --yes -o json`,
		ValidArgsFunction: a.completeConversations,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (c.olderThan == 0) {
				return usagef("name the conversations to delete, or give --older-than")
			}
			if c.olderThan < 0 {
				return usagef("--older-than %s must be above 0", c.olderThan)
			}
			return c.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&c.olderThan, "older-than", 0, "delete the conversations whose last activity is longer ago than this, such as 720h")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask first")
	f.DurationVar(&c.wait, "wait", c.wait, "how long to wait for each deletion; it continues afterwards")
	f.StringVar(&c.reason, "reason", "", "why; viewers see it while the conversation is deleted")
	f.StringVar(&c.from, "from", userName(), "who deletes it")
	a.outputFlag(cmd)
	return cmd
}

// deletedOne is the outcome for one conversation, as programs read it.
type deletedOne struct {
	Conversation string                      `json:"conversation"`
	Deleted      *parley.ConversationDeleted `json:"deleted,omitempty"`
	Error        string                      `json:"error,omitempty"`
}

func (c *deleting) run(ctx context.Context, ids []string) (err error) {
	asJSON, err := c.app.json()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := parley.CheckID(id); err != nil {
			return err
		}
	}
	s, err := c.app.deciding(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if c.olderThan > 0 {
		if ids, err = s.OlderThan(ctx, time.Now().Add(-c.olderThan)); err != nil {
			return err
		}
	}
	if err := c.confirm(ids); err != nil || len(ids) == 0 {
		return err
	}
	all, failed := make([]deletedOne, len(ids)), make([]error, len(ids))
	var g errgroup.Group
	g.SetLimit(deleteParallel)
	for i, id := range ids {
		g.Go(func() error {
			all[i].Conversation = id
			if all[i].Deleted, failed[i] = c.one(ctx, s, id); failed[i] != nil {
				all[i].Error = failed[i].Error()
			}
			return nil
		})
	}
	_ = g.Wait() // each has its own error
	if asJSON {
		return errors.Join(printJSON(all), errors.Join(failed...))
	}
	for _, d := range all {
		if d.Deleted != nil {
			if _, err := fmt.Fprintf(stdout(), "deleted %s: %s\n", d.Conversation, receipt(d.Deleted)); err != nil {
				return outputError(err)
			}
		}
	}
	return errors.Join(failed...)
}

// receipt describes how much was deleted.
func receipt(d *parley.ConversationDeleted) string {
	return fmt.Sprintf("%s, %d copies in HISTORY, %s, %s, %s", count(d.Messages, "message"), d.History,
		count(d.Jobs, "job"), count(d.Timers, "timer"), count(d.Objects, "object"))
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// confirm asks whether to continue.
func (c *deleting) confirm(ids []string) error {
	if len(ids) == 0 {
		fmt.Fprintln(stderr(), "nothing to delete")
		return nil
	}
	if c.yes {
		return nil
	}
	what := "conversation " + ids[0]
	if len(ids) > 1 {
		what = fmt.Sprintf("%d conversations, from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
	if !isatty.IsTerminal(os.Stdin.Fd()) {
		return usagef("this would delete %s for good: give --yes", what)
	}
	fmt.Fprintf(stderr(), "delete %s for good? [y/N] ", what)
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // an end of input is a no
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was deleted")
	}
	return nil
}

// one deletes a conversation and waits until it is done.
func (c *deleting) one(ctx context.Context, s *host.Session, id string) (*parley.ConversationDeleted, error) {
	late := fmt.Errorf("conversation %s is not deleted after %s: the request is in its log and is carried out when an orchestrator runs", id, c.wait)
	waiting, stop := context.WithTimeoutCause(ctx, c.wait, late)
	defer stop()
	receipt, err := s.Conversation(id).Delete(waiting, parley.Delete{Reason: c.reason, From: c.from})
	if err != nil && errors.Is(context.Cause(waiting), late) {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: late}
	}
	return receipt, err
}
