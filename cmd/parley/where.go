package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func (a *app) whereCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "where CONVERSATION",
		Short: "Print a conversation's shard and subjects",
		Long: `Print the shard a conversation belongs to and its subjects, for other NATS
clients. The shard follows from the id and the deployment's number of shards, so
the conversation need not exist yet.`,
		Example: `  parley where 0198c0de-0000-7000-8000-000000000000
  nats sub "$(parley where -o json $ID | jq -r .live)"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.where(cmd.Context(), args[0]) },
	}
	a.outputFlag(cmd)
	return cmd
}

// place is where a conversation is on the bus.
type place struct {
	Conversation string `json:"conversation"`
	Shard        int    `json:"shard"`
	Shards       int    `json:"shards"`
	Stream       string `json:"stream"`
	In           string `json:"in"`
	Live         string `json:"live"`
	Log          string `json:"log"`
	History      string `json:"history"`
	Timer        string `json:"timer"`
	Due          string `json:"due"`
}

func placeOf(id string, shards int) place {
	in := topology.At(shards, id, events.ChannelIn)
	all := func(log topology.Log) string { return topology.Everything(log, shards, id) }
	return place{
		Conversation: id, Shard: in.Shard, Shards: shards, Stream: topology.ConvStream(in.Shard), In: in.Subject(topology.Conv),
		Live: all(topology.Live), Log: all(topology.Conv), History: all(topology.History),
		Timer: topology.Timer(shards, id), Due: topology.Due(shards, id),
	}
}

func (a *app) where(ctx context.Context, id string) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if err := topology.CheckID("conversation", id); err != nil {
		return &exitError{exitUsage, err}
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := placeOf(id, s.Shards())
	if asJSON {
		return printJSON(p)
	}
	_, err = fmt.Fprintf(os.Stdout, "shard    %d of %d\nsend to  %s\nwatch    %s\nlog      %s in %s\nhistory  %s in %s\ntimer    %s, fires on %s\n",
		p.Shard, p.Shards, p.In, p.Live, p.Log, p.Stream, p.History, topology.StreamHistory, p.Timer, p.Due)
	return outputError(err)
}
