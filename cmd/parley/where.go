package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
)

func (a *app) whereCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "where CONVERSATION",
		Short: "Print a conversation's shard and subjects",
		Long: `Print the shard a conversation belongs to and its subjects, for other NATS
clients. The shard follows from the id and the deployment's number of shards, so
the conversation need not exist yet.`,
		Example: `  parley where 0198c0de-0000-7000-8000-000000000000
  eval "$(parley env)"
  nats sub "$(parley where -o json $ID | jq -r .live)"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.where(cmd.Context(), args[0]) },
	}
	a.outputFlag(cmd)
	return cmd
}

func (a *app) where(ctx context.Context, id string) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if err := parley.CheckID(id); err != nil {
		return err
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := s.Conversation(id).Where()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p)
	}
	_, err = fmt.Fprintf(os.Stdout, "shard    %d of %d\nsend to  %s\nwatch    %s\nlog      %s in %s\nhistory  %s in %s\ntimer    %s, fires on %s\n",
		p.Shard, p.Shards, p.In, p.Live, p.Log, p.Stream, p.History, p.HistoryStream, p.Timer, p.Due)
	return outputError(err)
}
