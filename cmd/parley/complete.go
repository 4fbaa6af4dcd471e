package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// completeTimeout is how long the shell waits for words.
const completeTimeout = 2 * time.Second

// complete returns words, each with a tab and what it is about, that list reads from
// a client. Without a client, or when list fails without words, the shell completes
// nothing.
func complete(cmd *cobra.Command, client func(context.Context) (*host.Session, error), list func(context.Context, *parley.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	s, err := client(ctx)
	if s == nil || err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }() // nothing can be printed while completing
	words, err := list(ctx, s.Client)
	if err != nil && len(words) == 0 {
		return nil, cobra.ShellCompDirectiveError
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeConversation completes conversation ids, with what they begin with.
func (a *app) completeConversation(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return complete(cmd, a.client, func(ctx context.Context, c *parley.Client) (out []string, err error) {
		page, _, err := c.List(ctx, 0, 30)
		for _, one := range page {
			out = append(out, one.ID+"\t"+one.First)
		}
		return out, err
	})
}

// completeConversations completes several conversation ids.
func (a *app) completeConversations(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	all, directive := a.completeConversation(cmd, nil, word)
	return slices.DeleteFunc(all, func(line string) bool {
		id, _, _ := strings.Cut(line, "\t")
		return slices.Contains(args, id)
	}), directive
}

// completeTool completes names of tools, with what they do. It starts nothing: what
// this process could serve takes too long to start.
func (a *app) completeTool(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	h, err := a.host()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, directive := complete(cmd, h.Join, func(ctx context.Context, c *parley.Client) (out []string, err error) {
		offers, err := c.Offers(ctx)
		for _, t := range parley.ToolsIn(offers) {
			about, _, _ := strings.Cut(t.Description, "\n")
			out = append(out, t.Name+"\t"+about)
		}
		return out, err
	})
	return all, directive &^ cobra.ShellCompDirectiveKeepOrder // the shell sorts names
}

// completeCall completes a conversation that waits, and then the calls that wait
// in it.
func (a *app) completeCall(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, a.client, func(ctx context.Context, c *parley.Client) (out []string, err error) {
		var all []parley.Waiting
		if len(args) == 0 {
			all, err = c.Waiting(ctx)
		} else {
			all, err = c.Conversation(args[0]).Waiting(ctx)
		}
		for i, w := range all {
			line := awaitedLine(w.Awaited)
			if len(args) > 0 {
				out = append(out, w.Call+"\t"+line)
			} else if i == 0 || all[i-1].Conversation != w.Conversation {
				out = append(out, w.Conversation+"\t"+line)
			}
		}
		return out, err
	})
}
