package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) chatCommand() *cobra.Command {
	q := &question{app: a}
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Hold a conversation in the terminal",
		Long: `Hold a conversation in the terminal. A line is a message; a line that ends in
a backslash goes on. Ctrl-C cancels the turn that runs and leaves when none
does; Ctrl-D leaves.`,
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
		text, err := awaited(ctx, in, p)
		if errors.Is(err, io.EOF) {
			if p.Interactive {
				fmt.Fprintln(os.Stderr, "\n"+p.Dim("parley chat -c "+q.conversation+" goes on"))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		// A failed turn is said and does not end the conversation.
		v := newPeople(terminal.Options{Reasoning: q.reasoning})
		v.unnamed = true // the conversation was named at the beginning
		if _, err := q.turn(ctx, s, v, text); err != nil {
			return err
		}
	}
}

// awaited is the next message, or io.EOF when Ctrl-C says that there is none.
func awaited(ctx context.Context, in *bufio.Reader, p terminal.Profile) (string, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	type message struct {
		text string
		err  error
	}
	// A read of a terminal cannot be called off: after an interrupt it is left
	// behind, and the process ends.
	read := make(chan message, 1)
	go func() {
		text, err := prompt(in, p)
		read <- message{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", io.EOF
	case m := <-read:
		return m.text, m.err
	}
}

// prompt reads one message.
func prompt(in *bufio.Reader, p terminal.Profile) (string, error) {
	var text strings.Builder
	for mark := "\n> "; ; mark = ". " {
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
