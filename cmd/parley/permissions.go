package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/topology"
)

// permitting is what permissions is asked for.
type permitting struct {
	app          *app
	config       bool
	role         string
	conversation string
	dir, at, url string
	file         string
	sync         string
	users        []string
	server       topology.ServerConfig
}

func (a *app) permissionsCommand() *cobra.Command {
	c := &permitting{app: a}
	cmd := &cobra.Command{
		Use:   "permissions",
		Short: "Print a nats-server configuration, or what a role may do",
		Long: `Print a configuration for nats-server in which each role has an account of its
own and may do what it needs, no more (--config); or the subjects that one role
may publish and subscribe to (--role). See docs/security.md.

--config writes the key of each user to --dir, NAME.nk, and the environment of a
process that connects as that user, NAME.env. Keys that exist are used again, so
the command can be repeated with other users. With --cluster the configuration has
the password of the cluster, from cluster.password in --dir: keep it as a key.

A user is ROLE[:NAME][=SCOPE,...]. The scope of an llm-worker names its routes,
that of a tool-worker its tools, that of an app its hooks; "*" lets a worker take
the jobs of every queue. Roles: viewer, app, caller, llm-worker, tool-worker,
orchestrator, admin. By default there is one user for each role, and the workers
have the tools that Parley brings, its providers, the endpoints that it knows by
name, such as groq, and those of --provider.

--tenant and --accounts print the accounts of one of several deployments that
share a server; see docs/tenants.md.`,
		Example: `  parley permissions --config --dir keys --store /data --file nats.conf
  parley permissions --config --dir keys --user admin --user orchestrator --user llm-worker=openai \
    --user tool-worker:payments=charge,refund --user app:shop --user viewer --file nats.conf
  parley permissions --role viewer --conversation 0198c0de-0000-7000-8000-000000000000`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.server.Accounts && (!c.config || c.server.Tenant == "") {
				return usagef("--accounts goes with --config and --tenant")
			}
			if c.config == (c.role != "") {
				return usagef("give --config or --role")
			}
			if c.config {
				return c.printConfig()
			}
			return c.printRole()
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.config, "config", false, "print a configuration for nats-server")
	f.StringVar(&c.server.Tenant, "tenant", "", "name of the deployment on a server that several share, see docs/tenants.md")
	f.BoolVar(&c.server.Accounts, "accounts", false, "print the accounts only, to be included in the configuration of a shared server")
	f.StringVar(&c.role, "role", "", "print what a user may do: ROLE[:NAME][=SCOPE,...]")
	f.StringVar(&c.conversation, "conversation", "", "the only conversation that a viewer or an app may use")
	f.StringArrayVar(&c.users, "user", nil, "user of the server, repeatable: ROLE[:NAME][=SCOPE,...]")
	f.StringVar(&c.dir, "dir", "keys", "directory for the keys and environments of the users; {user} in it stands for a user's name")
	f.StringVar(&c.file, "file", "", "write the configuration to this file instead of standard output")
	f.StringVar(&c.at, "at", "", "that directory as the processes of the users see it; --dir by default")
	f.StringVar(&c.url, "url", "", "URL of the server for the users; made from --listen by default")
	f.IntVar(&c.server.Plan.Shards, "shards", max(a.cfg.Plan.Shards, 1), "shards of the deployment (PARLEY_SHARDS)")
	f.StringSliceVar(&a.cfg.Providers, "provider", a.cfg.Providers, "endpoint of llm-workers, as their own flag names it: NAME=URL, or a known name (PARLEY_PROVIDERS)")
	f.StringVar(&c.server.Name, "server-name", "", "name of the server, one of its own in a cluster")
	f.StringVar(&c.server.Listen, "listen", "127.0.0.1:4222", "address for clients")
	f.StringVar(&c.server.Store, "store", "data", "directory of the streams")
	f.Int64Var(&c.server.MaxStore, "max-store", 0, "bytes that the streams of the server, or of the tenant, may use; the server's default when 0")
	f.IntVar(&c.server.MaxConnections, "max-connections", 0, "connections that each account may have at once; no limit when 0")
	f.StringVar(&c.server.Monitor, "monitor", "", "address of the monitoring endpoint, which needs no login; none when empty")
	f.StringVar(&c.server.Cluster, "cluster", "", "address for the other servers of a cluster")
	f.StringArrayVar(&c.server.Routes, "route", nil, "address of another server of the cluster, repeatable: nats://n2:6222")
	f.StringVar(&c.server.Cert, "tls-cert", "", "certificate of the server, a PEM file")
	f.StringVar(&c.server.Key, "tls-key", "", "key of the certificate, a PEM file")
	f.StringVar(&c.server.CA, "tls-ca", "", "certificate authority of the clients' and servers' certificates, a PEM file")
	f.StringVar(&c.sync, "sync", "", "always: store each message on the disk before it is acknowledged")
	a.outputFlag(cmd)
	return cmd
}

func (c *permitting) printConfig() error {
	routes, err := catalog.Routes(c.app.cfg.Providers)
	if err != nil {
		return usage(err)
	}
	users := topology.DefaultUsers(routes, toolworker.Names())
	if len(c.users) > 0 {
		users = nil
		for _, text := range c.users {
			u, err := topology.ParseUser(text, routes, toolworker.Names())
			if err != nil {
				return usage(err)
			}
			users = append(users, u)
		}
	}
	switch c.sync {
	case "", "always":
		c.server.Always = c.sync != ""
	default:
		return usagef("--sync must be always or left out, not %q", c.sync)
	}
	at := c.at
	if at == "" {
		if at, err = filepath.Abs(c.dir); err != nil {
			return err
		}
	}
	url := c.url
	if url == "" {
		url = c.server.URL()
	}
	keys := credential.Dir(c.dir)
	for i, u := range users {
		key, err := keys.Key(u.Name)
		if err == nil {
			err = keys.WriteEnvironment(u, url, at, c.server.CA)
		}
		if err != nil {
			return err
		}
		users[i].NKey = key
	}
	c.server.Users = users
	if !c.server.Accounts { // the system account of a shared server is its operator's
		if c.server.System, err = keys.Key("sys"); err != nil {
			return err
		}
	}
	if c.server.Cluster != "" {
		if c.server.ClusterPassword, err = keys.ClusterPassword(); err != nil {
			return err
		}
	}
	return c.write()
}

// write writes the configuration. Anybody may read the file of a single server: it holds
// public keys only, and the server may run as another user. That of a cluster has the
// password of the cluster.
func (c *permitting) write() error {
	if c.file == "" {
		if err := c.server.Write(stdout()); err != nil {
			return outputError(usage(err))
		}
		return nil
	}
	var text bytes.Buffer
	if err := c.server.Write(&text); err != nil {
		return usage(err)
	}
	mode := os.FileMode(0o644)
	if c.server.Cluster != "" {
		mode = 0o600
	}
	if err := os.WriteFile(c.file, text.Bytes(), mode); err != nil {
		return fmt.Errorf("configuration of the server: %w", err)
	}
	return os.Chmod(c.file, mode) // of a file that existed
}

// permitted is what a user may do, as programs read it.
type permitted struct {
	User      string   `json:"user"`
	Role      string   `json:"role"`
	Account   string   `json:"account"`
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

func (c *permitting) printRole() error {
	routes, err := catalog.Routes(c.app.cfg.Providers)
	if err != nil {
		return usage(err)
	}
	u, err := topology.ParseUser(c.role, routes, toolworker.Names())
	if err != nil {
		return usage(err)
	}
	u.Scope.Conversation, u.Tenant = c.conversation, c.server.Tenant
	if err := topology.CheckTenant(u.Tenant); err != nil {
		return usage(err)
	}
	if err := u.Scope.Check(); err != nil {
		return usage(err)
	}
	if c.conversation != "" && u.Role != topology.Viewer && u.Role != topology.App {
		return usagef("--conversation narrows a viewer or an app, not %s", u.Role)
	}
	asJSON, err := c.app.json()
	if err != nil {
		return err
	}
	publish, subscribe := u.Permissions(c.server.Plan)
	if asJSON {
		return printJSON(permitted{u.Name, string(u.Role), u.Account(), publish, subscribe})
	}
	_, err = fmt.Fprintf(stdout(), "account    %s\n", u.Account())
	for _, s := range publish {
		_, more := fmt.Fprintf(stdout(), "publish    %s\n", s)
		err = errors.Join(err, more)
	}
	for _, s := range subscribe {
		_, more := fmt.Fprintf(stdout(), "subscribe  %s\n", s)
		err = errors.Join(err, more)
	}
	return outputError(err)
}
