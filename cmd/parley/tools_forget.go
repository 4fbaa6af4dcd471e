package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
)

func (a *app) toolsForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME",
		Short: "Accept what workers announce next for a tool, also if it is milder",
		Long: `Make a tool unknown. What is known of a tool is kept for 30 days after a worker
last served it, and a worker that announces a milder effect class for its name
gets no calls: no worker can make another one's tool run without approval. Once the
tool is forgotten, what a worker announces next counts. Conversations, running calls
and queued calls are not changed.

Where the server's users have permissions, this one needs those of "admin".`,
		Example: `  parley tools forget word_count`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true // root says so for its own commands only
			return a.forgetTool(cmd.Context(), args[0])
		},
	}
}

func (a *app) forgetTool(ctx context.Context, name string) (err error) {
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	was, err := s.ForgetTool(ctx, name)
	if err != nil {
		return err
	}
	if was == nil {
		return &parley.Error{Code: parley.CodeNotFound, Err: fmt.Errorf("no tool %q is known on %s: `parley tools` lists those that are served", name, s.Server())}
	}
	fmt.Fprintf(stdout(), "%s is forgotten; it was known as %s. What a worker announces next counts.\n", name, was.Effect)
	return nil
}
