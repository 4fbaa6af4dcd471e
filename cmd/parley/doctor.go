package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what Parley needs, and say what to do about the rest",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
	a.outputFlag(cmd)
	return cmd
}

// finding is one check's result.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Says  string `json:"says"`
}

func (a *app) doctor(ctx context.Context) error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	found := a.examine(ctx)
	failed := false
	for _, f := range found {
		failed = failed || !f.OK
		if !asJSON {
			mark := "ok  "
			if !f.OK {
				mark = "FAIL"
			}
			if _, err := fmt.Fprintf(os.Stdout, "%s  %-8s %s\n", mark, f.Check, f.Says); err != nil {
				return outputError(err)
			}
		}
	}
	if asJSON {
		err = printJSON(found)
	}
	if err == nil && failed {
		err = &exitError{exitFailed, errors.New("something is missing; see above")}
	}
	return err
}

func (a *app) examine(ctx context.Context) []finding {
	var found []finding
	note := func(check string, err error, says string) {
		if err != nil {
			says = err.Error()
		}
		found = append(found, finding{check, err == nil, says})
	}
	models, err := a.cfg.Catalog(ctx)
	if err != nil {
		note("models", err, "")
	} else {
		note("models", nil, fmt.Sprintf("%s would answer here (%s); configured: %s", models.Default, models.Why, strings.Join(models.Names(), ", ")))
	}
	s, err := a.client(ctx)
	var nobody *exitError
	if errors.As(err, &nobody) && a.cfg.NATS.URL == "" {
		note("data", nil, a.data+" is empty: `parley ask` or `parley up` fills it")
		return found
	}
	note("server", err, "")
	if err != nil {
		return found
	}
	defer func() { _ = s.Close() }() // what was found is what counts
	began := time.Now()
	ids, err := s.ConversationIDs(ctx, 0)
	found[len(found)-1].Says = fmt.Sprintf("%s answers in %s, %d shards", s.where(), time.Since(began).Round(100*time.Microsecond), s.Shards())
	note("history", err, fmt.Sprintf("%d conversations", len(ids)))
	waiting, err := s.Timers(ctx)
	note("timers", err, fmt.Sprintf("%d conversations wait for somebody", len(waiting)))
	offers, err := s.Offers(ctx)
	kinds := map[string]int{}
	for _, o := range offers {
		kinds[o.Kind]++
	}
	if err == nil && s.server == nil && kinds["llm"] == 0 {
		err = errors.New("no llm-worker is connected: start one with `llm-worker` or `parley up --only llm-worker`")
	}
	note("workers", err, fmt.Sprintf("%d routes and %d tools are offered now", kinds["llm"], kinds["tool"]))
	return found
}
