package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) envCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print NATS_URL for other clients, with the token of the server on this machine",
		Long: `Print the variable with which any NATS client connects to the server that runs on
the data directory: its address, and its token, which is new each time the server
starts. NATS_URL itself is not read. Commands of parley need none of this.

Whoever knows the token may do everything with the conversations.`,
		Example: `  eval "$(parley env)"
  nats sub 'live.>'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.env(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (a *app) env(asJSON bool) error {
	h, err := a.host()
	if err != nil {
		return err
	}
	url, err := h.URL()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(map[string]string{"NATS_URL": url})
	}
	_, err = fmt.Fprintln(os.Stdout, "export NATS_URL="+shellQuoted(url))
	return outputError(err)
}

// shellQuoted quotes a text for a shell, if it needs to be.
func shellQuoted(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:/@%+,=", r)
	}
	if text != "" && strings.TrimFunc(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
