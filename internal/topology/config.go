package topology

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ServerConfig holds what a configuration of nats-server is made from.
type ServerConfig struct {
	Plan  Plan
	Users []User
	// Tenant names the deployment on a server that several share: the names of its
	// accounts begin with it. Accounts writes these accounts only, to be included
	// in the configuration of such a server.
	Tenant   string
	Accounts bool
	// MaxConnections is how many connections each account may have at once; 0 for no
	// limit.
	MaxConnections int
	// System is the public key of the user who reads the server's statistics; empty
	// for none.
	System string
	// Name is the server's name, Listen its address, Store the directory of the
	// streams, MaxStore the bytes that they may use (0: the server's default): those
	// of the server, or of the tenant.
	Name, Listen, Store string
	MaxStore            int64
	// Monitor is the address of the monitoring endpoint, which needs no login; empty
	// for none.
	Monitor string
	// Cluster is the address for other servers of the cluster, and Routes are
	// theirs; both empty for a single server.
	Cluster string
	Routes  []string
	// ClusterPassword is what the servers of the cluster connect to each other with.
	ClusterPassword string
	// Cert, Key and CA are PEM files for TLS, of clients and of routes.
	Cert, Key, CA string
	// Always syncs every write to disk before it is acknowledged.
	Always bool
}

// URL returns the URL for clients on the machine of the server.
func (c ServerConfig) URL() string {
	if c.Cert != "" {
		return "tls://" + c.Listen
	}
	return "nats://" + c.Listen
}

// Write writes a configuration for nats-server 2.15.3 or later.
func (c ServerConfig) Write(w io.Writer) error {
	if err := CheckTenant(c.Tenant); err != nil {
		return err
	}
	if c.Accounts && c.Tenant == "" {
		return fmt.Errorf("accounts for a shared server need the name of a tenant")
	}
	if c.MaxStore < 0 || c.MaxConnections < 0 {
		return fmt.Errorf("a limit must not be negative; 0 is for none")
	}
	c.Users = slices.Clone(c.Users)
	for i := range c.Users {
		c.Users[i].Tenant = c.Tenant
	}
	if err := CheckUsers(c.Users); err != nil {
		return err
	}
	if (c.Cert == "") != (c.Key == "") {
		return fmt.Errorf("TLS needs both a certificate and its key")
	}
	p := &printer{}
	p.line("# Made by `parley permissions --config`: make it again instead of changing it.")
	if c.Accounts {
		c.accounts(p)
		_, err := io.WriteString(w, p.String())
		return err
	}
	routes, err := c.routes()
	if err != nil {
		return err
	}
	c.server(p, routes)
	p.open("accounts {")
	c.accounts(p)
	if c.System != "" {
		p.line("%s { users: [ { nkey: %s } ] }", AccountSystem, c.System)
	}
	p.close("}")
	if c.System != "" {
		p.line("system_account: %s", AccountSystem)
	}
	_, err = io.WriteString(w, p.String())
	return err
}

// accounts writes the accounts of the deployment. Their names are quoted: 3M_APP
// would be a number, TRUE a boolean.
func (c ServerConfig) accounts(p *printer) {
	c.streams(p)
	for _, u := range c.Users {
		if !u.HasStreams() {
			c.account(p, u)
		}
	}
}

// clusterUser is the name under which the servers of a cluster connect to each other.
const clusterUser = "parley"

// routes returns the addresses of the cluster's servers with the password.
func (c ServerConfig) routes() ([]string, error) {
	if c.Cluster == "" {
		return nil, nil
	}
	if c.ClusterPassword == "" {
		return nil, fmt.Errorf("a cluster needs a password: whoever reaches its port joins it otherwise")
	}
	var all []string
	for _, route := range c.Routes {
		u, err := url.Parse(route)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("route %q is no address: give one such as nats://n2:6222", route)
		}
		if u.User == nil {
			u.User = url.UserPassword(clusterUser, c.ClusterPassword)
		}
		all = append(all, u.String())
	}
	return all, nil
}

// server writes what concerns the server as a whole.
func (c ServerConfig) server(p *printer, routes []string) {
	if c.Name != "" {
		p.line("server_name: %s", strconv.Quote(c.Name))
	}
	p.line("listen: %s", strconv.Quote(c.Listen))
	if c.Monitor != "" {
		p.line("# Without a login: it exposes accounts, streams and connections.")
		p.line("http: %s", strconv.Quote(c.Monitor))
	}
	p.line("max_payload: 1MB")
	p.line("max_control_line: 4KB")
	p.line("# No anonymous user, no WebSocket, MQTT or leaf nodes: what is not here is off.")
	p.open("jetstream {")
	p.line("store_dir: %s", strconv.Quote(c.Store))
	if c.MaxStore > 0 {
		p.line("max_file_store: %d", c.MaxStore)
	}
	if c.Always {
		p.line("sync_interval: always")
	} else {
		p.line("sync_interval: 1s")
	}
	p.close("}")
	c.tls(p)
	if c.Cluster != "" {
		p.open("cluster {")
		p.line("name: parley")
		p.line("listen: %s", strconv.Quote(c.Cluster))
		p.line("# Who knows it joins the cluster, and reads and writes everything.")
		p.line("authorization { user: %s, password: %s }", clusterUser, strconv.Quote(c.ClusterPassword))
		p.list("routes", quoted(routes))
		c.tls(p)
		p.close("}")
	}
}

func (c ServerConfig) tls(p *printer) {
	if c.Cert == "" {
		return
	}
	p.open("tls {")
	p.line("cert_file: %s", strconv.Quote(c.Cert))
	p.line("key_file: %s", strconv.Quote(c.Key))
	if c.CA != "" {
		p.line("ca_file: %s", strconv.Quote(c.CA))
	}
	p.line("min_version: \"1.2\"")
	p.close("}")
}

// streams writes the account that holds the streams: what it exports to whom,
// and the hooks that it imports.
func (c ServerConfig) streams(p *printer) {
	type export struct {
		kind, subject string
		many          bool
	}
	to := map[export][]string{}
	var imports []string
	for _, u := range c.Users {
		for _, g := range Grants(u.Role, c.Plan, u.Scope) {
			e := export{"service", g.Subject, g.Many}
			switch g.Kind {
			case Answer:
				imports = append(imports, fmt.Sprintf("{ service: { account: %q, subject: %q } }", u.Account(), g.Subject))
				continue
			case Subscribe:
				e.kind = "stream"
			}
			if !slices.Contains(to[e], u.Account()) {
				to[e] = append(to[e], u.Account())
			}
		}
	}
	var exports []string
	for e, accounts := range maps.All(to) {
		many := ""
		if e.many {
			many = ", response_type: stream"
		}
		exports = append(exports, fmt.Sprintf("{ %s: %q%s, accounts: [%s] }", e.kind, e.subject, many, strings.Join(quoted(accounts), ", ")))
	}
	slices.Sort(exports)
	p.open("%q {", streamsAccount(c.Tenant))
	if c.Tenant != "" && c.MaxStore > 0 {
		p.line("# No stream is kept in memory, whoever makes one.")
		p.line("jetstream: { max_file: %d, max_mem: 0 }", c.MaxStore)
	} else {
		p.line("jetstream: enabled")
	}
	c.limits(p)
	p.open("users: [")
	for _, u := range c.Users {
		if u.HasStreams() {
			c.user(p, u)
		}
	}
	p.close("]")
	p.list("exports", exports)
	p.list("imports", imports)
	p.close("}")
}

// limits writes the limits of an account.
func (c ServerConfig) limits(p *printer) {
	if c.MaxConnections > 0 {
		p.line("limits: { max_connections: %d }", c.MaxConnections)
	}
}

// account writes the account of a user.
func (c ServerConfig) account(p *printer, u User) {
	p.open("%q {", u.Account())
	c.limits(p)
	p.open("users: [")
	c.user(p, u)
	p.close("]")
	var imports, exports []string
	streams := streamsAccount(c.Tenant)
	for _, g := range Grants(u.Role, c.Plan, u.Scope) {
		switch local := g.Local(); {
		case g.Kind == Answer:
			exports = append(exports, fmt.Sprintf("{ service: %q, accounts: [%q] }", g.Subject, streams))
		case g.Kind == Subscribe:
			imports = append(imports, fmt.Sprintf("{ stream: { account: %q, subject: %q } }", streams, g.Subject))
		case local == g.Subject:
			imports = append(imports, fmt.Sprintf("{ service: { account: %q, subject: %q } }", streams, g.Subject))
		default:
			imports = append(imports, fmt.Sprintf("{ service: { account: %q, subject: %q }, to: %q }", streams, g.Subject, local))
		}
	}
	p.list("exports", exports)
	p.list("imports", imports)
	p.close("}")
}

// user writes a user with its permissions.
func (c ServerConfig) user(p *printer, u User) {
	publish, subscribe := u.Permissions(c.Plan)
	p.line("# %s, %s", u.Name, u.Role)
	if u.NKey != "" {
		p.open("{ nkey: %s", u.NKey)
	} else {
		p.open("{ user: %s, password: %s", strconv.Quote(u.Name), strconv.Quote(u.Password))
	}
	p.open("permissions: {")
	p.allow("publish", publish)
	p.allow("subscribe", subscribe)
	for _, g := range Grants(u.Role, c.Plan, u.Scope) {
		if g.Kind == Answer {
			p.line("allow_responses: { max: 1, expires: \"1h\" }")
			break
		}
	}
	if u.Role == Orchestrator { // its answers to readers and workers
		p.line("allow_responses: { max: 1, expires: \"1m\" }")
	}
	p.close("}")
	p.close("}")
}

func quoted(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = strconv.Quote(s)
	}
	return out
}

// printer writes a configuration with indentation.
type printer struct {
	strings.Builder
	depth int
}

func (p *printer) line(format string, args ...any) {
	p.WriteString(strings.Repeat("  ", p.depth))
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

func (p *printer) open(format string, args ...any) {
	p.line(format, args...)
	p.depth++
}

func (p *printer) close(with string) {
	p.depth--
	p.line("%s", with)
}

// list writes a list of items that are written already; nothing when it is empty.
func (p *printer) list(name string, items []string) {
	if len(items) == 0 {
		return
	}
	p.open("%s: [", name)
	for _, item := range items {
		p.line("%s", item)
	}
	p.close("]")
}

// allow writes a permission. A missing list would allow everything.
func (p *printer) allow(what string, subjects []string) {
	if len(subjects) == 0 {
		p.line("%s: { deny: \">\" }", what)
		return
	}
	p.open("%s: {", what)
	p.list("allow", quoted(subjects))
	p.close("}")
}
