package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
)

func (a *app) setupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create and upgrade the streams of a deployment",
		Long: `Create the streams of a deployment on a NATS server, or bring those of an earlier
version up to date. It is the only step that needs an administrator's permissions,
and it can be repeated: what is as it should be stays. ` + "`parley up`" + ` and programs that
embed a server need no setup.`,
		Example: `  set -a; . keys/admin.env; set +a
  parley setup --shards 8 --stream-replicas 3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.setup(cmd.Context()) },
	}
	a.cfg.Layout(cmd.Flags())
	a.outputFlag(cmd)
	return cmd
}

// setUp is what setup did, as programs read it.
type setUp struct {
	Server  string   `json:"server"`
	Shards  int      `json:"shards"`
	Changes []string `json:"changes"`
}

// setupTimeout is how long setup waits for a server that starts, or for a cluster
// that has not elected its leaders yet.
const setupTimeout = time.Minute

func (a *app) setup(ctx context.Context) error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if a.cfg.NATS.URL == "" {
		return usagef("no NATS server is named: set NATS_URL or --nats, such as nats://127.0.0.1:4222")
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	cfg := a.cfg.NATS
	cfg.Name, cfg.Log = "parley setup", log
	ctx, stop := context.WithTimeout(ctx, setupTimeout)
	defer stop()
	b, err := bus.Wait(ctx, cfg, &a.cfg.Plan)
	if err != nil {
		return err
	}
	defer b.Close()
	if given := a.cfg.Plan.Shards; given > 0 && given != b.Shards() {
		return usagef("the deployment on %s has %s, and that number cannot change: leave --shards and PARLEY_SHARDS out, or name another server for a deployment with %d", b.URL(), count(uint64(b.Shards()), "shard"), given)
	}
	done := setUp{Server: b.URL(), Shards: b.Shards(), Changes: append([]string{}, b.Deployment().Changes()...)}
	if asJSON {
		return printJSON(done)
	}
	for _, change := range done.Changes {
		if _, err := fmt.Fprintln(stdout(), change); err != nil {
			return outputError(err)
		}
	}
	if len(done.Changes) == 0 {
		_, err = fmt.Fprintf(stdout(), "%s is set up already, with %s\n", done.Server, count(uint64(done.Shards), "shard"))
	}
	return outputError(err)
}
