package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/terminal"
)

// modelsTimeout bounds how long each provider is waited for.
const modelsTimeout = 15 * time.Second

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models [PATTERN]",
		Short: "List the models of the providers configured here",
		Long: `Ask each configured provider for its models and list them: window in tokens, price
in US dollars per million tokens read and written, whether they call tools and see
images. A - is what the provider does not say. With --rules also list the pools of the
file. PATTERN is a part of the names.`,
		Example: `  parley models
  parley models qwen
  GROQ_API_KEY=… parley models groq/
  parley models --provider lab=http://127.0.0.1:8000/v1 -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.models(cmd.Context(), strings.Join(args, "")) },
	}
	a.outputFlag(cmd)
	a.cfg.Generating(cmd.Flags())
	a.cfg.Deciding(cmd.Flags())
	return cmd
}

// listedModel is a model, or a pool of models, as JSON.
type listedModel struct {
	catalog.Model
	Pool []string `json:"pool,omitempty"` // full names of a pool's models
}

func (a *app) models(ctx context.Context, part string) error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	rules, err := policy.Load(a.cfg.Rules)
	if err != nil {
		return usage(err)
	}
	c, err := host.Catalog(ctx, a.cfg, rules.Pools)
	if err != nil {
		return usage(err)
	}
	matches := func(name string) bool { return strings.Contains(strings.ToLower(name), strings.ToLower(part)) }
	all, failed := []listedModel{}, []error{}
	for _, name := range c.Names() {
		ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
		models, err := c.Models(ctx, name)
		cancel()
		if err != nil {
			failed = append(failed, err)
		}
		for _, m := range models {
			if matches(m.Name) {
				all = append(all, listedModel{Model: m})
			}
		}
	}
	var pools [][]string
	for _, name := range rules.Pools.Names() {
		if matches(name) {
			pools = append(pools, []string{name, rules.Pools[name].String()})
			if asJSON {
				all = append(all, listedModel{catalog.Model{Name: name}, rules.Pools[name].Models()})
			}
		}
	}
	if asJSON {
		return errors.Join(append(failed, printJSON(all))...)
	}
	rows := make([][]string, len(all))
	for i, m := range all {
		name := m.Name
		if name == c.Default {
			name += " (default)"
		}
		rows[i] = []string{name, window(m.Window), usd(m.Input), usd(m.Output), yesNo(m.Tools), yesNo(m.Images)}
	}
	if err := terminal.Table(stdout(), profile(), []string{"MODEL", "WINDOW", "$/M READ", "$/M WRITTEN", "TOOLS", "IMAGES"}, rows); err != nil {
		return outputError(err)
	}
	if len(pools) > 0 {
		if len(rows) > 0 {
			fmt.Fprintln(stdout())
		}
		if err := terminal.Table(stdout(), profile(), []string{"POOL", "MODELS"}, pools); err != nil {
			return outputError(err)
		}
	}
	return errors.Join(failed...)
}

func window(tokens int64) string {
	if tokens <= 0 {
		return "-"
	}
	return strconv.FormatInt(tokens, 10)
}

func usd(price *float64) string {
	if price == nil {
		return "-"
	}
	return fmt.Sprintf("%.4g", *price)
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return "yes"
	}
	return "no"
}
