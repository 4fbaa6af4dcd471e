package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) chatCommand() *cobra.Command {
	q := &question{app: a}
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Hold a conversation in the terminal",
		Long: `Hold a conversation in the terminal. A line is a message; a line that ends in
a backslash goes on. Ctrl-C cancels the turn that runs, Ctrl-D leaves.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return q.chat(cmd.Context()) },
	}
	q.flags(cmd)
	return cmd
}

func (q *question) chat(ctx context.Context) (err error) {
	s, err := q.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := profile()
	fmt.Fprintln(os.Stderr, p.Dim("conversation "+q.conversation+" · Ctrl-D leaves"))
	in := bufio.NewReader(os.Stdin)
	for {
		text, err := prompt(in, p)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		// A failed turn is said and does not end the conversation.
		if _, err := q.turn(ctx, s, newPeople(terminal.Options{Reasoning: q.reasoning}), text); err != nil {
			return err
		}
	}
}

// prompt reads one message.
func prompt(in *bufio.Reader, p terminal.Profile) (string, error) {
	var text strings.Builder
	for mark := "> "; ; mark = ". " {
		if p.Interactive {
			fmt.Fprint(os.Stderr, mark)
		}
		line, err := in.ReadString('\n')
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if more, ok := strings.CutSuffix(line, `\`); ok {
			text.WriteString(more + "\n")
			continue
		}
		text.WriteString(line)
		return text.String(), nil
	}
}
